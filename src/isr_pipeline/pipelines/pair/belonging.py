"""Whether stored pictures, tiles and pairs are of one making."""

import pandas as pd

from isr_pipeline.errors import ProjectError
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import PictureStore

COLUMNS = [
    "photograph",
    "scale",
    "reduction",
    "degradation",
    "enlargement",
    "hr_sha256",
    "lr_sha256",
]


def digest_pairs(pairs: pd.DataFrame) -> str:
    """Names the usable pairs' pictures; how the photographs are divided does not matter."""
    usable = pairs[pairs["status"] == "ok"].sort_values(["scale", "photograph"])
    return digest("pairs", usable[COLUMNS].fillna("").astype(str).to_numpy().tolist())


def pairs_for_tiles(pairs: pd.DataFrame) -> pd.DataFrame:
    """The usable pairs of the splits `train` and `val`."""
    return pairs[(pairs["status"] == "ok") & pairs["split"].isin(["train", "val"])]


def check_pictures(pairs: pd.DataFrame, pictures: PictureStore) -> None:
    """See that the pictures in a store are those of the pairs.

    Pairs are written before their pictures: a run that ended between the two leaves the pictures
    of an earlier one.

    Raises:
        ProjectError: when they are of others.
    """
    if pictures.made_from and pictures.made_from != digest_pairs(pairs):
        raise ProjectError(
            "the stored pictures belong to other pairs: run kedro run --pipelines=pair,tile first"
        )


def check_tiles(tiles: pd.DataFrame, pairs: pd.DataFrame, pictures: PictureStore) -> pd.DataFrame:
    """See that tiles were laid over these pictures of these pairs, as they are divided now.

    Returns:
        The usable pairs of the splits `train` and `val`, on which the tiles were laid.

    Raises:
        ProjectError: when they were laid over others.
    """
    check_pictures(pairs, pictures)
    key = ["photograph", "scale", "split"]
    usable = pairs_for_tiles(pairs)
    laid = set(tiles[key].drop_duplicates().astype(str).itertuples(index=False, name=None))
    known = set(usable[key].astype(str).itertuples(index=False, name=None))
    if not laid <= known or tiles.attrs.get("made_from", "") not in ("", pictures.digest):
        raise ProjectError(
            "the tiles belong to other pairs or another split: run kedro run --pipelines=tile first"
        )
    return usable
