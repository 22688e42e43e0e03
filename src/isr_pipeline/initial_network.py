"""What a training starts from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class InitialNetwork:
    """A trained network, with what it has seen.

    Attributes:
        network: the Keras model.
        source: the file, or the name of shipped weights.
        trained_on: SHA-256 of the originals that it was trained on, as far as they are known.
    """

    network: "keras.Model"
    trained_on: frozenset[str]
    source: str = ""
