import hashlib

import pandas as pd
import pytest

from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.pair.nodes import split_photographs
from isr_pipeline.pipelines.pair.split import hash_fraction, split_by_photograph, split_rows
from pipelines.conftest import split_parameters


def names(count: int) -> list[str]:
    return [f"photo-{n}" for n in range(count)]


@pytest.mark.parametrize("count", [3, 4, 5, 8, 50])
@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("test", [0.15, 0.6])
def test_no_split_is_empty_from_three_photographs_up(count, seed, test):
    splits = split_by_photograph(names(count), split_parameters(seed=seed, test=test))
    assert set(splits.values()) == {"train", "val", "test"}


def test_the_highest_hash_validates_even_below_the_share_of_the_test():
    photographs = ["p4.jpg", "p15.jpg", "p18.jpg"]  # all three fall below .15
    splits = split_by_photograph(photographs, split_parameters(seed=0, test=0.15))
    assert sorted(splits.values()) == ["test", "train", "val"]


def test_fewer_than_three_photographs_are_an_error():
    with pytest.raises(ProjectError, match="2 usable photographs are too few"):
        split_by_photograph(names(2), split_parameters())


def test_adding_photographs_moves_none():
    few = split_by_photograph(names(200), split_parameters())
    many = split_by_photograph(names(2000), split_parameters())
    assert {name: many[name] for name in few} == few


def test_shares_are_kept_and_order_does_not_matter():
    parameters = split_parameters(validation=0.1, test=0.3)
    splits = split_by_photograph(names(4000), parameters)
    counts = pd.Series(splits).value_counts(normalize=True)
    assert counts["test"] == pytest.approx(0.3, abs=0.03)
    assert counts["val"] == pytest.approx(0.1, abs=0.03)
    assert split_by_photograph(names(4000)[::-1], parameters) == splits


def test_the_hash_is_the_same_on_every_machine():
    expected = int(hashlib.sha256(b"0:1").hexdigest()[:16], 16) / 16**16
    assert hash_fraction("1", 0) == expected == pytest.approx(0.9338884, abs=1e-7)


def test_no_photograph_crosses(world):
    per_photograph = world.pairs.groupby("photograph")["split"].nunique()
    assert (per_photograph == 1).all()
    trained = set(world.tiles.loc[world.tiles["split"] == "train", "photograph"])
    validated = set(world.tiles.loc[world.tiles["split"] == "val", "photograph"])
    tested = set(world.pairs.loc[world.pairs["split"] == "test", "photograph"])
    assert trained
    assert validated
    assert tested
    assert not trained & validated
    assert not tested & (trained | validated)


def test_pairs_that_are_not_usable_get_no_split(world):
    pairs = world.pairs.drop(columns="split")
    pairs.loc[0, "status"] = "foreign"
    split = split_photographs(pairs, split_parameters())
    assert pd.isna(split.loc[0, "split"])
    assert split["split"].iloc[1:].notna().all()


def test_the_reports_split_takes_the_first_rows_as_it_did():
    pairs = pd.DataFrame(index=range(3762))
    splits = split_rows(pairs, split_parameters(method="rows", test=0.0))
    assert (splits == "val").sum() == 564
    assert splits.iloc[563] == "val"
    assert splits.iloc[564] == "train"


def test_the_reports_split_leaks_and_ours_does_not(world):
    pairs = world.pairs.drop(columns="split")
    split = split_photographs(pairs, split_parameters(method="rows", test=0.0))
    assert split.groupby("photograph")["split"].nunique().max() > 1
