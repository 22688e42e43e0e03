"""Parameters of tiling."""

from pydantic import Field

from isr_pipeline.parameters import Parameters


class TileParameters(Parameters):
    """Where training looks.

    Attributes:
        size: side of a tile in low-resolution pixels, or null for whole pictures,
            which must be of one size to be trained on (`pair.resize`).
        stride: distance between training tiles in low-resolution pixels (validation tiles never
            overlap).
        drop_flat_below: leave out training tiles whose luma deviates less than this many grey
            levels, or null to keep all. Validation keeps all.
        maximum_per_pair: of a pair with more training tiles this many are kept, spread evenly, so
            that photographs of many megapixels do not outweigh the others.
        maximum_misalignment: in low-resolution pixels, for pictures whose sizes are no multiple
            of the scale.
    """

    size: int | None = Field(ge=8)
    stride: int = Field(ge=1)
    drop_flat_below: float | None = Field(ge=0)
    maximum_per_pair: int = Field(ge=1)
    maximum_misalignment: float = Field(ge=0, le=0.5)
