"""Parameters of pairing."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from isr_pipeline.imaging.recipe_names import Degradation
from isr_pipeline.parameters import Parameters, listed


def _both(value: Any) -> Any:
    """Two numbers in one word, with a space or `x` between, as a list."""
    if isinstance(value, str):
        return [int(n) if n.isdecimal() else n for n in value.replace("x", " ").split()]
    return value


class SplitParameters(Parameters):
    """How photographs are divided into train, val and test.

    Attributes:
        method: `photograph` splits by a hash of the photograph's id; `rows` is the report's
            split, the first rows to validation, which leaks.
        seed: another seed gives another division.
        validation: share of the photographs (or rows) for validation.
        test: share of the photographs for testing; 0 for `rows`.
    """

    method: Literal["photograph", "rows"]
    seed: int
    validation: float = Field(gt=0, lt=1)
    test: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must stay below 1")
        if (self.test > 0) != (self.method == "photograph"):
            raise ValueError("test must be above 0 for method photograph, and 0 for method rows")
        return self


class AgreementParameters(Parameters):
    """When a low-resolution file counts as belonging to its original.

    Attributes:
        pixelated: least PSNR in dB between the small picture of a file that is as large as its
            original, and the original degraded by the same recipe.
        small: the same for a file that is small itself, whose recipe may be another.
        correlation: least correlation of their grey levels; not asked of pairs above 40 dB,
            where a flat picture's noise would decide.
    """

    pixelated: float = Field(ge=0)
    small: float = Field(ge=0)
    correlation: float = Field(ge=-1, le=1)


class PairParameters(Parameters):
    """How low-resolution pictures come to their originals.

    Attributes:
        scales: the integer factors; on the command line with spaces: `pair.scales=2 4`.
        degradation: the recipe that made, or makes, the small pictures.
        partners: `files` takes the collection's low-resolution files, `made` degrades the
            originals.
        low_res: `small` stores the small picture; `pixelated` stores the file as it is, as large
            as the original (the report's way); one that is small is enlarged with nearest
            neighbours.
        reductions: sizes at which every original is taken, as fractions of its own; smaller ones
            are sharper and have more detail in every pixel, as small pictures have that the
            training should suit. They share their original's split, and are never scored.
        resize: `[height, width]` that every picture is brought to with nearest neighbours (the
            report's way), or null.
        agreement: when a file is a partner.
    """

    scales: Annotated[list[int], BeforeValidator(listed), Field(min_length=1)]
    degradation: Degradation
    partners: Literal["files", "made"]
    low_res: Literal["small", "pixelated"]
    reductions: Annotated[list[float], BeforeValidator(listed), Field(min_length=1)]
    resize: Annotated[list[int], BeforeValidator(_both), Field(min_length=2, max_length=2)] | None
    agreement: AgreementParameters

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if any(scale < 2 for scale in self.scales) or len(set(self.scales)) != len(self.scales):
            raise ValueError("scales must be different integers from 2 up")
        if self.low_res == "pixelated" and self.partners != "files":
            raise ValueError("low_res 'pixelated' needs partners 'files'")
        reductions = self.reductions
        if any(not 0 < r <= 1 for r in reductions) or len(set(reductions)) != len(reductions):
            raise ValueError("reductions must be different fractions above 0, at most 1")
        if reductions != [1] and self.partners != "made":
            raise ValueError("reductions need partners 'made'")
        if self.resize is not None and self.low_res != "pixelated":
            raise ValueError("resize needs low_res 'pixelated': it would squash small pictures")
        return self
