"""Kedro datasets for the picture store, the tile index and training checkpoints."""

import base64
import io
import logging
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview, TablePreview

from isr_pipeline.datasets.paths import local_path
from isr_pipeline.storage.atomic import read_manifest
from isr_pipeline.storage.pictures import PictureStore, PictureStream, write_pictures
from isr_pipeline.storage.tiles import TileStream, read_tiles, write_tiles

logger = logging.getLogger(__name__)


class PictureStoreDataset(AbstractDataset[PictureStream, PictureStore]):
    """Whole pictures in one mapped file; saving what is already there does no work.

    Args:
        filepath: the store's folder.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def load(self) -> PictureStore:
        return PictureStore(self._filepath)

    def save(self, data: PictureStream) -> None:
        manifest = write_pictures(self._filepath, data)
        if manifest is None:
            logger.info("The pictures are stored already: nothing to do")
        else:
            logger.info(
                "Stored %d pictures, %.1f MB", manifest["pictures"], manifest["bytes"] / 1e6
            )

    def preview(self) -> ImagePreview:
        """The first photograph and its low-resolution partners, for Kedro-Viz."""
        from isr_pipeline.reporting.figures import draw_contact_sheet

        store = PictureStore(self._filepath)
        photograph = next(iter(store))[0]
        shown = {
            f"{photograph} x{scale}" if scale > 1 else photograph: store.picture(name, scale)
            for name, scale in store
            if name == photograph
        }
        buffer = io.BytesIO()
        draw_contact_sheet(shown).savefig(buffer, format="png")
        return ImagePreview(base64.b64encode(buffer.getvalue()).decode())

    def _exists(self) -> bool:
        return read_manifest(self._filepath) is not None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class TileIndexDataset(AbstractDataset[TileStream, pd.DataFrame]):
    """The tile index; saving what is already there does no work.

    Args:
        filepath: the index's folder.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        return read_tiles(self._filepath)

    def save(self, data: TileStream) -> None:
        if write_tiles(self._filepath, data) is None:
            logger.info("The tiles are indexed already: nothing to do")

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        return TablePreview(read_tiles(self._filepath).head(nrows).to_dict(orient="split"))

    def _exists(self) -> bool:
        return read_manifest(self._filepath) is not None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class CheckpointsDataset(AbstractDataset[NoReturn, Any]):
    """The folder in which a training keeps its checkpoints, as a handle.

    Args:
        filepath: the folder; made when first written to.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        from isr_pipeline.training.checkpoints import Checkpoints

        return Checkpoints(self._filepath)

    def save(self, data: NoReturn) -> None:
        raise DatasetError("checkpoints are written by the training itself")

    def _exists(self) -> bool:
        return True  # a training without checkpoints simply starts at the beginning

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
