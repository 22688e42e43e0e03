"""Parameters of upscaling."""

from typing import Literal

from pydantic import Field

from isr_pipeline.imaging.recipe_names import Degradation
from isr_pipeline.parameters import Parameters


class UpscaleParameters(Parameters):
    """Which pictures are enlarged, with what, to where.

    Attributes:
        input: a picture or a folder.
        output: folder for the results.
        scale: the integer factor.
        model: name of shipped weights, `champion`, or a `.keras` file; None for the best there is.
        degradation: what the network was trained against; None for `realistic`, or what the named
            network is for.
        engine: `auto` is the faster one that there is.
        precision: `auto` is what the processor has.
        max_memory: of the whole process, such as `1.5GiB`; None for a quarter of what is free.
        overwrite: do again what has a result.
        format: of the results; None for each as its original.
        back_projection: correct results until they reduce to their originals.
        self_ensemble: mean of eight views, eight times slower.
    """

    input: str | None
    output: str
    scale: int = Field(ge=2)
    model: str | None
    degradation: Degradation | None
    engine: Literal["auto", "keras", "openvino"]
    precision: Literal["auto", "float32", "bfloat16"]
    max_memory: str | None
    overwrite: bool
    format: Literal["jpeg", "png", "webp", "tiff", "bmp"] | None
    back_projection: bool
    self_ensemble: bool
