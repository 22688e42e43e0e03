"""Where photographs come from: three sources, one kind of collection."""

import re
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from isr_pipeline.errors import ProjectError
from isr_pipeline.sources.collection import PhotoCollection


class _PhotographsDataset(AbstractDataset[NoReturn, PhotoCollection]):
    """A read-only collection of photographs in a folder.

    Args:
        filepath: the folder.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        # Kedro makes paths absolute before it hands them over, also those that begin with ~.
        self._filepath = Path(re.sub(r"^.*?/(?=~/)", "", filepath)).expanduser()
        self.metadata = metadata

    def save(self, data: NoReturn) -> None:
        raise DatasetError(f"{self._filepath} is a source of photographs: nothing is saved there")

    def _exists(self) -> bool:
        return True  # loading makes the source, or says what is missing

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class SampleDataset(_PhotographsDataset):
    """The embedded sample, written on first use in the layout of the Kaggle data set."""

    def load(self) -> PhotoCollection:
        from isr_pipeline.sources.kaggle_layout import list_kaggle_layout
        from isr_pipeline.sources.sample import ensure_sample

        ensure_sample(self._filepath)
        return list_kaggle_layout(self._filepath)


class KaggleDataset(_PhotographsDataset):
    """The Kaggle data set, full or partial, downloaded on first use if credentials exist."""

    def check(self) -> None:
        """See that the data set is there or can be downloaded, before anything is read.

        Raises:
            SourceError: when it is not and there are no credentials.
        """
        from isr_pipeline.sources.kaggle import check_data_set

        check_data_set(self._filepath)

    def load(self) -> PhotoCollection:
        from isr_pipeline.sources.kaggle import ensure_data_set
        from isr_pipeline.sources.kaggle_layout import list_kaggle_layout

        ensure_data_set(self._filepath)
        return list_kaggle_layout(self._filepath)


class FolderDataset(_PhotographsDataset):
    """Anybody's folder of photographs.

    Args:
        filepath: the folder, or None while nobody has named one.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str | None, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath or "", metadata)
        self._named = bool(filepath)

    def check(self) -> None:
        """See that a folder was named and is there, before anything is read.

        Raises:
            ProjectError: when it was not, or is not.
        """
        from isr_pipeline.sources.folder import check_folder

        if not self._named:
            raise ProjectError(
                "no folder of photographs was named: add --params=photos=<folder> to the command"
            )
        check_folder(self._filepath)

    def load(self) -> PhotoCollection:
        from isr_pipeline.sources.folder import list_folder

        self.check()
        return list_folder(self._filepath)
