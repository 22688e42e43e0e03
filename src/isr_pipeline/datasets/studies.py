"""Kedro dataset for the file of hyper-parameter searches."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from isr_pipeline.datasets.paths import local_path
from isr_pipeline.training.search import StudyFile


class StudyDataset(AbstractDataset[NoReturn, StudyFile]):
    """Optuna's SQLite file of searches, as a handle; the search writes it trial by trial.

    Args:
        filepath: the file; made when first written to.
        metadata: for Kedro-Viz and the like.
    """

    optional = True  # the first search finds none

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def load(self) -> StudyFile:
        return StudyFile(self._filepath)

    def save(self, data: NoReturn) -> None:
        raise DatasetError("trials are written by the search itself")

    def preview(self, nrows: int = 5) -> TablePreview:
        """The best trials of the latest search, for Kedro-Viz."""
        trials = StudyFile(self._filepath).latest()
        best = trials.sort_values("val_psnr", ascending=False).head(nrows)
        return TablePreview(best.to_dict(orient="split"))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
