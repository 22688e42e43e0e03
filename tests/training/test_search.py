"""The search's logic, with a made-up training whose PSNR is known."""

from types import SimpleNamespace

import pandas as pd
import pytest
from pydantic import ValidationError

from isr_pipeline.errors import DivergedError, ProjectError
from isr_pipeline.training.search import StudyFile, run_search, trials_table
from isr_pipeline.training.search_space import check_space, common_values, trial_parameters
from pipelines.conftest import train_parameters, tune_parameters

SPACE = {
    "learning_rate.peak": {"low": 1e-4, "high": 1e-2, "log": True},
    "batch_size": {"choices": [2, 4, 8]},
    "network.autoencoder.features": {"low": 8, "high": 32, "step": 8},
}


class KilledError(BaseException):
    """What ends a process is no `Exception`."""


class World:
    """A study in a file, a training of fake epochs, and what became of each trial."""

    def __init__(self, path, psnr=lambda p: 30 - abs(p.learning_rate.peak - 0.003) * 1000):
        self.file = StudyFile(path / "study.db")
        self.psnr = psnr
        self.kill_at = None
        self.raise_at = {}
        self.done = {}  # epochs saved by trial
        self.trained = []
        self.discarded = []

    def fit(self, number, parameters, on_epoch):
        if number in self.raise_at:
            raise self.raise_at.pop(number)
        rows = []
        saved = self.done.get(number, 0)
        for epoch in range(1, parameters.epochs + 1):
            if (number, epoch) == self.kill_at:
                self.kill_at = None
                raise KilledError
            level = self.psnr(parameters) + epoch / 100
            figures = {"val_psnr_x2": level + 1, "val_psnr_x4": level - 1, "seconds": 2.0}
            if epoch > saved:
                self.trained.append((number, epoch))
            on_epoch(epoch, figures)
            self.done[number] = epoch
            rows.append({"epoch": epoch, **figures})
        return pd.DataFrame(rows), parameters.epochs

    def run(self, train=None, digest="a" * 64, **changes):
        tune = tune_parameters(**{"space": SPACE, "epochs": 3, "trials": 6, **changes})
        study = self.file.open(digest)
        run_search(study, train or train_parameters(), tune, self.fit, self.discarded.append)
        return trials_table(study)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_the_present_parameters_are_the_first_trial_and_the_rest_are_drawn(world):
    trials = world.run(pruner="none")
    assert trials["state"].tolist() == ["complete"] * 6
    assert trials.loc[0, list(SPACE)].tolist() == [0.001, 2, 8]
    assert trials["learning_rate.peak"].nunique() == 6
    assert trials["learning_rate.peak"].between(1e-4, 1e-2).all()
    assert trials["val_psnr"].max() > trials.loc[0, "val_psnr"]
    assert trials.loc[0, "val_psnr"] == pytest.approx(28.03)
    assert trials["seconds"].tolist() == [6.0] * 6
    assert world.discarded == list(range(6))


def test_present_parameters_outside_the_space_are_no_trial(world):
    trials = world.run(train=train_parameters(batch_size=3), trials=2)
    assert 3 not in trials["batch_size"].tolist()


def test_a_killed_search_goes_on_in_its_trial_and_draws_what_it_would_have_drawn(tmp_path):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, cut = World(tmp_path / "whole"), World(tmp_path / "cut")
    expected = whole.run(pruner="none")
    cut.kill_at = (2, 3)
    with pytest.raises(KilledError):
        cut.run(pruner="none")
    assert cut.discarded == [0, 1]
    cut.file = StudyFile(cut.file.path)
    trials = cut.run(pruner="none")
    pd.testing.assert_frame_equal(trials, expected)
    assert cut.trained == whole.trained
    assert cut.trained.count((2, 1)) == 1
    assert cut.run(pruner="none").equals(trials)  # nothing is left to do
    assert len(cut.run(pruner="none", trials=7)) == 7


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_trials_that_lag_behind_are_ended_early(world, pruner):
    trials = world.run(pruner=pruner, trials=12, epochs=5, startup_trials=2, warmup_epochs=2)
    pruned = trials[trials["state"] == "pruned"]
    complete = trials[trials["state"] == "complete"]
    assert len(pruned) + len(complete) == 12
    assert len(pruned) > 0
    assert pruned["epochs"].between(2, 4).all()
    assert (complete["epochs"] == 5).all()
    assert pruned["val_psnr"].mean() < complete["val_psnr"].mean()
    assert world.discarded == list(range(12))


def test_none_prunes_nothing(world):
    assert (world.run(pruner="none", trials=12)["state"] == "complete").all()


def test_diverged_trials_and_values_that_do_not_go_together_count_as_pruned(world):
    world.raise_at = {1: DivergedError("the training diverged")}
    space = {
        "learning_rate.peak": SPACE["learning_rate.peak"],
        "learning_rate.schedule": {"choices": ["cosine", "constant"]},
    }
    train = train_parameters(
        learning_rate__schedule="constant",
        learning_rate__warmup_steps=0,
        callbacks__reduce_learning_rate={
            "monitor": "val_loss",
            "patience": 1,
            "factor": 0.5,
            "minimum": 0.0,
        },
    )
    trials = world.run(train=train, space=space, trials=10, pruner="none")
    assert trials.loc[1, "state"] == "pruned"
    by_schedule = trials.drop(index=1).groupby("learning_rate.schedule")["state"].unique()
    assert by_schedule.map(list).to_dict() == {"constant": ["complete"], "cosine": ["pruned"]}


def test_a_training_that_fails_ends_the_run_and_is_not_counted(world):
    world.raise_at = {1: MemoryError("no room")}
    with pytest.raises(MemoryError):
        world.run(pruner="none")
    assert world.discarded == [0, 1]
    trials = world.run(pruner="none")
    assert trials["state"].tolist() == ["complete", "fail"] + ["complete"] * 5


def test_present_parameters_whose_trial_failed_are_tried_again(world):
    world.raise_at = {0: OSError("no space")}
    with pytest.raises(OSError, match="no space"):
        world.run(pruner="none")
    trials = world.run(pruner="none")
    assert trials["state"].tolist() == ["fail"] + ["complete"] * 6
    assert trials.loc[1, list(SPACE)].tolist() == [0.001, 2, 8]


def test_a_trial_that_ends_its_process_again_and_again_is_given_up(world, caplog):
    class Deadly(World):
        def fit(self, number, parameters, on_epoch):
            if number == 1:
                self.kill_at = (1, 2)
            return super().fit(number, parameters, on_epoch)

    world.__class__ = Deadly
    for _ in range(3):
        with pytest.raises(KilledError):
            world.run(pruner="none", trials=3)
    assert world.discarded == [0]
    trials = world.run(pruner="none", trials=3)
    assert trials["state"].tolist() == ["complete", "fail", "complete", "complete"]
    assert "Trial 1 is given up: 3 times its process ended in epoch 2" in caplog.text
    assert world.discarded == [0, 1, 2, 3]


def test_a_trial_that_a_person_interrupts_is_not_given_up(world):
    fit = world.fit

    def impatient(number, parameters, on_epoch):
        if number == 1:
            raise KeyboardInterrupt
        return fit(number, parameters, on_epoch)

    world.fit = impatient
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            world.run(pruner="none", trials=3)
    world.fit = fit
    assert world.run(pruner="none", trials=3)["state"].tolist() == ["complete"] * 3


def test_a_time_limit_begins_no_further_trial_and_the_next_run_goes_on(world, caplog):
    with caplog.at_level("INFO", logger="isr_pipeline"):
        assert len(world.run(minutes=1e-9)) == 0
    assert "over after 0 of 6 trials" in caplog.text
    assert len(world.run()) == 6


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_another_search_begins_beside_the_former_and_says_so(world, caplog):
    first = world.run(trials=3)
    assert not warnings(caplog)
    other = world.run(trials=2, digest="b" * 64)
    assert len(other) == 2
    assert len(warnings(caplog)) == 1
    assert "had another space" in warnings(caplog)[0]
    assert world.file.latest().equals(other)
    assert world.run(trials=3).equals(first)


def test_a_file_that_is_no_study_is_refused(tmp_path):
    (tmp_path / "study.db").write_text("this is no database, and long enough to be seen as none")
    with pytest.raises(ProjectError, match=r"study.db is not a study of this Optuna"):
        StudyFile(tmp_path / "study.db").open("a" * 64)


def test_without_a_file_there_are_no_trials_and_none_is_made(tmp_path):
    assert StudyFile(tmp_path / "study.db").latest().empty
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "varies nothing"),
        ({"batch_size": None}, "varies nothing"),
        ({"batchsize": {"choices": [2]}}, "'batchsize' is no value of train now; is it batch_size"),
        (
            {"learning_rate": {"choices": [2]}},
            "'learning_rate' is no value of train now; is it learning_rate.peak or",
        ),
        ({"epochs": {"choices": [2, 4]}}, "'epochs' must be the same in every trial"),
        ({"loss": {"choices": ["charbonnier", "hinge"]}}, r"train.loss cannot be 'hinge'"),
        ({"batch_size": {"low": 0, "high": 4, "step": 1}}, "train.batch_size cannot be 0"),
        ({"batch_size": {"low": 1, "high": 4, "log": True}}, "train.batch_size cannot be 1.0"),
        ({"average": {"choices": [None, 1.5]}}, "train.average cannot be 1.5"),
        (
            {"network.subpixel.size": {"choices": ["tiny", "small"]}},
            "'network.subpixel.size' changes nothing: train.network.name is autoencoder",
        ),
    ],
)
def test_a_space_that_no_training_would_accept_is_refused(space, message):
    with pytest.raises(ProjectError, match=message):
        check_space(tune_parameters(space=space), train_parameters())


def test_what_is_no_dimension_says_what_one_needs():
    for space in ({"learning_rat": {"peak": {"high": 0.01}}}, {"loss": "charbonnier"}):
        with pytest.raises(
            ValidationError, match=r"'(learning_rat\.peak|loss)' needs low, high and"
        ):
            tune_parameters(space=space)


def test_the_command_lines_groups_are_dotted_keys():
    space = {
        "learning_rate.peak": {"low": 1e-4, "high": 1e-3, "log": True},
        "loss": {"choices": ["charbonnier"]},
        # what the command line adds
        "learning_rate": {"peak": {"high": 1e-2}, "warmup_steps": {"choices": "0 10"}},
        "batch_size": None,
    }
    dimensions = tune_parameters(space=space).dimensions
    assert set(dimensions) == {"learning_rate.peak", "learning_rate.warmup_steps", "loss"}
    assert dimensions["learning_rate.peak"].ends == [1e-4, 1e-2]
    assert dimensions["learning_rate.warmup_steps"].choices == [0, 10]
    nothing = tune_parameters(space={**space, "learning_rate": {"peak": None}})
    assert set(nothing.dimensions) == {"loss"}


@pytest.mark.parametrize(
    "values",
    [
        {"low": 2, "high": 1, "step": 1},
        {"low": 1, "high": 4, "step": 2},
        {"low": 0.0, "high": 1.0, "log": True},
        {"low": 1.0, "high": 2.0},
        {"choices": []},
        {"choices": [1], "low": 2},
        [1, 2],
    ],
)
def test_malformed_dimensions_are_refused(values):
    with pytest.raises(ValidationError):
        tune_parameters(space={"batch_size": values})


def test_trials_share_what_the_search_sets():
    train = train_parameters(metrics=["accuracy"], maximum_minutes=1.0, resume=False)
    tune = tune_parameters(space=SPACE, epochs=7)
    parameters = trial_parameters(train, tune, {"network.autoencoder.features": 24})
    assert parameters.network.autoencoder.features == 24
    assert (parameters.epochs, parameters.metrics) == (7, ["accuracy", "psnr"])
    assert (parameters.maximum_minutes, parameters.resume) == (None, True)


def test_only_what_all_trials_share_makes_another_search():
    tune = tune_parameters(space=SPACE)
    same = SimpleNamespace(a=train_parameters(), b=train_parameters(batch_size=4, epochs=9))
    assert common_values(same.a, tune) == common_values(same.b, tune)
    assert common_values(train_parameters(augment=False), tune) != common_values(same.a, tune)
    longer = tune_parameters(space=SPACE, epochs=50)
    assert common_values(same.a, longer) != common_values(same.a, tune)


def test_a_folder_may_be_named_like_an_address_with_a_question(tmp_path):
    folder = tmp_path / "photos?mode=ro#1 %20"
    folder.mkdir()
    StudyFile(folder / "study.db").open("a" * 64)
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert list(tmp_path.iterdir()) == [folder]
