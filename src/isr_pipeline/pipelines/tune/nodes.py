"""Tuning: which parameters of training suit these tiles, by validation tiles alone."""

import logging
import shutil
from typing import Any

import pandas as pd
import yaml
from matplotlib.figure import Figure

from isr_pipeline import tracking
from isr_pipeline.errors import ProjectError
from isr_pipeline.initial_network import InitialNetwork
from isr_pipeline.networks import import_keras
from isr_pipeline.pipelines.pair.belonging import check_tiles
from isr_pipeline.reporting.figures import draw_search_history, draw_search_slices
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import PictureStore
from isr_pipeline.storage.tiles import digest_tiles
from isr_pipeline.training.checkpoints import Checkpoints
from isr_pipeline.training.parameters import TrainParameters
from isr_pipeline.training.search import COLUMNS, OnEpoch, StudyFile, run_search, trials_table
from isr_pipeline.training.search_space import (
    RealRange,
    TuneParameters,
    WholeRange,
    check_networks,
    check_space,
    common_values,
    present_values,
)

logger = logging.getLogger(__name__)


def search_parameters(
    tiles: pd.DataFrame,
    pairs: pd.DataFrame,
    pictures: PictureStore,
    study_file: StudyFile,
    checkpoints: Checkpoints,
    initial_network: InitialNetwork | None,
    train: TrainParameters,
    tune: TuneParameters,
) -> pd.DataFrame:
    """Train with many parameters for a short time; each trial is a nested MLflow run.

    Returns:
        One row a trial: see `training.search.trials_table`.

    Raises:
        ProjectError: when the tiles were laid over other pairs or another split, and for a search
            space that `train` does not have, or when another process is at this very search.
    """
    check_tiles(tiles, pairs, pictures)
    initial = None if initial_network is None else initial_network.network
    check_space(tune, train)
    check_networks(train, tune, {int(scale) for scale in tiles["enlargement"].unique()})
    import_keras()
    import keras

    from isr_pipeline.training.fit import digest_weights, fit_network

    work_digest = digest(
        {key: values.model_dump() for key, values in tune.dimensions.items()},
        _with_arithmetic(common_values(train, tune)),
        tune.seed,
        pictures.digest,
        digest_tiles(tiles),
        digest_weights(initial),
    )
    study = study_file.open(work_digest)
    folder = checkpoints.folder / study.study_name

    def fit(
        number: int, parameters: TrainParameters, on_epoch: OnEpoch
    ) -> tuple[pd.DataFrame, int]:
        def told(epoch: int, figures: dict[str, float]) -> None:
            tracking.log_epoch(epoch, figures)
            on_epoch(epoch, figures)

        keras.utils.clear_session()
        of_trial = Checkpoints(folder / f"trial_{number}")
        with tracking.nested_run(f"trial {number}"):
            tracking.log_parameters({"train": parameters.model_dump()})
            result = fit_network(tiles, pictures, parameters, of_trial, told, initial)
        return result.history, result.facts["best_epoch"]

    def discard(number: int) -> None:
        shutil.rmtree(folder / f"trial_{number}", ignore_errors=True)

    with Checkpoints(folder).claimed("search"):  # two processes would take each other's trials
        run_search(study, train, tune, fit, discard)
    return trials_table(study)


def choose_best(
    trials: pd.DataFrame, train: TrainParameters, tune: TuneParameters
) -> tuple[str, dict[str, Any]]:
    """The best trial's parameters and network as a parameters file, and the search's figures.

    Raises:
        ProjectError: when no trial was completed.
    """
    complete = trials[trials["state"] == "complete"]
    if complete.empty:
        raise ProjectError(
            "no trial was completed: raise tune.trials or tune.minutes and run tune again"
        )
    best = complete.loc[complete["val_psnr"].idxmax()]
    chosen = {key: _plain(best[key], key, tune) for key in tune.dimensions}
    figures: dict[str, Any] = {
        "best_val_psnr": float(best["val_psnr"]),
        "best_trial": int(best["trial"]),
        "trials": len(trials),
        "pruned": int((trials["state"] == "pruned").sum()),
    }
    present = present_values(train, tune)
    note = ""
    for trial in complete.to_dict("records"):
        if present is not None and all(
            _plain(trial[key], key, tune) == value for key, value in present.items()
        ):
            figures["present_val_psnr"] = float(trial["val_psnr"])
            note = f" The parameters before: {figures['present_val_psnr']:.2f} dB."
            break
    # The network stands in the file too: it may have been chosen for this run alone.
    name = chosen.get("network.name", train.network.name)
    sizes = getattr(train.network, name).model_dump()
    nested: dict[str, Any] = {"network": {"name": name, name: sizes}}
    for key, value in chosen.items():
        *groups, last = key.split(".")
        target = nested
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = value
    header = (
        f"# Found by kedro run --pipelines=tune: trial {figures['best_trial']} of "
        f"{figures['trials']}, {tune.epochs} epochs each.\n"
        f"# Validation PSNR, mean over scales: {figures['best_val_psnr']:.2f} dB.{note}\n"
        "# To train with it, copy it to conf/local/ (or into the environment that you name with\n"
        "# --env; where a file of that sets some of these keys already, change them there), then:\n"
        "# kedro run --pipelines=train (with that --env)\n"
    )
    logger.info(
        "Best: %.2f dB with %s.%s",
        figures["best_val_psnr"],
        ", ".join(f"{key} {value}" for key, value in chosen.items()),
        note,
    )
    return header + yaml.safe_dump({"train": nested}, sort_keys=False), {"tune": figures}


def plot_search(trials: pd.DataFrame, tune: TuneParameters) -> tuple[Figure, Figure]:
    """How the search went, and what each parameter did."""
    logarithmic = [
        key
        for key, values in tune.dimensions.items()
        if isinstance(values, RealRange) and values.log
    ]
    keys = [column for column in trials.columns if column not in COLUMNS]
    return draw_search_history(trials), draw_search_slices(trials, keys, logarithmic)


def _with_arithmetic(common: dict[str, Any]) -> dict[str, Any]:
    """The trials' common values, with what computes them: others' figures compare with none."""
    import keras

    from isr_pipeline.training.precision import choose_precision

    precise = {k: choose_precision(v) for k, v in common.items() if k == "precision"}
    return {**common, **precise, "backend": keras.backend.backend()}


def _plain(value: Any, key: str, tune: TuneParameters) -> Any:
    """A table's value as the search space's own: a table turns 8 into 8.0 and None into NaN."""
    dimension = tune.dimensions[key]
    if isinstance(dimension, RealRange):
        return float(value)
    if isinstance(dimension, WholeRange):
        return int(value)
    if pd.isna(value):
        return None
    return next(choice for choice in dimension.choices if choice is not None and choice == value)
