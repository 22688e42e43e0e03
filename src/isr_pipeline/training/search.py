"""Hyper-parameter search with Optuna: trials one by one, pruned early, resumable when killed."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from isr_pipeline.errors import DivergedError, ProjectError
from isr_pipeline.training.parameters import TrainParameters
from isr_pipeline.training.search_space import (
    Choices,
    RealRange,
    TuneParameters,
    WholeRange,
    present_values,
    trial_parameters,
)

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

OnEpoch = Callable[[int, dict[str, float]], None]
Fit = Callable[[int, TrainParameters, OnEpoch], tuple[pd.DataFrame, int]]
"""Trains one trial: number, parameters, listener; returns its history and the epoch kept."""

ATTEMPTS, BEGUN_AFTER = 2, "begun_after"
"""How often a trial goes on after an epoch without coming further, and where that is noted."""
COLUMNS = ("trial", "state", "val_psnr", "epochs", "seconds")
"""Columns of a table of trials; those of the varied keys follow."""


class StudyFile:
    """A SQLite file of searches, one for each combination of space, training and tiles.

    Args:
        path: the file; made when first written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, work_digest: str) -> "optuna.Study":
        """The search of a digest, begun when it is new; the file's other searches stay.

        Raises:
            ProjectError: when the file holds something else.
        """
        import optuna

        self.path.parent.mkdir(parents=True, exist_ok=True)
        storage, present = self._storage_and_names()
        name = work_digest[:16]
        if present and name not in present:
            logger.warning(
                "The searches in %s had another space, other parameters of train or other tiles: "
                "they stay, and a new search begins beside them",
                self.path,
            )
        return optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )

    def latest(self) -> pd.DataFrame:
        """The trials of the search that was begun last; no rows without one."""
        if not self.path.is_file():
            return pd.DataFrame(columns=list(COLUMNS))
        import optuna

        storage, present = self._storage_and_names()
        if not present:
            return pd.DataFrame(columns=list(COLUMNS))
        return trials_table(optuna.load_study(study_name=present[-1], storage=storage))

    def _storage_and_names(self) -> tuple["optuna.storages.RDBStorage", list[str]]:
        import optuna
        from sqlalchemy import URL
        from sqlalchemy.exc import DatabaseError

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            address = URL.create("sqlite", database=str(self.path))
            storage = optuna.storages.RDBStorage(address.render_as_string())
            return storage, [study.study_name for study in storage.get_all_studies()]
        except (DatabaseError, RuntimeError) as error:
            raise ProjectError(
                f"{self.path} is not a study of this Optuna ({type(error).__name__}): "
                "move it away and run again"
            ) from error


def run_search(
    study: "optuna.Study",
    train: TrainParameters,
    tune: TuneParameters,
    fit: Fit,
    discard: Callable[[int], None],
) -> None:
    """Run the trials that are left.

    A trial that was killed in the middle goes on first, from its own checkpoint. The parameters of
    `train` are the first trial when the space holds them, so that there is something to beat.

    Args:
        study: from `StudyFile.open`.
        train: the parameters that do not vary.
        tune: the search.
        fit: trains one trial.
        discard: removes what the trial with that number has left on disk; called when it ends.

    Raises:
        Exception: what `fit` raises, after the trial was marked as failed; failed trials do not
            count, and a later run tries others.
    """
    import optuna

    study.pruner = _pruner(tune)
    distributions = {key: _distribution(values) for key, values in tune.dimensions.items()}
    present = present_values(train, tune)
    failed = optuna.trial.TrialState.FAIL
    if present is not None and all(trial.state == failed for trial in study.trials):
        study.enqueue_trial(present)
    started = time.monotonic()
    while True:
        trial = _interrupted(study, set(distributions), discard)
        if trial is None:
            done = study.get_trials(
                deepcopy=False,
                states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED),
            )
            if len(done) >= tune.trials:
                break
            if tune.minutes is not None and time.monotonic() - started > tune.minutes * 60:
                logger.info(
                    "The limit of %g minutes is over after %d of %d trials: "
                    "the same command goes on",
                    tune.minutes,
                    len(done),
                    tune.trials,
                )
                break
            # Seeded by the trial, so that a resumed search draws what it would have drawn.
            study.sampler = optuna.samplers.TPESampler(seed=tune.seed * 100_003 + _number(study))
            trial = study.ask(distributions)
        else:
            logger.info("Trial %d was interrupted and goes on", trial.number)
        try:
            _run_trial(study, trial, train, tune, fit)
        except Exception:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            discard(trial.number)
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(BEGUN_AFTER, [])  # a person ended the process, not the trial
            logger.info("The search stops: the same command goes on with trial %d", trial.number)
            raise
        discard(trial.number)  # but not when it is interrupted: it will go on


def trials_table(study: "optuna.Study") -> pd.DataFrame:
    """One row a trial: number, state, PSNR in dB, epochs, seconds, and the varied parameters.

    `val_psnr` is that of the epoch that was kept, or of the last one seen when the trial was
    pruned.
    """
    rows = []
    for trial in study.trials:
        if trial.state.name == "WAITING":
            continue
        seen = trial.intermediate_values
        value = trial.value if trial.state.name == "COMPLETE" else seen.get(max(seen, default=0))
        figures = (trial.number, trial.state.name.lower(), value, len(seen))
        row = dict(zip(COLUMNS, (*figures, trial.user_attrs.get("seconds")), strict=True))
        rows.append({**row, **trial.params})
    return pd.DataFrame(rows, columns=None if rows else list(COLUMNS))


def mean_psnr(figures: dict[str, Any]) -> float:
    """Validation PSNR of an epoch, mean over the scales, in dB."""
    return float(np.mean([v for name, v in figures.items() if name.startswith("val_psnr")]))


def _run_trial(
    study: "optuna.Study",
    trial: "optuna.Trial",
    train: TrainParameters,
    tune: TuneParameters,
    fit: Fit,
) -> None:
    from optuna.trial import TrialState

    shown = ", ".join(f"{key} {value}" for key, value in trial.params.items())
    logger.info("Trial %d of %d: %s", trial.number, tune.trials, shown)
    reported = set(study.trials[trial.number].intermediate_values)
    seconds = 0.0

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        nonlocal seconds
        seconds += figures["seconds"]
        if epoch not in reported:  # a resumed training tells its former epochs again
            trial.report(mean_psnr(figures), epoch)
            if epoch < tune.epochs and trial.should_prune():
                raise _PrunedError

    try:
        parameters = trial_parameters(train, tune, trial.params)
        history, kept = fit(trial.number, parameters, on_epoch)
    except (_PrunedError, DivergedError, ValidationError) as error:
        reason = {_PrunedError: "it lags behind", DivergedError: "it diverged"}.get(
            type(error), "these values do not go together"
        )
        trial.set_user_attr("seconds", seconds)
        study.tell(trial, state=TrialState.PRUNED)
        logger.info("Trial %d is pruned: %s", trial.number, reason)
        return
    value = mean_psnr(history.set_index("epoch").loc[kept].to_dict())
    trial.set_user_attr("seconds", seconds)
    study.tell(trial, value)
    logger.info("Trial %d: %.2f dB; the best is %.2f dB", trial.number, value, study.best_value)


class _PrunedError(Exception):
    """Carries the pruner's verdict out of the training."""


def _interrupted(
    study: "optuna.Study", keys: set[str], discard: Callable[[int], None]
) -> "optuna.Trial | None":
    """A trial that a killed run left in the middle.

    One without all its values is given up, and so is one that has gone on several times and come
    no further: it may be what kills the process, by the memory that it takes.
    """
    from optuna.trial import Trial, TrialState

    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        trial = Trial(study, frozen._trial_id)
        epochs = len(frozen.intermediate_values)
        begun: list[int] = frozen.user_attrs.get(BEGUN_AFTER, [])
        if set(frozen.params) == keys:
            if begun.count(epochs) < ATTEMPTS:
                trial.set_user_attr(BEGUN_AFTER, [*begun, epochs])
                return trial
            logger.warning(
                "Trial %d is given up: %d times its process ended in epoch %d",
                frozen.number,
                begun.count(epochs) + 1,
                epochs + 1,
            )
        study.tell(trial, state=TrialState.FAIL)
        discard(frozen.number)
    return None


def _number(study: "optuna.Study") -> int:
    """The number of the next trial, whether or not it waits in the queue already."""
    return sum(trial.state.name != "WAITING" for trial in study.trials)


def _distribution(
    values: RealRange | WholeRange | Choices,
) -> "optuna.distributions.BaseDistribution":
    from optuna import distributions

    if isinstance(values, RealRange):
        return distributions.FloatDistribution(values.low, values.high, log=values.log)
    if isinstance(values, WholeRange):
        return distributions.IntDistribution(values.low, values.high, step=values.step)
    return distributions.CategoricalDistribution(values.choices)


def _pruner(tune: TuneParameters) -> "optuna.pruners.BasePruner":
    from optuna import pruners

    if tune.pruner == "median":
        return pruners.MedianPruner(tune.startup_trials, tune.warmup_epochs)
    if tune.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(tune.warmup_epochs, reduction_factor=3)
    if tune.pruner == "hyperband":
        return pruners.HyperbandPruner(tune.warmup_epochs, max(tune.epochs, tune.warmup_epochs))
    return pruners.NopPruner()
