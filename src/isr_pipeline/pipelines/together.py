"""What parameters of several rooms must agree on, said before the first of them works for hours."""

from collections.abc import Mapping

from isr_pipeline.errors import ProjectError
from isr_pipeline.parameters import Parameters
from isr_pipeline.pipelines.evaluate.parameters import EvaluateParameters
from isr_pipeline.pipelines.pair.parameters import PairParameters, SplitParameters
from isr_pipeline.pipelines.tile.parameters import TileParameters
from isr_pipeline.training.parameters import TrainParameters
from isr_pipeline.training.search_space import (
    TuneParameters,
    check_networks,
    check_space,
    possible_values,
)


def check_together(given: Mapping[str, Parameters]) -> None:
    """See whether the rooms of a run can work on each other's results.

    Args:
        given: parameters of the rooms that take part, by name. Each is valid in itself.

    Raises:
        ProjectError: when a later room would refuse what an earlier one makes.
    """
    pair, split, tile = given.get("pair"), given.get("split"), given.get("tile")
    train, evaluate, tune = given.get("train"), given.get("evaluate"), given.get("tune")
    if isinstance(train, TrainParameters) and isinstance(tune, TuneParameters):
        check_space(tune, train)
    if isinstance(pair, PairParameters) and isinstance(train, TrainParameters):
        searched = tune if isinstance(tune, TuneParameters) else None
        check_networks(train, searched, {1} if pair.low_res == "pixelated" else pair.scales)
        whole = isinstance(tile, TileParameters) and tile.size is None
        oblong = pair.resize is not None and len(set(pair.resize)) > 1
        if whole and oblong and True in possible_values(train, searched, "augment"):
            raise ProjectError(
                "train.augment transposes tiles, which must be square, and tile.size is null "
                f"(whole pictures of {pair.resize}): set tile.size, or train.augment to false"
            )
    if (
        isinstance(pair, PairParameters)
        and isinstance(evaluate, EvaluateParameters)
        and 1 not in pair.reductions
    ):
        raise ProjectError(
            f"pair.reductions are {pair.reductions}, and pictures are scored at their own size: "
            "add 1, or train without evaluate (--pipelines=prepare,train)"
        )
    if (
        isinstance(pair, PairParameters)
        and isinstance(split, SplitParameters)
        and split.method == "rows"
        and pair.low_res == "small"
        and len(pair.scales) > 1
    ):
        raise ProjectError(
            f"split.method rows takes the first rows to validate, which are all of scale "
            f"{pair.scales[0]}, and the network has an output for each of {pair.scales}: set "
            "pair.scales to one, pair.low_res to pixelated, or split.method to photograph"
        )
    if (
        isinstance(split, SplitParameters)
        and isinstance(evaluate, EvaluateParameters)
        and split.test == 0
        and evaluate.split == "test"
    ):
        raise ProjectError(
            "evaluate.split is test, and split.test is 0: set evaluate.split to val, or "
            "split.method to photograph with split.test above 0"
        )
