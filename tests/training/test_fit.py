import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from isr_pipeline import storage
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import at_scale, build_network
from isr_pipeline.networks.subpixel import activation_of
from isr_pipeline.storage.atomic import replace_folder
from isr_pipeline.storage.pictures import (
    PictureStore,
    PictureStream,
    StoredPicture,
    write_pictures,
)
from isr_pipeline.training import callbacks, fit
from isr_pipeline.training.checkpoints import Checkpoints
from isr_pipeline.training.feed import TileFeed
from isr_pipeline.training.fit import ValidationTiles, fit_network, training_model
from isr_pipeline.training.losses import (
    charbonnier,
    choose_loss,
    fourier,
    luma_absolute_error,
    psnr,
)
from isr_pipeline.training.parameters import EARLY_STOPPING
from pipelines.conftest import train_parameters


def fitted(world, folder, on_epoch=None, initial=None, **changes):
    return fit_network(
        world.tiles,
        world.pictures,
        train_parameters(**changes),
        Checkpoints(folder),
        on_epoch,
        initial,
    )


def one_scale(world, scale):
    """The world as if it had one scale alone."""
    tiles = world.tiles[world.tiles["scale"] == scale].reset_index(drop=True)
    return SimpleNamespace(tiles=tiles, pictures=world.pictures)


def test_a_training_that_another_process_is_at_is_refused(world, tmp_path):
    first = fitted(one_scale(world, 2), tmp_path, epochs=1, steps_per_epoch=1)
    checkpoints = Checkpoints(tmp_path).of(first.facts["digest"])
    with checkpoints.claimed(), pytest.raises(ProjectError, match="is at this very training"):
        fitted(one_scale(world, 2), tmp_path, epochs=1, steps_per_epoch=1)
    assert checkpoints.best.is_file()


def weights_of(result):
    return np.concatenate([w.ravel() for w in result.network.get_weights()])


def test_training_lowers_the_loss_and_tells_each_epoch(world, tmp_path):
    told = []
    result = fitted(
        world,
        tmp_path,
        lambda epoch, figures: told.append((epoch, figures)),
        epochs=6,
        steps_per_epoch=25,
        learning_rate__peak=0.004,
        average=None,
    )
    history = result.history
    assert history["val_loss"].iloc[-1] < history["val_loss"].iloc[0]
    assert [epoch for epoch, _ in told] == list(range(1, 7))
    assert {"train_loss", "val_loss", "val_psnr_x2", "seconds", "learning_rate"} <= set(told[0][1])
    assert told == [(row.pop("epoch"), row) for row in history.to_dict("records")]
    assert result.facts["epochs"] == 6
    assert result.facts["best_epoch"] == history["val_loss"].idxmin() + 1


def test_the_network_that_is_left_is_the_best_epochs(world, tmp_path):
    result = fitted(world, tmp_path, epochs=3, average=None)
    batches = ValidationTiles(world.tiles, world.pictures, 4, 2)
    total = []
    for number in range(len(batches)):
        lr, hr = batches[number]
        total.append(
            [
                np.abs(
                    np.asarray(at_scale(result.network, s)(lr[f"lr_x{s}"])) - hr[f"sr_x{s}"]
                ).mean()
                for s in (2, 4, 6)
            ]
        )
    assert np.mean(total) == pytest.approx(result.history["val_loss"].min(), rel=1e-4)


@pytest.mark.parametrize("average", [None, 0.9])
def test_the_same_seed_gives_the_same_network_and_another_another(world, tmp_path, average):
    world = one_scale(world, 2)
    first = fitted(world, tmp_path / "a", average=average)
    again = fitted(world, tmp_path / "b", average=average)
    other = fitted(world, tmp_path / "c", average=average, seed=1)
    assert np.array_equal(weights_of(first), weights_of(again))
    assert not np.array_equal(weights_of(first), weights_of(other))


class InterruptionError(Exception):
    pass


def stop_in(last, error=InterruptionError):
    """For `fitted`: raise an error in an epoch of which the figures are known, and nothing kept."""

    def interrupt(epoch, figures):
        if epoch == last:
            raise error

    return interrupt


@pytest.mark.parametrize(
    "changes",
    [
        {"average": 0.9},
        {
            "average": None,
            "learning_rate__schedule": "constant",
            "learning_rate__warmup_steps": 0,
            "callbacks__reduce_learning_rate": {
                "monitor": "val_loss",
                "patience": 1,
                "factor": 0.5,
                "minimum": 1e-8,
            },
        },
        {"network__name": "report_autoencoder", "steps_per_epoch": 1},
    ],
    ids=["averaged, cosine", "reduced on a plateau", "dropout"],
)
def test_an_interrupted_training_ends_exactly_like_one_that_was_not(
    world, tmp_path, caplog, changes
):
    world = one_scale(world, 2)
    whole = fitted(world, tmp_path / "whole", epochs=5, **changes)

    with pytest.raises(InterruptionError):
        fitted(world, tmp_path / "cut", stop_in(3), epochs=5, **changes)
    with caplog.at_level("INFO", logger="isr_pipeline"):
        resumed = fitted(world, tmp_path / "cut", epochs=5, **changes)
    assert "Resuming the interrupted training after epoch 2" in caplog.text
    assert resumed.facts["resumed_after"] == 2
    assert resumed.history["epoch"].tolist() == [1, 2, 3, 4, 5]
    columns = [c for c in whole.history if c not in ("seconds", "cpu_seconds")]
    assert np.allclose(resumed.history[columns], whole.history[columns], rtol=1e-6)
    assert np.allclose(weights_of(resumed), weights_of(whole), atol=1e-7)


def test_other_parameters_do_not_resume(world, tmp_path, caplog):
    world = one_scale(world, 2)

    with pytest.raises(InterruptionError):
        fitted(world, tmp_path, stop_in(2), epochs=3)
    with caplog.at_level("INFO", logger="isr_pipeline"):
        result = fitted(world, tmp_path, epochs=4)
    assert "1 unfinished trainings in" in caplog.text
    assert "starting anew" in caplog.text
    assert result.facts["resumed_after"] == 0
    resumed = fitted(world, tmp_path, epochs=3)  # the interrupted one is still there
    assert resumed.facts["resumed_after"] == 1


def test_an_interruption_while_a_batch_is_waited_for_stays_what_it_is(world, tmp_path, monkeypatch):
    make = TileFeed.batch

    def slowly(self, number):
        time.sleep(0 if number < 4 else 3)
        return make(self, number)

    def interrupt(epoch, figures):
        if epoch == 2:
            time.sleep(0.5)  # TensorFlow asks for the next ones
            raise InterruptionError

    monkeypatch.setattr(TileFeed, "batch", slowly)
    with pytest.raises(InterruptionError):
        fitted(one_scale(world, 2), tmp_path, interrupt, epochs=3, steps_per_epoch=2)
    assert "tile feed" not in {thread.name for thread in threading.enumerate()}


def test_training_goes_on_after_kill_9(world, tmp_path):
    one_scale(world, 2).tiles.to_parquet(tmp_path / "tiles.parquet")
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, signal, sys
            sys.path.insert(0, {str(sys.path[0])!r})
            from pathlib import Path
            import pandas as pd
            from pipelines.conftest import train_parameters
            from isr_pipeline.storage.pictures import PictureStore
            from isr_pipeline.training.checkpoints import Checkpoints
            from isr_pipeline.training.fit import fit_network

            def kill(epoch, figures):
                if epoch == 2 and sys.argv[1] == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)

            result = fit_network(
                pd.read_parquet({str(tmp_path / "tiles.parquet")!r}),
                PictureStore(Path({str(world.pictures.folder)!r})),
                train_parameters(epochs=3),
                Checkpoints(Path({str(tmp_path / "checkpoints")!r})),
                kill,
            )
            print("resumed after", result.facts["resumed_after"], "of", len(result.history))
            """
        )
    )
    tests = str(next(p for p in sys.path if p.endswith("/tests")))
    script.write_text(script.read_text().replace(repr(str(sys.path[0])), repr(tests)))
    killed = subprocess.run([sys.executable, script, "kill"], capture_output=True)
    assert killed.returncode == -9
    finished = subprocess.run(
        [sys.executable, script, "go on"], capture_output=True, text=True, check=True
    )
    assert "resumed after 1 of 3" in finished.stdout


def test_a_training_killed_after_its_last_epoch_is_finished_not_repeated(world, tmp_path):
    whole = fitted(world, tmp_path, epochs=2)  # and nobody has forgotten its checkpoints
    told = []
    result = fitted(world, tmp_path, lambda epoch, figures: told.append(epoch), epochs=2)
    assert result.facts["resumed_after"] == 2
    assert told == [1, 2]
    assert np.array_equal(weights_of(result), weights_of(whole))


@pytest.mark.parametrize(
    "changes",
    [
        {"callbacks__early_stopping": {"monitor": "val_loss", "patience": 1}},
        {"maximum_minutes": 1e-6},
    ],
)
def test_a_training_that_was_stopped_is_over_until_its_time_limit_is_raised(
    world, tmp_path, changes
):
    world = one_scale(world, 2)
    once = fitted(world, tmp_path, epochs=30, average=None, **changes)
    assert once.facts["epochs"] < 30
    again = fitted(world, tmp_path, epochs=30, average=None, **changes)
    assert again.facts["resumed_after"] == again.facts["epochs"] == once.facts["epochs"]
    assert np.array_equal(weights_of(once), weights_of(again))
    if "maximum_minutes" in changes:
        longer = fitted(world, tmp_path, epochs=3, average=None, maximum_minutes=60)
        assert longer.facts["epochs"] == 3


def test_a_diverged_training_is_an_error_and_not_the_former_network(world, tmp_path):
    world = one_scale(world, 2)
    fitted(world, tmp_path)
    with pytest.raises(ProjectError, match="diverged"):
        fitted(world, tmp_path, learning_rate__peak=1e30, average=None)


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_training_that_diverges_later_ends_there_with_the_best_epoch(
    world, tmp_path, monkeypatch, caplog, average
):
    world = one_scale(world, 2)

    def exploding(parameters, steps, accumulate):
        return keras.optimizers.schedules.PiecewiseConstantDecay([8], [1e-3, 1e30])

    monkeypatch.setattr(fit, "_learning_rate", exploding)
    result = fitted(world, tmp_path, epochs=20, average=average)
    assert result.facts["epochs"] < 6
    assert result.facts["best_epoch"] <= 2
    assert np.isfinite(weights_of(result)).all()
    assert "The training diverged in epoch" in caplog.text
    assert result.facts["ended_by"] == "divergence"
    state = Checkpoints(tmp_path).of(result.facts["digest"]).load_state()
    assert state["epochs"] == result.facts["epochs"] - 1  # before it
    again = fitted(world, tmp_path, epochs=20, average=average)
    assert again.facts["epochs"] == state["epochs"]
    assert again.facts["ended_by"] == "divergence"
    assert np.array_equal(weights_of(again), weights_of(result))


def test_other_pictures_do_not_resume(world, tmp_path, caplog):
    world = one_scale(world, 2)

    with pytest.raises(InterruptionError):
        fitted(world, tmp_path, stop_in(2), epochs=3)
    write_pictures(
        tmp_path / "other",
        PictureStream(
            "other pictures at the same places",
            (StoredPicture(p, s, 255 - world.pictures.picture(p, s)) for p, s in world.pictures),
        ),
    )
    with caplog.at_level("INFO", logger="isr_pipeline"):
        fit_network(
            world.tiles,
            PictureStore(tmp_path / "other"),
            train_parameters(epochs=3),
            Checkpoints(tmp_path),
        )
    assert "starting anew" in caplog.text


def test_a_training_is_told_apart_by_tiles_their_order_weights_and_arithmetic(world, monkeypatch):
    def build(activation):
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation=activation)])

    network, negative = build("relu"), build("relu")
    negative.set_weights([-w for w in network.get_weights()])

    def digest(tiles=world.tiles, precision="float32", initial=None, trained=network):
        parameters = train_parameters()
        return fit._work_digest(tiles, world.pictures, parameters, precision, initial, trained)

    digests = {
        digest(),
        digest(world.tiles.iloc[::-1]),
        digest(world.tiles.iloc[1:]),
        digest(precision="mixed_bfloat16"),
        digest(initial=network),
        digest(initial=negative),
        digest(trained=build("gelu")),
    }
    assert digest(trained=build("relu")) in digests  # though Keras counts its layers on
    monkeypatch.setattr(storage.tiles, "ROWS_AT_A_TIME", 7)
    assert digest() in digests
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert len(digests | {digest()}) == 8


def test_whole_pictures_of_several_sizes_are_refused_before_training(world, tmp_path):
    tiles = world.tiles.copy()
    tiles.loc[tiles.index[0], "lr_height"] = 20
    for batch_size in (1, 2):
        parameters = train_parameters(batch_size=batch_size)
        with pytest.raises(ProjectError, match=r"of several sizes .* set tile\.size"):
            fit_network(tiles, world.pictures, parameters, Checkpoints(tmp_path))


def test_tiles_cut_on_the_device_train_the_same_network_and_resume(world, tmp_path, caplog):
    one = one_scale(world, 2)
    host = fitted(one, tmp_path / "host", feed="host")
    with caplog.at_level("INFO"):
        device = fitted(one, tmp_path / "device", feed="device")
    assert "tiles from the device" in caplog.text
    assert np.abs(weights_of(host) - weights_of(device)).max() < 1e-4
    assert np.allclose(host.history["val_loss"], device.history["val_loss"], rtol=1e-4)

    with pytest.raises(KeyboardInterrupt):
        fitted(one, tmp_path / "cut", stop_in(2, KeyboardInterrupt), feed="device")
    resumed = fitted(one, tmp_path / "cut", feed="host")  # where they are cut is not what is done
    assert resumed.facts["resumed_after"] == 1


@pytest.mark.parametrize(
    ("feed", "gpu", "backend", "cuts"),
    [
        ("auto", True, "jax", True),
        ("auto", True, "torch", True),
        ("auto", True, "tensorflow", False),
        ("auto", False, "jax", False),
        ("host", True, "jax", False),
        ("device", False, "tensorflow", True),
    ],
)
def test_who_cuts_the_tiles(world, monkeypatch, feed, gpu, backend, cuts):
    monkeypatch.setattr(fit, "has_gpu", lambda: gpu)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    parameters = train_parameters(feed=feed)
    assert fit.cuts_on_device(world.pictures, parameters) is cuts
    if feed == "auto":
        monkeypatch.setattr(fit, "BYTES_UNASKED", 1e3)
        assert not fit.cuts_on_device(world.pictures, parameters)
    if feed == "device":
        monkeypatch.setattr(fit, "PIXEL_LIMIT", 1000)
        with pytest.raises(ProjectError, match=r"train\.feed to 'host'"):
            fit.cuts_on_device(world.pictures, parameters)


def test_the_best_weights_are_of_the_epoch_that_the_state_names(world, tmp_path, monkeypatch):
    world = one_scale(world, 2)
    save = Checkpoints.save

    def die(checkpoints, model, state, best):
        if state["epochs"] == 3:
            assert best is not None  # the third epoch is the best
            with replace_folder(checkpoints.folder / "state") as partial:
                best.save_weights(partial / "best.weights.h5")
                raise InterruptionError
        save(checkpoints, model, state, best)

    with pytest.raises(InterruptionError):
        fitted(world, tmp_path / "before", stop_in(3), epochs=5)
    monkeypatch.setattr(Checkpoints, "save", die)
    with pytest.raises(InterruptionError):
        fitted(world, tmp_path / "within", epochs=5)
    before, within = (
        fitted(world, tmp_path / name, epochs=5, maximum_minutes=1e-6)
        for name in ("before", "within")
    )
    assert before.facts["best_epoch"] == within.facts["best_epoch"] == 2
    assert np.array_equal(weights_of(before), weights_of(within))


def test_a_training_killed_while_its_state_was_replaced_goes_on(world, tmp_path):
    world = one_scale(world, 2)

    with pytest.raises(InterruptionError):
        fitted(world, tmp_path, stop_in(3), epochs=4)
    (state,) = tmp_path.rglob("state")
    state.rename(storage.atomic._beside(state, "former", "state"))  # the new one was to follow
    assert fitted(world, tmp_path, epochs=4).facts["resumed_after"] == 2


def test_a_training_that_stopped_early_is_over_though_its_time_was_up_too(world, tmp_path):
    world = one_scale(world, 2)
    changes = {
        "epochs": 20,
        "average": None,
        "learning_rate__peak": 1e-12,
        "callbacks__early_stopping": {"monitor": "val_loss", "patience": 1},
    }
    alone = fitted(world, tmp_path / "alone", **changes)
    assert alone.facts["ended_by"] == EARLY_STOPPING

    def is_over(limit):
        return len(limit.recorder.rows) == alone.facts["epochs"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.TimeLimit, "is_over", property(is_over))
        both = fitted(world, tmp_path / "both", maximum_minutes=60, **changes)
    assert both.facts["ended_by"] == EARLY_STOPPING
    again = fitted(world, tmp_path / "both", **changes)
    assert again.facts["epochs"] == alone.facts["epochs"]


@pytest.mark.parametrize(
    ("resume", "words"), [(True, "goes on after epoch 1"), (False, "begins anew")]
)
def test_who_stops_a_training_is_told_what_the_same_command_does(
    world, tmp_path, caplog, resume, words
):
    with pytest.raises(KeyboardInterrupt), caplog.at_level("INFO", logger="isr_pipeline"):
        fitted(
            one_scale(world, 2), tmp_path, stop_in(2, KeyboardInterrupt), epochs=3, resume=resume
        )
    assert f"Training stops: the same command {words}" in caplog.text


def test_early_stopping_ends_a_training_that_does_not_improve(world, tmp_path):
    world = one_scale(world, 2)
    result = fitted(
        world,
        tmp_path,
        epochs=20,
        average=None,
        learning_rate__peak=1e-12,
        callbacks__early_stopping={"monitor": "val_loss", "patience": 2},
    )
    assert result.facts["epochs"] < 20


def test_a_time_limit_ends_after_the_epoch(world, tmp_path, caplog):
    world = one_scale(world, 2)
    with caplog.at_level("INFO", logger="isr_pipeline"):
        result = fitted(world, tmp_path, epochs=5, maximum_minutes=1e-6)
    assert result.facts["epochs"] == 1
    assert "The limit of 1e-06 minutes is over" in caplog.text


def test_mixed_precision_trains_and_leaves_a_float32_network(world, tmp_path):
    world = one_scale(world, 2)
    result = fitted(world, tmp_path, precision="mixed_bfloat16")
    assert result.facts["precision"] == "mixed_bfloat16"
    assert {w.dtype.name for w in result.network.get_weights()} == {"float32"}
    assert result.network.get_layer("skip").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_the_reports_network_trains_with_the_reports_settings(world, tmp_path):
    tiles = world.tiles.assign(enlargement=world.tiles["scale"])
    result = fit_network(
        tiles[tiles["scale"] == 2],
        world.pictures,
        train_parameters(
            network__name="report_autoencoder",
            loss="mean_squared_error",
            metrics=["accuracy"],
            average=None,
            steps_per_epoch=1,
            epochs=1,
            validation_tiles=2,
        ),
        Checkpoints(tmp_path),
    )
    assert result.network.count_params() == 1_110_403
    assert {"train_accuracy", "val_accuracy"} <= set(result.history)


def test_the_fitted_model_shares_the_networks_weights(world):
    from isr_pipeline.networks import build_network

    network = build_network(
        "autoencoder", [2, 4], features=4, bottleneck_features=4, blocks=0, bottleneck_blocks=0
    )
    model = training_model(network, [2, 4])
    assert model.count_params() == network.count_params()
    assert model.output_names == ["sr_x2", "sr_x4"]


def test_a_network_that_looks_at_the_whole_picture_is_refused_before_training(
    world, tmp_path, monkeypatch
):
    def with_attention(name, scales, **sizes):
        lr = keras.Input((None, None, 3), name="lr")
        mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(lr)
        large = keras.layers.UpSampling2D(2)(lr * mean)
        return keras.Model(lr, {"sr_x2": keras.layers.Conv2D(3, 1, name="sr_x2")(large)})

    monkeypatch.setattr(fit, "build_network", with_attention)
    with pytest.raises(ProjectError, match=r"train.network: layer 'squeeze' .* whole picture"):
        fitted(one_scale(world, 2), tmp_path)


SUBPIXEL = {"network__name": "subpixel", "network__subpixel__size": "tiny", "optimizer": "muon"}


def test_a_branched_network_comes_out_folded_and_as_it_was_validated(world, tmp_path):
    one = one_scale(world, 2)
    result = fitted(one, tmp_path, epochs=3, steps_per_epoch=20, **SUBPIXEL)
    assert result.network.count_params() == 20_748
    losses = result.history["val_loss"]
    assert losses.nunique() == 3
    batches = ValidationTiles(one.tiles, one.pictures, 4, 2)
    errors = []
    for number in range(len(batches)):
        lr, hr = batches[number]
        sr = np.asarray(at_scale(result.network, 2)(lr["lr_x2"]))
        errors.append(np.abs(sr - hr["sr_x2"]).mean())
    assert np.mean(errors) == pytest.approx(losses.min(), rel=1e-4)


def test_a_warm_start_begins_where_the_other_network_ended(world, tmp_path):
    trained = fitted(one_scale(world, 2), tmp_path / "x2", steps_per_epoch=30, **SUBPIXEL)
    common = {"epochs": 1, "steps_per_epoch": 1, "learning_rate__peak": 1e-9, "average": None}
    warm = fitted(
        one_scale(world, 2), tmp_path / "again", None, trained.network, **SUBPIXEL, **common
    )
    assert warm.history["val_loss"][0] == pytest.approx(trained.history["val_loss"].min(), rel=1e-4)
    other_scale = fitted(
        one_scale(world, 4), tmp_path / "x4", None, trained.network, **SUBPIXEL, **common
    )
    first = [n.get_layer("first").get_weights()[0] for n in (trained.network, other_scale.network)]
    assert np.allclose(*first, atol=1e-6)


def test_an_initial_network_gives_its_activation_unless_another_is_asked_for(world, tmp_path):
    initial = build_network("subpixel", [2], size="tiny", branches=False, activation="leaky_relu")
    made = {}
    for asked in ("auto", "relu"):
        changes = {**SUBPIXEL, "network__subpixel__activation": asked}
        result = fitted(
            one_scale(world, 2), tmp_path, None, initial, epochs=1, steps_per_epoch=1, **changes
        )
        made[asked] = activation_of(result.network)
    assert made == {"auto": "leaky_relu", "relu": "relu"}
    anew = fitted(one_scale(world, 2), tmp_path, epochs=1, steps_per_epoch=1, **SUBPIXEL)
    assert activation_of(anew.network) == "relu"


def test_a_training_says_what_has_died(world, tmp_path, caplog):
    initial = build_network("subpixel", [2], size="tiny", branches=False, activation="relu")
    for name, units in (("block2_a", 16), ("block3_a", 5)):
        kernel, bias = initial.get_layer(name).get_weights()
        bias[:units] = -1e3
        initial.get_layer(name).set_weights([kernel, bias])
    result = fitted(
        one_scale(world, 2), tmp_path, None, initial, epochs=1, steps_per_epoch=1, **SUBPIXEL
    )
    assert result.facts["dead_units"] == 21
    (warning,) = [record.getMessage() for record in caplog.records if "are dead" in record.msg]
    assert "dead in block2_a (16 of 16):" in warning
    assert "leaky_relu" in warning


def test_an_initial_network_that_does_not_fit_is_refused(world, tmp_path):
    trained = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    with pytest.raises(ProjectError, match="initial network does not fit"):
        fitted(one_scale(world, 2), tmp_path, None, trained, **SUBPIXEL)


def test_subpixel_asks_for_one_scale(world, tmp_path):
    with pytest.raises(ProjectError, match="one scale"):
        fitted(world, tmp_path, **SUBPIXEL)


@pytest.mark.parametrize(
    "changes", [{"fourier_weight": 0.1}, {"accumulate_steps": 2, "batch_size": 1}]
)
def test_options_of_the_recipe_train(world, tmp_path, changes):
    result = fitted(
        world, tmp_path, **{"epochs": 3, "steps_per_epoch": 24, "average": None, **changes}
    )
    losses = result.history["val_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_the_fourier_loss_by_hand():
    hr = np.zeros((2, 6, 8, 3), np.float32)
    sr = np.random.default_rng(0).normal(0, 0.1, hr.shape).astype(np.float32)
    spectrum = np.abs(np.fft.fft2(sr, axes=(1, 2), norm="ortho"))
    assert float(fourier(hr, sr)) == pytest.approx(spectrum.mean(), rel=1e-5)
    loss = choose_loss("mean_absolute_error", 0.5)
    expected = np.abs(sr).mean() + 0.5 * spectrum.mean()
    assert float(loss(hr, sr)) == pytest.approx(expected, rel=1e-5)
    assert choose_loss("mean_absolute_error", 0.0) == "mean_absolute_error"


def test_losses_by_hand():
    hr, sr = np.zeros((1, 2, 2, 3), np.float32), np.full((1, 2, 2, 3), 0.1, np.float32)
    assert np.allclose(psnr(hr, sr), 20.0, atol=1e-4)
    assert np.allclose(charbonnier(hr, sr), np.sqrt(0.01 + 1e-6))
    blue = sr * np.array([0, 0, 1], np.float32)
    assert np.allclose(luma_absolute_error(hr, sr), 0.1)  # of grey, as the mean absolute error
    assert np.allclose(luma_absolute_error(hr, blue), 0.9 * 0.0114 + 0.1 * 0.1 / 3)
    assert float(psnr(hr, hr)[0]) == pytest.approx(100.0, abs=1e-3)
    assert np.allclose(psnr(hr + 1, sr + 5), 100.0, atol=1e-3)  # clipped to white


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": "ten"}, "epochs"),
        ({"learning_rate__peak": -1.0}, "learning_rate.peak"),
        ({"loss": "mse"}, "loss"),
        ({"epcohs": 3}, "epcohs"),
        ({"network__name": "gan"}, "network.name"),
        ({"callbacks__early_stopping": {"monitor": "val_lss", "patience": 3}}, "monitor"),
        (
            {
                "callbacks__reduce_learning_rate": {
                    "monitor": "val_loss",
                    "patience": 1,
                    "factor": 0.5,
                    "minimum": 0.0,
                }
            },
            "two policies",
        ),
    ],
)
def test_wrong_parameters_are_named(changes, message):
    with pytest.raises(ValueError, match=r"validation error") as caught:
        train_parameters(**changes)
    assert message in str(caught.value)


def test_the_learning_rate_falls_until_the_last_batch_whatever_is_accumulated(world, tmp_path):
    world = one_scale(world, 2)
    changes = {"epochs": 4, "learning_rate__warmup_steps": 0}
    at_once = fitted(world, tmp_path / "1", accumulate_steps=1, **changes)
    accumulated = fitted(world, tmp_path / "2", accumulate_steps=2, **changes)
    rates = at_once.history["learning_rate"]
    assert rates.is_monotonic_decreasing
    assert np.allclose(accumulated.history["learning_rate"], rates, rtol=0.05)


def test_a_time_limit_may_be_set_when_a_training_goes_on(world, tmp_path):
    world = one_scale(world, 2)

    with pytest.raises(InterruptionError):
        fitted(world, tmp_path, stop_in(2), epochs=3)
    assert fitted(world, tmp_path, epochs=3, maximum_minutes=60).facts["resumed_after"] == 1
