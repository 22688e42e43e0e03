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
ROWS, VAL = {"method": "rows", "test": 0.0}, {"split": "val"}


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
        ({"train": SUBPIXEL}, r"one scale, not for \[2, 4, 6\]: set pair\.scales"),
        ({"pair": REPORTS, "train": SUBPIXEL}, r"set pair\.low_res to small"),
        (
            {"pair": REPORTS, "tile": {"size": None}, "train": {"augment": True}},
            r"whole pictures of \[800, 1200\].*set tile\.size",
        ),
        ({"pair": {"scales": [2]}, "split": ROWS}, r"set evaluate\.split to val"),
        ({"split": ROWS, "evaluate": VAL}, r"all of scale 2.*set pair\.scales to one"),
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
        {"pair": {"scales": [2]}, "split": ROWS, "evaluate": VAL},
        {"pair": {"low_res": "pixelated"}, "split": ROWS, "evaluate": VAL},
    ],
)
def test_what_goes_together_is_let_through(changes):
    check_together(given(**changes))


def test_rooms_that_do_not_take_part_are_not_asked():
    check_together({"train": train_parameters(**SUBPIXEL)})


def searching(**space):
    return {"tune": tune_parameters(space=space)}


def test_a_search_is_asked_for_what_it_can_try():
    networks = {"network.name": {"choices": ["autoencoder", "report_autoencoder"]}}
    check_together({**given(train=SUBPIXEL), **searching(**networks)})
    networks["network.name"]["choices"].append("subpixel")
    with pytest.raises(ProjectError, match="subpixel is made for one scale"):
        check_together({**given(), **searching(**networks)})
    with pytest.raises(ProjectError, match=r"no value of train now"):
        check_together(
            {**given(), **searching(**{"learning_rate.peek": {"choices": [0.001, 0.002]}})}
        )
    whole = {"pair": REPORTS, "tile": {"size": None}, "train": {"augment": False}}
    with pytest.raises(ProjectError, match=r"train\.augment transposes"):
        check_together({**given(**whole), **searching(augment={"choices": [False, True]})})
