import pytest

from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.together import check_together
from pipelines.conftest import (
    evaluate_parameters,
    pair_parameters,
    split_parameters,
    tile_parameters,
    train_parameters,
    tune_parameters,
)

REPORTS = {"low_res": "pixelated", "resize": [800, 1200]}
MADE = {"partners": "made"}
SUBPIXEL = {"network__name": "subpixel"}


def given(pair=None, split=None, tile=None, train=None, evaluate=None):
    return {
        "pair": pair_parameters(**pair or {}),
        "split": split_parameters(**split or {}),
        "tile": tile_parameters(**tile or {}),
        "train": train_parameters(**train or {}),
        "evaluate": evaluate_parameters(**evaluate or {}),
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": SUBPIXEL}, r"one scale, and pair\.scales are \[2, 4, 6\]"),
        (
            {"pair": REPORTS, "tile": {"size": None}, "train": {"augment": True}},
            r"whole pictures of \[800, 1200\].*set tile\.size",
        ),
        ({"split": {"method": "rows", "test": 0.0}}, r"set evaluate\.split to val"),
        ({"pair": {**MADE, "reductions": [0.5]}}, r"scored at their own size: add 1"),
    ],
)
def test_what_a_later_room_would_refuse_is_refused_at_once(changes, words):
    with pytest.raises(ProjectError, match=words):
        check_together(given(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pair": {"scales": [2]}, "train": SUBPIXEL},
        {"pair": REPORTS, "tile": {"size": None}, "train": {"augment": False}},
        {"pair": REPORTS, "tile": {"size": 96}, "train": {"augment": True}},
        {"tile": {"size": None}, "train": {"augment": True}},  # the photographs may be square
        {"split": {"method": "rows", "test": 0.0}, "evaluate": {"split": "val"}},
    ],
)
def test_what_goes_together_is_let_through(changes):
    check_together(given(**changes))


def test_rooms_that_do_not_take_part_are_not_asked():
    check_together({"train": train_parameters(**SUBPIXEL)})
    check_together({**given(train=SUBPIXEL), "tune": tune_parameters()})
