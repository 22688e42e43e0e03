import json

import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError

from isr_pipeline.datasets.tables import (
    CSVDataset,
    JSONDataset,
    KeptTablesDataset,
    ParquetDataset,
)

FORMER, NEW = pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [3]})


class FullDiskError(Exception):
    pass


def cases(folder):
    table = str(folder / "table")
    return [
        (CSVDataset(filepath=f"{table}.csv", save_args={"index": False}), FORMER, NEW),
        (ParquetDataset(filepath=f"{table}.parquet"), FORMER, NEW),
        (JSONDataset(filepath=f"{table}.json"), {"a": [1, 2]}, {"a": [3]}),
    ]


def equal(one, other):
    return one.equals(other) if isinstance(one, pd.DataFrame) else one == other


@pytest.mark.parametrize("number", range(3))
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, number, monkeypatch):
    dataset, former, new = cases(tmp_path)[number]
    dataset.save(former)

    def full(self, data):
        with open(self._filepath, "wb") as file:  # noqa: PTH123  as Kedro's datasets do
            file.write(b"half")
        raise FullDiskError("no space left")

    kedros = type(dataset).__mro__[2]
    with monkeypatch.context() as disk:
        disk.setattr(kedros, "save", kedros._save_wrapper(full))
        with pytest.raises(DatasetError, match="no space left") as caught:
            dataset.save(new)
        assert "partial" not in str(caught.value)
    assert equal(dataset.load(), former)
    dataset.save(new)
    assert equal(dataset.load(), new)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "t.csv").symlink_to(tmp_path / "other disk.csv")
    dataset = CSVDataset(filepath=str(tmp_path / "t.csv"), save_args={"index": False})
    for table in (FORMER, NEW):
        dataset.save(table)
        assert (tmp_path / "t.csv").is_symlink()
        assert pd.read_csv(tmp_path / "other disk.csv").equals(table)


def test_a_catalog_makes_them_as_it_makes_kedros(tmp_path):
    options = {"filepath": str(tmp_path / "t.csv"), "save_args": {"index": False}}
    kinds = {"ours": "isr_pipeline.datasets.tables.CSVDataset", "kedros": "pandas.CSVDataset"}
    for name, kind in kinds.items():
        entry = {"type": kind, **options, "filepath": str(tmp_path / f"{name}.csv")}
        catalog = DataCatalog.from_config({name: entry})
        assert not catalog.exists(name)
        catalog.save(name, FORMER)
        assert catalog.exists(name)
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "kedros.csv").read_bytes()


def test_a_file_elsewhere_is_saved_as_kedro_saves_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = CSVDataset(filepath="memory://bucket/t.csv", save_args={"index": False})
    dataset.save(FORMER)
    dataset.save(NEW)
    assert dataset.load().equals(NEW)
    assert not list(tmp_path.iterdir())


def test_versions_are_kept_side_by_side(tmp_path):
    entry = {
        "type": "isr_pipeline.datasets.tables.JSONDataset",
        "filepath": str(tmp_path / "t.json"),
        "versioned": True,
    }
    for number, version in enumerate(("2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z")):
        DataCatalog.from_config({"t": entry}, save_version=version).save("t", {"n": number})
    found = sorted((tmp_path / "t.json").glob("*/t.json"))
    assert [json.loads(path.read_text())["n"] for path in found] == [0, 1]


def test_kept_tables_may_be_none_yet(tmp_path):
    def kept():
        return KeptTablesDataset(
            path=str(tmp_path), dataset="pandas.CSVDataset", filename_suffix=".csv"
        )

    assert kept().load() == {}
    assert kept().optional
    (tmp_path / "one.csv").write_text("a\n1\n")
    assert kept().load()["one"]()["a"].tolist() == [1]
