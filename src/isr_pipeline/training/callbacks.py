"""Keras callbacks: what the report had, made safe to interrupt."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from isr_pipeline.training.checkpoints import Checkpoints
from isr_pipeline.training.parameters import DIVERGENCE, EARLY_STOPPING

logger = logging.getLogger(__name__)


class Best(keras.callbacks.Callback):
    """Tell which epoch is the best so far; `SaveState` keeps its weights.

    Args:
        monitor: name of the figure in the epoch's logs; lower is better.

    Attributes:
        best: the figure of that epoch.
        best_epoch: its number, from 0.
        improved: whether it is the one that has just ended.
    """

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self.best = np.inf
        self.best_epoch = 0
        self.improved = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = _monitored(logs, self.monitor)
        self.improved = value < self.best
        if self.improved:
            self.best, self.best_epoch = value, epoch


class SaveState(keras.callbacks.Callback):
    """Save everything that the next epoch needs, so that training survives `kill -9`.

    Must stand last in the list: it saves the other callbacks' state of the same epoch, and
    restores it after they have reset themselves.

    Args:
        network: whose weights are kept when an epoch is the best (the fitted model wraps it).
        checkpoints: where.
        recorder: whose history is saved.
        best: says whether an epoch is the best.
        others: callbacks with state.
    """

    ATTRIBUTES = ("best", "best_epoch", "wait", "cooldown_counter", "_ema_weights_in_model")

    def __init__(
        self,
        network: keras.Model,
        checkpoints: Checkpoints,
        recorder: "Recorder",
        best: Best,
        others: list[keras.callbacks.Callback],
    ) -> None:
        super().__init__()
        self.network = network
        self.checkpoints = checkpoints
        self.recorder = recorder
        self.best = best
        self.others = others
        self._restored: dict[str, Any] | None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a saved state when training begins; weights are loaded by the caller."""
        self._restored = state

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._restored is None:
            return
        self.recorder.replay(self._restored["rows"])
        for callback in self.others:
            # A callback may be new, as a time limit that was set since.
            for name, value in self._restored["callbacks"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not np.isfinite(_monitored(logs, "loss")):
            self.checkpoints.end(DIVERGENCE)  # there is nothing to go on from
            return
        states = {
            type(callback).__name__: {
                name: _plain(getattr(callback, name))
                for name in self.ATTRIBUTES
                if hasattr(callback, name)
            }
            for callback in self.others
        }
        state = {
            "epochs": epoch + 1,
            "rows": self.recorder.rows,
            "callbacks": states,
            # A time limit ends nothing for good: the next run may raise it.
            "ended": EARLY_STOPPING if has_stopped_early(self.others) else None,
        }
        self.checkpoints.save(self.model, state, self.network if self.best.improved else None)


class Reseed(keras.callbacks.Callback):
    """Let the random numbers of an epoch depend on seed and epoch alone.

    For PyTorch, which draws dropout from a state of its own, that is in no model's weights or
    seeds, and with which Keras draws when it begins to read batches.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch == 0:
            keras.utils.set_random_seed((self.seed + 100_003 * self._epoch) % 2**32)


class StopWhenDiverged(keras.callbacks.Callback):
    """Stop after an epoch whose loss is not finite: no later one would be."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not np.isfinite(_monitored(logs, "loss")):
            logger.warning(
                "The training diverged in epoch %d and ends here: lower train.learning_rate.peak",
                epoch + 1,
            )
            self.model.stop_training = True


def minutes_spent(rows: list[dict[str, float]]) -> float:
    """Minutes that the epochs of a history took."""
    return sum(row["seconds"] for row in rows) / 60


def has_stopped_early(callbacks: list[keras.callbacks.Callback]) -> bool:
    """Whether one of the callbacks has stopped for want of improvement."""
    return any(
        isinstance(callback, keras.callbacks.EarlyStopping) and callback.stopped_epoch > 0
        for callback in callbacks
    )


def is_time_over(callbacks: list[keras.callbacks.Callback]) -> bool:
    """Whether one of the callbacks is a time limit that is over."""
    return any(isinstance(callback, TimeLimit) and callback.is_over for callback in callbacks)


class TimeLimit(keras.callbacks.Callback):
    """Stop after the epoch in which the minutes are over; earlier sessions count too."""

    def __init__(self, minutes: float, recorder: "Recorder") -> None:
        super().__init__()
        self.minutes = minutes
        self.recorder = recorder

    @property
    def is_over(self) -> bool:
        """Whether no further epoch may begin."""
        return minutes_spent(self.recorder.rows) > self.minutes

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.is_over and epoch + 1 < self.params["epochs"]:
            logger.info("The limit of %g minutes is over: training ends here", self.minutes)
            self.model.stop_training = True


class Recorder(keras.callbacks.Callback):
    """Write the history row by row, show progress, and tell whoever listens.

    In a terminal a bar shows the steps; in a log file a line a minute does. Each epoch ends with
    one line in both.

    Args:
        on_epoch: called after each epoch with its number from 1 and its figures.
    """

    async_safe = True  # batches' ends come on other threads; else Keras waits after every step

    def __init__(self, on_epoch: Callable[[int, dict[str, float]], None] | None = None) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self.on_epoch = on_epoch
        self._started = self._spoken = self._worked = 0.0
        self._bar: Any = None
        self._lock = threading.Lock()

    def replay(self, rows: list[dict[str, float]]) -> None:
        """Take over the epochs of an interrupted training; whoever listens hears of them too."""
        self.rows = list(rows)
        for row in rows:
            self._tell(row)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = self._spoken = time.monotonic()
        self._worked = time.process_time()
        if sys.stderr.isatty():
            label = f"epoch {epoch + 1}/{self.params['epochs']}"
            self._bar = tqdm(total=self.params["steps"], desc=label, leave=False, unit="step")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.update()
            elif time.monotonic() - self._spoken > 60:
                self._spoken = time.monotonic()
                logger.info(
                    "step %d/%s  loss %.5f", batch + 1, self.params["steps"], (logs or {})["loss"]
                )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        seconds = time.monotonic() - self._started
        figures = {readable_name(name): float(value) for name, value in (logs or {}).items()}
        figures.setdefault("learning_rate", float(self.model.optimizer.learning_rate))
        processor = time.process_time() - self._worked
        row = {"epoch": epoch + 1, "seconds": seconds, "cpu_seconds": processor, **figures}
        self.rows.append(row)
        shown = [
            f"{name.replace('_', ' ')} {value:.5f}"
            if "loss" in name
            else f"{name.replace('_', ' ')} {value:.2f}"
            for name, value in figures.items()
            if name != "learning_rate" and ("loss_x" not in name) and "train_psnr" not in name
        ]
        left = (self.params["epochs"] - epoch - 1) * np.median([r["seconds"] for r in self.rows])
        logger.info(
            "epoch %d/%d  %s  %.1f s, %.1f min left",
            epoch + 1,
            self.params["epochs"],
            "  ".join(shown),
            seconds,
            left / 60,
        )
        self._tell(row)

    def _tell(self, row: dict[str, float]) -> None:
        if self.on_epoch is not None:
            self.on_epoch(int(row["epoch"]), {k: v for k, v in row.items() if k != "epoch"})


def readable_name(name: str) -> str:
    """Turn Keras' names into ours: `val_sr_x2_psnr` to `val_psnr_x2`, `loss` to `train_loss`."""
    split = "train"
    if name == "learning_rate":
        return name
    if name.startswith("val_"):
        split, name = "val", name.removeprefix("val_")
    if name.startswith("sr_x"):
        scale, _, figure = name.removeprefix("sr_x").partition("_")
        name = f"{figure}_x{scale}"
    name = name.replace("categorical_accuracy", "accuracy")
    return f"{split}_{name}"


def _monitored(logs: dict[str, Any] | None, monitor: str) -> float:
    try:
        return float((logs or {})[monitor])
    except KeyError:
        known = ", ".join(sorted(logs or {}))
        raise ValueError(f"nothing called '{monitor}' to monitor; there is: {known}") from None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
