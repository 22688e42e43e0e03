"""Parameters of shipping."""

from isr_pipeline.parameters import Parameters


class ShipParameters(Parameters):
    """What a set of weights says of itself beside what the training knows.

    Attributes:
        data: the photographs that it was trained on, in words.
        licence: under which the weights may be used.
        command: that makes the set again, where the training itself does not say.
        start: name of the shipped set that its training began with, or null for what the training
            says.
    """

    data: str
    licence: str
    command: str | None
    start: str | None
