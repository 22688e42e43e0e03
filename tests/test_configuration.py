import errno
import inspect
from contextlib import nullcontext

import pytest
from kedro.framework.project import configure_project, pipelines
from kedro.framework.session import KedroSession
from kedro.io import DataCatalog, DatasetError
from kedro.utils import load_obj
from pydantic import ValidationError

from conftest import PROJECT
from isr_pipeline import messages
from isr_pipeline.before_run import PARTS_OF_PIPELINES, check_that_settings_are_read
from isr_pipeline.configuration import ConfigLoader
from isr_pipeline.datasets.tables import JSONDataset, ParquetDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.messages import (
    one_line_for_people,
    remember_options,
    with_options,
    wrong_parameters,
)
from isr_pipeline.parameters import listed
from isr_pipeline.pipeline_registry import register_pipelines
from isr_pipeline.pipelines.pair.parameters import SplitParameters
from isr_pipeline.pipelines.train.pipeline import create_pipeline
from isr_pipeline.training.parameters import LearningRateParameters
from pipelines.conftest import pair_parameters, train_parameters


def loader(environment=None, **parameters):
    return ConfigLoader(
        str(PROJECT / "conf"),
        env=environment,
        runtime_params=parameters,
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft", "catalog": "soft"},
        custom_resolvers={"project_root": str, "tracking_uri": str, "artifact_location": str},
    )


def test_an_installed_package_records_where_it_is_run(tmp_path, monkeypatch):
    from isr_pipeline import settings

    monkeypatch.chdir(tmp_path)
    assert settings._project_root() == PROJECT.as_posix()  # this source tree
    monkeypatch.setattr(settings, "PROJECT_ROOT", tmp_path / "lib/python3.11")
    assert settings._project_root() == tmp_path.as_posix()
    monkeypatch.chdir(PROJECT / "conf")
    assert settings._project_root() == PROJECT.as_posix()


def parameters_of_nodes():
    return set(loader("base")["parameters"])


@pytest.mark.parametrize(
    ("environment", "parameters", "message"),
    [
        ("base", {"photos": "/tmp"}, "'photos' is read with --env=photos or --env=weights alone"),
        ("test", {"recipe": "x"}, "'recipe' is read with --env=weights alone"),
        ("photos", {"unsplash": "/tmp"}, "'unsplash' is read with --env=unsplash or --env=report"),
        ("test", {"epochs": 3}, r"unknown parameter 'epochs': is it .*train\.epochs.*\?"),
        ("test", {"peak": 3}, r"unknown parameter 'peak': is it train\.learning_rate\.peak\?"),
        ("test", {"fotos": 3}, r"unknown parameter 'fotos': is it photos\?"),
        ("test", {"xyz": 3}, "unknown parameter 'xyz': there are benchmark, .* photos"),
    ],
)
def test_what_nothing_reads_is_refused(environment, parameters, message):
    nodes = parameters_of_nodes()
    with pytest.raises(ProjectError, match=message):
        loader(environment, **parameters).check_parameters(nodes)


@pytest.mark.parametrize(
    ("environment", "parameters"),
    [
        ("base", {"initial_network": "subpixel-small_bicubic_x2", "train": {"epochs": 3}}),
        ("photos", {"photos": "/tmp"}),
        ("report", {"unsplash": "/tmp"}),
        ("weights", {"photos": "/tmp", "recipe": "tiny_x2_bicubic", "weights_folder": "/tmp"}),
    ],
)
def test_what_the_environments_files_read_is_a_parameter(environment, parameters):
    nodes = parameters_of_nodes()
    loader(environment, **parameters).check_parameters(nodes)


def test_another_start_than_the_recipes_can_be_named():
    given = loader("weights", recipe="tiny_x2_bicubic", initial_network="mine.keras")
    assert given["catalog"]["initial_network"]["source"] == "mine.keras"
    recipes = loader("weights", recipe="small_x3_bicubic")["catalog"]["initial_network"]["source"]
    assert recipes == "subpixel-small_bicubic_x2"
    assert loader("weights", recipe="tiny_x2_bicubic")["catalog"]["initial_network"] == {
        "type": "isr_pipeline.datasets.models.InitialNetworkDataset",
        "source": None,
        "metadata": {"kedro-viz": {"layer": "models"}},
    }


def test_parameters_of_groups_are_read_too(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "catalog.yml").write_text("a: {type: '${runtime_params:mine.kind}'}")
    own = ConfigLoader(
        str(tmp_path),
        base_env="base",
        default_run_env="base",
        runtime_params={"mine": {"kind": "text.TextDataset"}},
    )
    assert own["catalog"] == {"a": {"type": "text.TextDataset"}}
    assert own.read == {"mine"}


@pytest.mark.parametrize(
    ("given", "pipeline", "words"),
    [
        (
            {"train": {"network": {"subpixel": {"size": "medium"}}}},
            "train",
            "subpixel.size changes",
        ),
        ({"initial_network": "mine.keras"}, "tile", r"this run: .* --pipelines \(train, tune\)"),
        ({"pair": {"scales": 2}}, "tile", r"'pair.scales' changes nothing .* \(pair\)"),
        ({"train": {"network": {"autoencoder": {"features": 8}}}}, "train", ""),
        ({"train": {"network": {"name": "subpixel", "subpixel": {"size": "tiny"}}}}, "train", ""),
        ({"initial_network": "mine.keras"}, "train", ""),
    ],
)
def test_what_this_run_does_not_read_is_refused(given, pipeline, words):
    configure_project("isr_pipeline")
    own = loader("test", **given)
    own.check_parameters(parameters_of_nodes())  # reads the catalog
    refused = pytest.raises(ProjectError, match=words) if words else nullcontext()
    with refused:
        check_that_settings_are_read(own, pipelines[pipeline])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"parameters_x.yml": "train:\n\tepochs: 3"},
            r"/parameters_x\.yml line 2, column 1: found",
        ),
        ({"parameters_x.yml": "a: \a"}, r"/parameters_x\.yml: unacceptable character #x0007"),
        (
            {"parameters_x.yml": "a: 1\na: 2"},
            r"/parameters_x\.yml line 2, column 1: found dup.* a$",
        ),
        (
            {"parameters_x.yml": "train: {epochs: 3}", "parameters_y.yml": "train: {epochs: 4}"},
            r"Duplicate keys found in .*parameters_[xy]\.yml.*: train\.epochs: keep each in one",
        ),
    ],
)
def test_slips_in_configuration_files_name_the_file(files, words, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "local").mkdir()
    for name, text in files.items():
        (tmp_path / "local" / name).write_text(text)
    with pytest.raises(ProjectError, match=words):
        ConfigLoader(str(tmp_path), base_env="base", default_run_env="local")["parameters"]


def test_commands_in_errors_are_for_the_environment_of_the_run(capsys):
    def fail():
        raise ProjectError("old tiles: run kedro run --pipelines=tile,train first")

    for environment, given, options in (
        (None, {"train": {"epochs": 3}}, ""),
        ("photos", {}, " --env=photos --params=photos=<folder>"),
        ("photos", {"photos": "my own"}, " --env=photos '--params=photos=my own'"),
    ):
        remember_options({"env": environment}, loader(environment, **given))
        expected = f"Error: old tiles: run kedro run --pipelines=tile,train{options} first\n"
        assert one_line(capsys, fail) == expected
    remember_options({"env": "test"}, loader("test"))
    whole = "kedro run --pipelines=tile,train --params=a"
    assert with_options(whole) == whole
    remember_options({}, loader())


def one_line(capsys, function):
    try:
        function()
    except Exception as error:
        one_line_for_people(type(error), error, error.__traceback__)
    return capsys.readouterr().err


def test_wrong_names_are_one_line(capsys):
    def said(function):
        return one_line(capsys, function)

    assert said(lambda: loader("nosuch")).endswith(
        "there are base, local, photos, report, test, unsplash, weights\n"
    )
    assert "needs the parameter 'recipe'" in said(lambda: loader("weights")["parameters"])
    assert "photos=2024 is a number: write photos=./2024" in said(
        lambda: loader("photos", photos=2024)["catalog"]
    )
    assert "no recipes.nosuch: there are small_x2_first, " in said(
        lambda: loader("weights", recipe="nosuch")["parameters"]
    )
    assert said(lambda: create_pipeline().only_nodes("nosuch")) == (
        "Error: Pipeline does not contain nodes named ['nosuch'].\n"
    )


def test_a_full_disk_is_one_line_that_names_the_file(capsys):
    def save():
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/pixels.bin")
        except OSError as error:
            raise DatasetError("Failed while saving data to dataset") from error

    assert one_line(capsys, save) == "Error: no space left on device: /data/pixels.bin\n"


def test_what_leaves_out_nodes_is_called_as_kedro_calls_it():
    assert set(PARTS_OF_PIPELINES) <= inspect.signature(KedroSession.run).parameters.keys()


def test_lists_may_be_written_with_spaces():
    pair = {"partners": "made", "resize": None}
    assert pair_parameters(reductions="1 0.5", **pair).reductions == [1, 0.5]
    assert pair_parameters(reductions=0.5, **pair).reductions == [0.5]
    pixelated = {"partners": "files", "low_res": "pixelated"}
    assert pair_parameters(resize="800x1200", **pixelated).resize == [800, 1200]
    assert train_parameters(metrics="psnr accuracy").metrics == ["psnr", "accuracy"]
    assert train_parameters(metrics="").metrics == []
    assert train_parameters(metrics=None).metrics == []
    with pytest.raises(ValidationError, match="reductions"):
        pair_parameters(reductions="half", **pair)
    words = "1e-3 -2 +3 .5 2. true null false x2 1e 2024_01 1 true"
    assert repr(listed(words)) == (
        "[0.001, -2, 3, 0.5, 2.0, True, None, False, 'x2', '1e', '2024_01', 1]"
    )


def test_wrong_parameters_are_one_line_each_with_its_whole_name():
    def said(model, name, values):
        try:
            model.model_validate(values)
        except ValidationError as error:
            return f"- Parameter '{name}': Failed to instantiate X for parameter '{name}': {error}"

    split = {"method": "photograph", "seed": 0, "validation": 0.1, "test": 0.95}
    text = "Parameter validation failed:\n" + "\n".join(
        [
            said(SplitParameters, "split", {**split, "tset": 0.1}),
            said(SplitParameters, "split", {**split, "seed": "many", "test": -1}),
            said(LearningRateParameters, "rate", 0.1),
        ]
    )
    assert wrong_parameters(text) == (
        "split: there is no 'tset': is it test?; split.seed: input should be a valid integer; "
        "split.test: input should be greater than or equal to 0; "
        "rate: it is a group: set peak, schedule, warmup_steps, final_fraction in it"
    )
    assert wrong_parameters("something else") == "something else"


def test_other_mistakes_keep_their_traceback(capsys):
    assert "Traceback" in one_line(capsys, lambda: int("many"))


LAYERS = ["raw", "intermediate", "primary", "model_input", "models", "model_output", "reporting"]


def test_data_flows_down_the_layers():
    """Kedro-Viz shows no layers at all where one of them lies above another and below it."""
    configure_project("isr_pipeline")
    entries = loader("base")["catalog"]
    layers = {
        name: entry.get("metadata", {}).get("kedro-viz", {}) for name, entry in entries.items()
    }
    depth = {name: LAYERS.index(of["layer"]) for name, of in layers.items() if "layer" in of}
    for node in pipelines["__default__"].nodes:
        below = [depth[name] for name in node.outputs if name in depth]
        for name in node.inputs:
            assert all(depth.get(name, 0) <= place for place in below), (name, node.name)


@pytest.mark.parametrize(
    ("name", "kind", "remedy"),
    [
        ("pairs", ParquetDataset, "kedro run --pipelines=pair"),
        ("training_facts", JSONDataset, "kedro run --pipelines=train"),
        ("nobodys", JSONDataset, "or bring it back"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_what_makes_it_again(
    tmp_path, capsys, monkeypatch, name, kind, remedy
):
    monkeypatch.setattr(messages, "pipelines", register_pipelines())
    (tmp_path / "file").write_bytes(b"{ no such format")
    catalog = DataCatalog({name: kind(filepath=str(tmp_path / "file"))})
    line = one_line(capsys, lambda: catalog.load(name))
    assert line.startswith(f"Error: {name}: {tmp_path}/file is damaged (")
    assert line.endswith(f"remove it {remedy}\n") or line.endswith(f"and run {remedy}\n")


def test_an_error_of_our_own_code_keeps_its_traceback(capsys):
    class Broken(ParquetDataset):
        def load(self):
            raise ZeroDivisionError

    catalog = DataCatalog({"pairs": Broken(filepath="a.parquet")})
    assert "Traceback" in one_line(capsys, lambda: catalog.load("pairs"))


def test_a_runner_that_there_is_not_is_one_line(capsys):
    said = one_line(capsys, lambda: load_obj("NoRunner", "kedro.runner"))
    assert (
        said
        == "Error: --runner=NoRunner: there are SequentialRunner, ParallelRunner, ThreadRunner\n"
    )
