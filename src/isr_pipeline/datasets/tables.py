"""Kedro's datasets of tables and records: those of one file are replaced whole or not at all.

A full disk, an error or a killed process in the midst of saving leaves the former file as it was.
"""

from copy import copy
from pathlib import Path, PurePosixPath
from typing import Any

from kedro_datasets import json, pandas, partitions

from isr_pipeline.storage.atomic import replace_file


class _Replaced:
    """Saves to a temporary name beside the file, which then takes the file's place.

    Files elsewhere than on this machine's disks, and versions, are saved as Kedro saves them.
    """

    _filepath: PurePosixPath
    _protocol: str
    _version: Any

    def save(self, data: Any) -> None:
        if self._version is not None or self._protocol != "file":
            super().save(data)  # type: ignore[misc]
            return
        beside = copy(self)
        with replace_file(Path(self._filepath).resolve()) as partial:  # a link stays a link
            beside._filepath = PurePosixPath(partial.as_posix())
            # Without Kedro's own wrapper, which would call the entry by its temporary name.
            super().save.__func__.__wrapped__(beside, data)  # type: ignore[misc]


class CSVDataset(_Replaced, pandas.CSVDataset):
    """`pandas.CSVDataset`, saved whole or not at all."""


class ParquetDataset(_Replaced, pandas.ParquetDataset):
    """`pandas.ParquetDataset`, saved whole or not at all."""


class KeptTablesDataset(partitions.PartitionedDataset):
    """`partitions.PartitionedDataset` that may be empty: a project begins without results."""

    optional = True

    def load(self) -> dict[str, Any]:
        return super().load() if self.exists() else {}


class JSONDataset(_Replaced, json.JSONDataset):
    """`json.JSONDataset`, saved whole or not at all."""
