"""Parameters of exporting."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from isr_pipeline.parameters import Parameters, listed


class ExportParameters(Parameters):
    """What is written, and how near to Keras it must be.

    Attributes:
        formats: of the files.
        maximum_difference: in grey levels of 255, on real pictures, computed in float32.
    """

    formats: Annotated[
        list[Literal["openvino", "onnx", "litert"]], BeforeValidator(listed), Field(min_length=1)
    ]
    maximum_difference: float = Field(gt=0)
