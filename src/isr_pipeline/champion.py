"""The champion: the best network so far, with what it was judged by."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

PIXELATED = "report"
"""Protocol of networks whose input was enlarged before, to the size of the result."""


@dataclass(frozen=True)
class Champion:
    """A network and its record.

    Attributes:
        network: the Keras model.
        record: plain values: `network` (name), `score` (mean over scales of the mean RGB PSNR,
            in dB), `psnr_rgb` (by scale), `bicubic` (the same of interpolation), `protocol`,
            `split` (whose pictures they were), `test_digest` (names them and the protocol),
            `shipped` (by scale `model` and `psnr_rgb` of the package's own weights on the same
            pictures), `trained_on` (SHA-256 of originals), `new` (whether this run's network won);
            and once it is saved `crowned` (when) and `registry` (which one knows it, null for none
            yet).
    """

    network: "keras.Model"
    record: dict[str, Any]
