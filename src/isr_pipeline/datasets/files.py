"""Kedro dataset for a handful of files that belong together."""

from typing import Any

from kedro.io import AbstractDataset

from isr_pipeline.datasets.paths import local_path
from isr_pipeline.storage.atomic import recover_folder, replace_folder


class FilesDataset(AbstractDataset[dict[str, bytes], dict[str, bytes]]):
    """The files of a folder by name, written all or not at all.

    Args:
        filepath: the folder.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def load(self) -> dict[str, bytes]:
        recover_folder(self._filepath)
        return {file.name: file.read_bytes() for file in sorted(self._filepath.iterdir())}

    def save(self, data: dict[str, bytes]) -> None:
        with replace_folder(self._filepath) as partial:
            for name, content in data.items():
                (partial / name).write_bytes(content)

    def _exists(self) -> bool:
        recover_folder(self._filepath)
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
