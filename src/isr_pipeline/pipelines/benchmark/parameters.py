"""Parameters of the benchmark."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from isr_pipeline.imaging.recipe_names import Degradation
from isr_pipeline.parameters import Parameters, listed

ABLATION = "ablation"
"""What `docs/results` has beside benchmarks."""
Protocol = Literal[Degradation, "jpeg70"]

Words = Annotated[list[str], BeforeValidator(listed)]


class TimingParameters(Parameters):
    """How seconds and memory are measured.

    Attributes:
        engines: which are measured; empty for none.
        height: of the enlarged picture. Multiply-adds are counted for it too.
        width: of the enlarged picture.
        rounds: pictures for each network and engine, after one to warm up; the median counts.
        together: processes that take turns side by side; each holds one network in one engine.
    """

    engines: Annotated[list[Literal["keras", "openvino"]], BeforeValidator(listed)]
    height: int = Field(ge=32)
    width: int = Field(ge=32)
    rounds: int = Field(ge=1)
    together: int = Field(ge=1)

    @property
    def output_size(self) -> str:
        """Of the enlarged picture, as tables have it: `1280x720`."""
        return f"{self.width}x{self.height}"


class BenchmarkParameters(Parameters):
    """What is compared, on which pictures and how.

    Attributes:
        folders: test sets, name and folder; the embedded sample when there are none here and no
            `root`.
        root: a folder whose subfolders with `HR/` are test sets, named after them.
        protocols: how low-resolution pictures come about; each has tables of its own.
        scales: integer factors.
        models: `champion`, `shipped` (all weights of the package), shipped weights by name
            (`subpixel-small`) or by folder (`subpixel-small_bicubic_x2`), or `.keras` files.
        self_ensemble: whether every network also gets a row with the x8 self-ensemble.
        seed: of the `realistic` degradation.
        panels: how many of the best and as many of the worst pictures are drawn, each set.
        timing: how seconds and memory are measured.
        keep_as: name of the file in `docs/results` that keeps the summary; null keeps none.
    """

    folders: dict[str, str]
    root: str | None
    protocols: Annotated[list[Protocol], BeforeValidator(listed)] = Field(min_length=1)
    scales: Annotated[list[Annotated[int, Field(ge=2)]], BeforeValidator(listed)] = Field(
        min_length=1
    )
    models: Words
    self_ensemble: bool
    seed: int = Field(ge=0)
    panels: int = Field(ge=1)
    timing: TimingParameters
    keep_as: str | None = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")

    @field_validator("keep_as")
    @classmethod
    def _is_no_other_table(cls, value: str | None) -> str | None:
        if value == ABLATION:
            raise ValueError("that is the name of another table: choose another")
        return value


class LiteratureRow(Parameters):
    """Figures that a paper reports, by the `bicubic` protocol.

    Attributes:
        model: its name.
        source: the paper.
        parameters: how many, by scale (`x2`), where reported.
        multiply_adds_g: by scale, where reported, in 1e9, for an output of 1280x720.
        scores: by set and scale, Y PSNR in dB and, where reported, SSIM.
    """

    model: str
    source: str
    parameters: dict[str, int]
    multiply_adds_g: dict[str, float]
    scores: dict[str, dict[str, Annotated[list[float], Field(min_length=1, max_length=2)]]]


class LiteratureParameters(Parameters):
    """Rows quoted beside ours.

    Attributes:
        rows: in the order of the table.
    """

    rows: list[LiteratureRow]
