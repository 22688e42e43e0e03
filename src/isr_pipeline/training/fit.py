"""Training: from tiles to a network, resumable at every epoch."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from isr_pipeline.errors import DivergedError, ProjectError
from isr_pipeline.machine import describe_machine
from isr_pipeline.networks import (
    at_scale,
    build_network,
    check_network,
    fold,
    scales_of,
    warm_start,
)
from isr_pipeline.networks.dead_units import dead_units
from isr_pipeline.networks.subpixel import activation_of
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import PictureStore
from isr_pipeline.storage.tiles import digest_tiles
from isr_pipeline.training.callbacks import (
    Best,
    Recorder,
    Reseed,
    SaveState,
    StopWhenDiverged,
    TimeLimit,
    has_stopped_early,
    is_time_over,
    minutes_spent,
)
from isr_pipeline.training.checkpoints import Checkpoints
from isr_pipeline.training.device import PIXEL_LIMIT, device_reader
from isr_pipeline.training.feed import (
    Batch,
    MakeReader,
    TileFeed,
    TileReader,
    make_batch,
    readers_by_scale,
)
from isr_pipeline.training.losses import METRICS, choose_loss
from isr_pipeline.training.optimizers import make_optimizer
from isr_pipeline.training.parameters import (
    DIVERGENCE,
    EARLY_STOPPING,
    ITS_EPOCHS,
    TIME_LIMIT,
    WITHOUT_EFFECT,
    LearningRateParameters,
    TrainParameters,
)
from isr_pipeline.training.precision import choose_precision, has_gpu

logger = logging.getLogger(__name__)

BYTES_UNASKED = 4e9
"""Of pictures, that `train.feed: auto` puts into a GPU's memory at most."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        network: with the weights of the best epoch, in float32, not compiled.
        history: one row an epoch: `epoch`, `seconds`, `cpu_seconds` (of all threads together),
            `learning_rate` and the figures.
        facts: `machine`, `backend`, `precision`, `parameters`, `loss` (its name), `epochs`,
            `best_epoch`, `ended_by`, `seconds`, `cpu_seconds`, `resumed_after` (epochs already
            done when this run began), `train_tiles`, `dead_units` (see `networks.dead_units`) and
            `digest` (names parameters, tiles and pictures, and the checkpoints).
    """

    network: keras.Model
    history: pd.DataFrame
    facts: dict[str, Any]


def fit_network(
    tiles: pd.DataFrame,
    pictures: PictureStore,
    parameters: TrainParameters,
    checkpoints: Checkpoints,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    initial: keras.Model | None = None,
) -> TrainingResult:
    """Train a network on the tiles of split `train`, choosing the epoch by those of `val`.

    Its checkpoints stay until whoever has saved the result forgets them: a process that is killed
    in between loses nothing, and the same call returns the same result at once.

    Args:
        tiles: the tile index.
        pictures: the store that it points into.
        parameters: see `TrainParameters`.
        checkpoints: where the best weights and the state between epochs are kept, each training's
            in a folder of its own (see `Checkpoints.of`).
        on_epoch: called after each epoch with its number from 1 and its figures.
        initial: a trained network whose layers of the same name and shapes are taken over, such
            as that of another scale; None starts from random weights.

    Raises:
        ProjectError: when the tiles are of several sizes, when `initial` has nothing in common
            with the network, when another process is at this very training, or when it diverges
            (`DivergedError`).
    """
    _check_shapes(tiles, parameters)
    keras.utils.set_random_seed(parameters.seed)
    on_device = cuts_on_device(pictures, parameters)
    make_reader: MakeReader = device_reader(pictures) if on_device else TileReader
    feed = TileFeed(
        tiles[tiles["split"] == "train"],
        pictures,
        parameters.batch_size,
        parameters.seed,
        parameters.augment,
        make_reader,
    )
    validation = ValidationTiles(
        tiles, pictures, parameters.validation_tiles, parameters.batch_size, make_reader
    )
    steps = parameters.steps_per_epoch or feed.steps_per_pass
    precision = choose_precision(parameters.precision)
    network = build_for_training(parameters, feed.scales, precision, initial)
    if initial is not None:
        _warm_start(network, initial)
    model = training_model(network, feed.scales)
    compile_for_training(model, parameters, steps)

    work_digest = _work_digest(tiles, pictures, parameters, precision, initial, network)
    others, checkpoints = checkpoints, checkpoints.of(work_digest)
    with checkpoints.claimed():
        recorder = Recorder(on_epoch)
        best = Best(parameters.callbacks.checkpoint.monitor)
        callbacks = [recorder, *_chosen_callbacks(parameters, recorder), best, StopWhenDiverged()]
        if keras.backend.backend() == "torch":
            callbacks.append(Reseed(parameters.seed))
        callbacks.append(SaveState(network, checkpoints, recorder, best, callbacks[1:]))
        done, ended = 0, None
        if parameters.resume:
            minutes = parameters.maximum_minutes
            done, ended = _resume(model, checkpoints, callbacks[-1], minutes)
        if done == 0:
            checkpoints.forget()
            unfinished = others.unfinished()
            if unfinished:
                logger.info(
                    "%d unfinished trainings in %s had other parameters or tiles: they stay, "
                    "and this one is starting anew",
                    unfinished,
                    others.folder,
                )
        logger.info(
            "Training %s: %s parameters, scales %s, %d epochs of %d steps, %s on %s, "
            "tiles from the %s, %d of each scale for validation",
            parameters.network.name,
            f"{network.count_params():,}",
            feed.scales,
            parameters.epochs,
            steps,
            precision,
            keras.backend.backend(),
            "device" if on_device else "host",
            validation.count,
        )
        batches = feed.batches(first=done * steps)
        try:
            if done < parameters.epochs and not ended:
                model.fit(
                    (batch for batch in batches),  # Keras takes generators alone
                    epochs=parameters.epochs,
                    initial_epoch=done,
                    steps_per_epoch=steps,
                    validation_data=validation,
                    callbacks=callbacks,
                    shuffle=False,  # the feed has done that
                    verbose=0,
                )
            else:  # it was killed, or its result not saved, after its last epoch
                callbacks[-1].on_train_begin()
        except KeyboardInterrupt:
            saved = checkpoints.load_state() if parameters.resume else None
            if saved is not None:
                text = "Training stops: the same command goes on after epoch %d"
                logger.info(text, saved["epochs"])
            else:
                logger.info("Training stops: the same command begins anew")
            raise
        finally:
            batches.close()

        if not checkpoints.best.is_file():
            raise DivergedError(
                f"the training diverged: no epoch had a finite {best.monitor}; "
                "lower train.learning_rate.peak"
            )
        trained = build_for_training(parameters, feed.scales, "float32", initial)
        trained.load_weights(checkpoints.best)
        trained = fold(trained)
        dead = _dead_units(trained, validation)
        history = pd.DataFrame(recorder.rows)
        weight = parameters.fourier_weight
        facts = {
            "machine": describe_machine(),
            "backend": keras.backend.backend(),
            "precision": precision,
            "parameters": trained.count_params(),
            "loss": parameters.loss + (f" + {weight:g} fourier" if weight else ""),
            "epochs": len(history),
            "best_epoch": best.best_epoch + 1,
            "ended_by": _ended_by(history, parameters.epochs, ended, callbacks),
            "seconds": float(history["seconds"].sum()),
            "cpu_seconds": float(history["cpu_seconds"].sum()),
            "resumed_after": done,
            "train_tiles": int((tiles["split"] == "train").sum()),
            "dead_units": sum(count for count, _ in dead.values()),
            "digest": work_digest,
        }
        logger.info(
            "Trained %d epochs in %.1f min; kept epoch %d",
            facts["epochs"],
            facts["seconds"] / 60,
            facts["best_epoch"],
        )
        return TrainingResult(trained, history, facts)


def _dead_units(network: keras.Model, validation: "ValidationTiles") -> dict[str, tuple[int, int]]:
    """What has died of a trained network, said aloud where it is half of a layer."""
    some = max(1, 64 // validation.batch_size)
    spread = np.unique(np.linspace(0, len(validation) - 1, some).astype(int))
    scale = min(scales_of(network))
    dead = dead_units(network, (validation[number][0][f"lr_x{scale}"] for number in spread))
    layers = [
        f"{name} ({count} of {channels})"
        for name, (count, channels) in dead.items()
        if 2 * count > channels
    ]
    if layers:
        logger.warning(
            "Most channels are dead in %s: nothing of any validation tile passes their ReLU; a "
            "lower train.learning_rate.peak%s keeps them alive",
            ", ".join(layers),
            " or the activation leaky_relu" if network.name == "subpixel" else "",
        )
    return dead


def _ended_by(
    history: pd.DataFrame,
    epochs: int,
    before: str | None,
    callbacks: list[keras.callbacks.Callback],
) -> str:
    """What ended a training, now or, as its state says, `before`."""
    if before == DIVERGENCE or not np.isfinite(history["train_loss"].iloc[-1]):
        return DIVERGENCE
    if len(history) >= epochs:
        return ITS_EPOCHS
    if before is None and is_time_over(callbacks) and not has_stopped_early(callbacks):
        return TIME_LIMIT
    return before or EARLY_STOPPING


def training_model(network: keras.Model, scales: list[int]) -> keras.Model:
    """The model that is fitted: an input and an output for each scale, one shared trunk.

    A step thus sees pictures of every scale, each at its own size.
    """
    inputs = {f"lr_x{scale}": keras.Input((None, None, 3), name=f"lr_x{scale}") for scale in scales}
    # Losses and metrics are found by the names of the layers that make the outputs.
    outputs = {
        f"sr_x{scale}": keras.layers.Identity(name=f"sr_x{scale}", dtype="float32")(
            at_scale(network, scale)(inputs[f"lr_x{scale}"])
        )
        for scale in scales
    }
    return keras.Model(inputs, outputs, name=f"{network.name}_training")


class ValidationTiles(keras.utils.PyDataset):
    """Validation tiles of each scale, spread evenly over the pictures, never changing.

    Scales may have different numbers of tiles; all get as many as the scale with the fewest, so
    that they stand in common batches.

    Args:
        tiles: the tile index; rows of split `val` are taken.
        pictures: the store that it points into.
        most: at most this many tiles of each scale; None for all.
        batch_size: tiles of each scale in a batch.
        make_reader: of what reads the tiles of a scale.
    """

    def __init__(
        self,
        tiles: pd.DataFrame,
        pictures: PictureStore,
        most: int | None,
        batch_size: int,
        make_reader: MakeReader = TileReader,
    ) -> None:
        super().__init__()
        self._readers = readers_by_scale(tiles[tiles["split"] == "val"], pictures, make_reader)
        fewest = min(len(reader) for reader in self._readers.values())
        self.count = min(fewest, most or fewest)
        self.batch_size = batch_size
        self._rows = {
            scale: np.linspace(0, len(reader) - 1, self.count).round().astype(np.int64)
            for scale, reader in self._readers.items()
        }

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        part = slice(number * self.batch_size, (number + 1) * self.batch_size)
        return make_batch(self._readers, {scale: rows[part] for scale, rows in self._rows.items()})


def cuts_on_device(pictures: PictureStore, parameters: TrainParameters) -> bool:
    """Whether the device cuts the tiles: see `TrainParameters.feed`."""
    pixels = len(pictures.pixels)
    if parameters.feed == "auto":  # TensorFlow takes batches from the processor's memory alone
        suits = has_gpu() and keras.backend.backend() != "tensorflow"
        return suits and 3 * pixels < BYTES_UNASKED
    if parameters.feed == "host":
        return False
    if pixels >= PIXEL_LIMIT:
        raise ProjectError(
            f"train.feed 'device' takes fewer than {PIXEL_LIMIT / 1e9:.1f} billion pixels, and the "
            f"picture store has {pixels / 1e9:.1f}: set train.feed to 'host'"
        )
    return True


def _check_shapes(tiles: pd.DataFrame, parameters: TrainParameters) -> None:
    # With one tile a batch Keras would still expect all of them to be like the first ones.
    sizes = tiles.groupby("enlargement")[["lr_height", "lr_width"]]
    if sizes.nunique().to_numpy().max() > 1:
        raise ProjectError(
            "whole pictures of several sizes cannot be trained on: set tile.size or pair.resize"
        )
    if parameters.augment and (tiles["lr_height"] != tiles["lr_width"]).any():
        raise ProjectError("train.augment transposes tiles, which must be square: set tile.size")


def build_for_training(
    parameters: TrainParameters,
    scales: list[int],
    precision: str,
    initial: keras.Model | None = None,
) -> keras.Model:
    """The network that `parameters` name, with fresh weights.

    Args:
        parameters: of the training.
        scales: of the network's outputs.
        precision: what it computes in: a Keras dtype policy.
        initial: what it will be warm-started from, whose activation it then has (see
            `SubpixelSizes`).

    Raises:
        ProjectError: when it is not made for these scales, gives something else than their
            pictures, or could not enlarge in parts.
    """
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        network = build_network(parameters.network.name, scales, **_sizes(parameters, initial))
        check_network(network, scales)  # before hours are spent
        return network
    except ValueError as error:
        raise ProjectError(f"train.network: {error}") from None
    finally:
        keras.config.set_dtype_policy(former)


def _sizes(parameters: TrainParameters, initial: keras.Model | None) -> dict[str, Any]:
    sizes = parameters.network.sizes
    if sizes.get("activation") == "auto":
        inherited = None if initial is None else activation_of(initial)
        if inherited is None:
            del sizes["activation"]  # the network knows its own
        else:
            sizes["activation"] = inherited
    return sizes


def _warm_start(network: keras.Model, initial: keras.Model) -> None:
    try:
        taken = warm_start(network, initial)
    except ValueError as error:
        raise ProjectError(f"the initial network does not fit train.network: {error}") from None
    own = sum(bool(layer.weights) for layer in network.layers)
    logger.info("Warm start: %d of %d layers from '%s'", len(taken), own, initial.name)


def compile_for_training(model: keras.Model, parameters: TrainParameters, steps: int) -> None:
    """Give a model the optimiser, losses and metrics that `parameters` ask for.

    Args:
        model: see `training_model`.
        parameters: of the training.
        steps: of an epoch.
    """
    # Keras asks for the rate, and averages the weights, with every batch, not with every update.
    accumulate = parameters.accumulate_steps
    average = parameters.average
    optimizer = make_optimizer(
        parameters.optimizer,
        _learning_rate(parameters.learning_rate, parameters.epochs * steps, accumulate),
        None if average is None else average ** (1 / accumulate),
        accumulate,
    )
    outputs = list(model.output_names)
    model.compile(
        optimizer,
        loss=dict.fromkeys(outputs, choose_loss(parameters.loss, parameters.fourier_weight)),
        loss_weights={name: 1 / len(outputs) for name in outputs},
        metrics={name: [METRICS[metric] for metric in parameters.metrics] for name in outputs},
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    optimizer.build(model.trainable_variables)


def _learning_rate(parameters: LearningRateParameters, steps: int, accumulate: int) -> Any:
    """The rate by the number of batches; warm-up is given in updates of `accumulate` batches."""
    if parameters.schedule == "constant" and parameters.warmup_steps == 0:
        return parameters.peak
    final = parameters.final_fraction if parameters.schedule == "cosine" else 1.0
    warmup = min(parameters.warmup_steps * accumulate, steps // 2)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=parameters.peak / (warmup or 1),
        decay_steps=steps - warmup,
        alpha=final,
        warmup_target=parameters.peak if warmup else None,
        warmup_steps=warmup,
    )


def _chosen_callbacks(
    parameters: TrainParameters, recorder: Recorder
) -> list[keras.callbacks.Callback]:
    chosen = parameters.callbacks
    callbacks: list[keras.callbacks.Callback] = []
    if parameters.average is not None:
        # First, so that the callbacks after it see the averaged weights in the model.
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    if chosen.reduce_learning_rate is not None:
        reduce = chosen.reduce_learning_rate
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=reduce.monitor,
                patience=reduce.patience,
                factor=reduce.factor,
                min_lr=reduce.minimum,
            )
        )
    if chosen.early_stopping is not None:
        stopping = chosen.early_stopping
        callbacks.append(
            keras.callbacks.EarlyStopping(monitor=stopping.monitor, patience=stopping.patience)
        )
    if parameters.maximum_minutes is not None:
        callbacks.append(TimeLimit(parameters.maximum_minutes, recorder))
    return callbacks


def _resume(
    model: keras.Model, checkpoints: Checkpoints, saver: SaveState, minutes: float | None
) -> tuple[int, str | None]:
    """Restore an interrupted training; how many epochs are done, and what ended it, if that did.

    The minutes that it may take are over by what this run allows.
    """
    state = checkpoints.restore(model)
    if state is None:
        return 0, None
    saver.restore(state)
    done = int(state["epochs"])
    logger.info("Resuming the interrupted training after epoch %d", done)
    is_over = minutes is not None and minutes_spent(state["rows"]) > minutes
    ended = EARLY_STOPPING if state["ended"] is True else state["ended"]  # as it was once written
    return done, ended or (TIME_LIMIT if is_over else None)


def _work_digest(
    tiles: pd.DataFrame,
    pictures: PictureStore,
    parameters: TrainParameters,
    precision: str,
    initial: keras.Model | None,
    network: keras.Model,
) -> str:
    settings = parameters.model_dump(exclude=set(WITHOUT_EFFECT))
    arithmetic = [keras.backend.backend(), precision]
    return digest(
        pictures.digest,
        digest_tiles(tiles),
        settings,
        arithmetic,
        digest_weights(initial),
        digest_layers(network),
    )


def digest_layers(network: keras.Model) -> str:
    """Tells networks of other layers apart, without the numbers that Keras counts them by."""
    return re.sub(r'_\d+"', '"', network.to_json())


def digest_weights(network: keras.Model | None) -> str:
    """Tells networks of other weights apart; empty without one."""
    found = hashlib.sha256()
    for weights in [] if network is None else network.get_weights():
        found.update(np.ascontiguousarray(weights, np.float32).tobytes())
    return "" if network is None else found.hexdigest()
