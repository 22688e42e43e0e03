"""Which photograph is for training, for validation and for testing."""

import hashlib
import logging

import pandas as pd

from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.pair.parameters import SplitParameters

logger = logging.getLogger(__name__)


def hash_fraction(photograph: str, seed: int) -> float:
    """A photograph's fixed place in [0, 1), from a hash of its id."""
    value = hashlib.sha256(f"{seed}:{photograph}".encode()).digest()[:8]
    return int.from_bytes(value, "big") / 2**64


def split_by_photograph(photographs: list[str], parameters: SplitParameters) -> dict[str, str]:
    """Divide photographs by the hash of their ids: no photograph's split depends on the others.

    The one exception: the photograph with the lowest hash is always in `test` and the one with
    the highest always in `val`, so that from three photographs up no split is empty. While a
    split has no member by share, a new photograph can take that place over; afterwards adding
    photographs moves none.

    Returns:
        `train`, `val` or `test` for each photograph.

    Raises:
        ProjectError: for fewer than three photographs.
    """
    if len(photographs) < 3:
        raise ProjectError(
            f"{len(photographs)} usable photographs are too few to train, validate and test on: "
            "give at least 3"
        )
    place = {photograph: hash_fraction(photograph, parameters.seed) for photograph in photographs}
    lowest, highest = min(place, key=place.__getitem__), max(place, key=place.__getitem__)
    splits = {}
    for photograph, fraction in place.items():
        if photograph == lowest or (fraction < parameters.test and photograph != highest):
            splits[photograph] = "test"
        elif photograph == highest or fraction >= 1 - parameters.validation:
            splits[photograph] = "val"
        else:
            splits[photograph] = "train"
    if "train" not in splits.values():  # all at the ends: the middle one must train
        middle = sorted(place, key=place.__getitem__)[len(place) // 2]
        splits[middle] = "train"
    if place[lowest] >= parameters.test:
        logger.info("No photograph fell to test by its hash: %s, the lowest, was taken", lowest)
    if place[highest] < 1 - parameters.validation:
        logger.info("No photograph fell to val by its hash: %s, the highest, was taken", highest)
    return splits


def split_rows(pairs: pd.DataFrame, parameters: SplitParameters) -> pd.Series:
    """The report's split: the first `validation` of the rows, as Keras' `validation_split`.

    Rows come ordered by scale, so the validation rows are the same photographs that are trained
    on at the other scales: this leaks, and is here to reproduce the report.
    """
    first = int(len(pairs) * parameters.validation)
    return pd.Series(["val"] * first + ["train"] * (len(pairs) - first), index=pairs.index)
