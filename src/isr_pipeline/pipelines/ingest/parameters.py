"""Parameters of ingestion."""

from pydantic import Field

from isr_pipeline.parameters import Parameters


class IngestParameters(Parameters):
    """Which files count as usable photographs.

    Attributes:
        minimum_side: shortest side of a usable photograph, in pixels.
        maximum_megapixels: larger pictures are refused before they are unpacked.
        leave_out_copies: also leave out photographs that show the same as a larger one, saved in
            another format, quality or size (see `copies`); those of equal pixels always are.
        workers: threads that decode; 0 for one a processor.
    """

    minimum_side: int = Field(ge=1)
    maximum_megapixels: float = Field(gt=0)
    leave_out_copies: bool
    workers: int = Field(ge=0)
