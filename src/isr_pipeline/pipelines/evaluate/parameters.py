"""Parameters of evaluation."""

from typing import Literal

from pydantic import Field

from isr_pipeline.parameters import Parameters


class QuotedRow(Parameters):
    """Figures that somebody else reported, quoted beside ours.

    Attributes:
        method: the row's label.
        loss: training loss (mean squared error).
        accuracy: training "accuracy".
        val_loss: validation loss.
        val_accuracy: validation "accuracy".
        note: what to know about them.
    """

    method: str
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    note: str


class EvaluateParameters(Parameters):
    """What is scored and drawn.

    Attributes:
        split: which pairs are scored.
        replace_champion: give the title to this run's network whatever the champion is.
        panels: how many pictures of each scale the panel shows.
        quoted: rows for the comparison with the report.
    """

    split: Literal["test", "val"]
    replace_champion: bool
    panels: int = Field(ge=1)
    quoted: list[QuotedRow]
