import hashlib
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from PIL import Image
from pydantic import ValidationError

from conftest import PROJECT, made_photograph
from isr_pipeline import weights
from isr_pipeline.champion import Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import to_uint8
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.degradations import block_mean, degrade
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.networks import build_network
from isr_pipeline.pipelines.benchmark import nodes
from isr_pipeline.pipelines.benchmark.models import with_what_came_before
from isr_pipeline.pipelines.benchmark.nodes import (
    draw_benchmark_panels,
    keep_measurements,
    load_benchmark_models,
    measure_costs,
    open_benchmark_sets,
    score_benchmark,
    summarise_benchmark,
    write_benchmark_tables,
)
from isr_pipeline.pipelines.benchmark.pairs import BICUBIC, INPUT, LANCZOS, open_pair
from isr_pipeline.pipelines.benchmark.parameters import BenchmarkParameters, LiteratureParameters
from isr_pipeline.pipelines.benchmark.pipeline import create_pipeline
from isr_pipeline.quality.protocol import BYTES_A_PIXEL, score_picture
from isr_pipeline.sources.benchmark import list_benchmark
from isr_pipeline.sources.kaggle_layout import FOLDER, list_kaggle_layout
from pipelines.conftest import changed, default_parameters

SIZES = {"features": 4, "bottleneck_features": 4, "blocks": 0, "bottleneck_blocks": 0}
LITERATURE = LiteratureParameters(**default_parameters("literature")["literature"])


def parameters(**changes):
    quick = {"scales": [2], "models": [], "timing__engines": [], "panels": 1}
    values = changed(default_parameters("benchmark")["benchmark"], **{**quick, **changes})
    return BenchmarkParameters(**values)


@pytest.fixture(scope="module")
def standard_folder(tmp_path_factory):
    """A set called Set5 of two pictures, one of them no multiple of 2, with its own X2."""
    folder = tmp_path_factory.mktemp("sets") / "Set5"
    for name, size, seed in (("a", (60, 80), 1), ("b", (61, 81), 2)):
        truth = made_photograph(*size, seed=seed)
        small = degrade(truth, 2, "bicubic")
        small[0, 0] ^= 1  # tells the file from one that is made
        for path, picture in ((f"HR/{name}", truth), (f"LR_bicubic/X2/{name}", small)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{path}.png")
    return folder


@pytest.fixture(scope="module")
def network():
    """The folded size of a network that is a little off bicubic interpolation."""
    network = build_network("autoencoder", [2, 4], **SIZES)
    generator = np.random.default_rng(0)
    network.set_weights(
        [w + 0.01 * generator.standard_normal(w.shape) for w in network.get_weights()]
    )
    return network


@pytest.fixture(scope="module")
def network_file(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "mine"
    folder.mkdir()
    network.save(folder / "network.keras")
    training = {"data": "two discs", "command": "make it", "seconds": 61.4, "machine": "a desk"}
    card = {"degradation": "unsplash", "training": training}
    (folder / "card.json").write_text(json.dumps(card))
    return folder / "network.keras"


@pytest.fixture
def shipped(network_file, tmp_path, monkeypatch):
    """A stand-in for the package's weights: one network for `bicubic`, one for `realistic`."""
    for degradation in ("bicubic", "realistic"):
        folder = tmp_path / f"subpixel-small_{degradation}_x2"
        folder.mkdir()
        shutil.copy(network_file, folder / "network.keras")
        digest = hashlib.sha256(network_file.read_bytes()).hexdigest()
        card = {
            "name": "subpixel-small",
            "degradation": degradation,
            "scales": [2],
            "files": {"network.keras": digest},
            "training": {"data": "photographs", "command": "ship", "seconds": 5, "machine": "m"},
        }
        (folder / "card.json").write_text(json.dumps(card))
    monkeypatch.setattr(weights, "FOLDER", tmp_path)


def run(folders, models=None, champion=None, sample=None, **changes):
    """The nodes up to the summary."""
    names = {name: str(folder) for name, folder in folders.items()}
    chosen = parameters(folders=names, models=models or [], **changes)
    opened = load_benchmark_models(champion, chosen)
    sets = open_benchmark_sets(sample, opened, chosen)
    scores = score_benchmark(opened, sets, chosen)
    costs = measure_costs(opened, chosen)
    summary, metrics = summarise_benchmark(scores, costs, chosen, LITERATURE)
    return SimpleNamespace(
        parameters=chosen, models=opened, sets=sets, scores=scores, summary=summary, metrics=metrics
    )


def picked(scores, **values):
    for column, value in values.items():
        scores = scores[scores[column] == value]
    return scores


def test_the_fields_protocol_uses_the_sets_own_small_pictures(standard_folder):
    scores = run({"Set5": standard_folder}, protocols=["bicubic"]).scores
    assert set(scores["model"]) == {INPUT, BICUBIC, LANCZOS}
    for name in "ab":
        truth = np.asarray(Image.open(standard_folder / "HR" / f"{name}.png"))[:60, :80]
        small = np.asarray(Image.open(standard_folder / "LR_bicubic" / "X2" / f"{name}.png"))
        lanczos = Image.fromarray(small).resize((80, 60), Image.Resampling.LANCZOS)
        expected = {
            INPUT: small.repeat(2, 0).repeat(2, 1),
            BICUBIC: to_uint8(resize_bicubic(small, 60, 80)),
            LANCZOS: np.asarray(lanczos),
        }
        for method, picture in expected.items():
            row = picked(scores, photograph=name, model=method).iloc[0]
            figures = score_picture(truth, picture, 2)
            assert {figure: row[figure] for figure in figures} == pytest.approx(figures)


def test_real_triplets_are_scored_whole_and_against_the_file_itself(kaggle_folder):
    scores = run({"real": kaggle_folder}, protocols=["unsplash"], scales=[4]).scores
    root = kaggle_folder / FOLDER
    truth = decode_picture((root / "high res" / "2.jpg").read_bytes()).pixels
    file = decode_picture((root / "low res" / "2_4.jpg").read_bytes()).pixels
    assert truth.shape == file.shape == (175, 221, 3)  # no multiple of 4
    as_it_is = picked(scores, photograph="2", model=INPUT)["psnr_rgb"].item()
    assert as_it_is == pytest.approx(score_picture(truth, file, 4)["psnr_rgb"])
    bicubic = to_uint8(resize_bicubic(block_mean(file, 4), *truth.shape[:2]))
    found = picked(scores, photograph="2", model=BICUBIC)["psnr_rgb"].item()
    assert found == pytest.approx(score_picture(truth, bicubic, 4)["psnr_rgb"])


def test_a_partner_of_another_size_is_named(kaggle_folder, tmp_path):
    folder = tmp_path / "turned"
    shutil.copytree(kaggle_folder, folder)
    file = folder / FOLDER / "low res" / "2_4.jpg"
    Image.open(file).transpose(Image.Transpose.ROTATE_90).save(file)
    wanted = r"'real': .*2_4\.jpg is 175x221; a partner of .* is 221x175 .* or 55x43 \(small\)"
    with pytest.raises(ProjectError, match=wanted):
        run({"real": folder}, protocols=["unsplash"], scales=[4])


def test_a_network_that_is_called_like_a_baseline_is_scored_like_any(
    standard_folder, network_file, tmp_path, monkeypatch
):
    shutil.copytree(network_file.parent, tmp_path / "bicubic")
    monkeypatch.chdir(tmp_path / "bicubic")
    result = run({"Set5": standard_folder}, ["network.keras"], protocols=["bicubic"])
    network = picked(result.summary, kind="network", model="bicubic").iloc[0]
    baseline = picked(result.summary, kind="baseline", model="bicubic").iloc[0]
    assert baseline["gain_y"] == 0
    assert network["gain_y"] == pytest.approx(network["psnr_y"] - baseline["psnr_y"])
    assert network["parameters"] > 0


def test_a_network_that_suits_nothing_is_named(network_file, shipped, network, caplog):
    for word in (str(network_file), "subpixel-small_bicubic_x2", "subpixel-small"):
        with pytest.raises(ProjectError, match=r"suits none of the protocols .* scales 3: leave"):
            load_benchmark_models(None, parameters(models=[word], scales=[3]))
    champion = Champion(network, {"protocol": "unsplash"})
    assert load_benchmark_models(champion, parameters(models=["champion"], scales=[3])) == []
    assert "The champion suits none" in caplog.text


def test_a_scale_that_no_network_is_for_is_named(network_file, shipped, caplog):
    load_benchmark_models(
        None,
        parameters(models=[str(network_file)], protocols=["bicubic", "jpeg70"], scales=[2, 5, 7]),
    )
    for protocol in ("bicubic", "jpeg70"):
        assert f"No network that takes part is for {protocol} at x5 x7" in caplog.text
    caplog.clear()
    load_benchmark_models(
        None, parameters(models=[str(network_file)], protocols=["bicubic"], scales=[2])
    )
    load_benchmark_models(
        None, parameters(models=["champion"], protocols=["bicubic"], scales=[2])
    )  # a project begins without
    assert "No network" not in caplog.text


def test_a_champions_folder_tells_what_it_was_trained_on_and_against(network_file, tmp_path):
    shutil.copy(network_file, tmp_path / "network.keras")
    record = {"protocol": "bicubic", "trained_on": ["a" * 64], "score": 30.0}
    (tmp_path / "record.json").write_text(json.dumps(record))
    (model,) = load_benchmark_models(None, parameters(models=[str(tmp_path)]))
    assert (model.degradation, model.trained_on) == ("bicubic", {"a" * 64})


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("card.json", '{"training": 3}', r"card\.json: training: input should be"),
        ("card.json", "{", r"card\.json: invalid json"),
        ("trained_on.json", '{"a": 1}', r"trained_on\.json: input should be a valid array"),
    ],
)
def test_an_odd_file_beside_a_network_is_named(network_file, tmp_path, file, text, problem):
    shutil.copy(network_file, tmp_path / "network.keras")
    (tmp_path / file).write_text(text)
    with pytest.raises(ProjectError, match=problem):
        load_benchmark_models(None, parameters(models=[str(tmp_path)]))


def test_pictures_without_a_partner_are_left_out_where_others_have_one(kaggle_folder, tmp_path):
    folder = tmp_path / "partial"
    shutil.copytree(kaggle_folder, folder)
    (folder / FOLDER / "low res" / "3_2.jpg").unlink()
    scores = run({"real": folder}, protocols=["bicubic", "unsplash"], scales=[2, 3]).scores
    real = picked(scores, protocol="unsplash", scale=2)["photograph"]
    assert set(real) == {"1", "2", "4", "5", "6"}
    for made in ({"protocol": "bicubic", "scale": 2}, {"protocol": "unsplash", "scale": 3}):
        assert len(set(picked(scores, **made)["photograph"])) == 6


@pytest.mark.parametrize("protocol", ["realistic", "jpeg70"])
def test_harder_protocols_are_the_same_every_time_and_harder(standard_folder, protocol):
    test_set = list_benchmark("Set5", standard_folder)
    pairs = [open_pair(test_set, "a", 2, protocol, seed) for seed in (0, 0, 1)]
    assert np.array_equal(pairs[0].low_res, pairs[1].low_res)
    assert np.array_equal(pairs[0].low_res, pairs[2].low_res) == (protocol == "jpeg70")
    clean = open_pair(test_set, "a", 2, "bicubic", 0)
    assert pairs[0].low_res.shape == clean.low_res.shape
    error = np.abs(pairs[0].low_res.astype(int) - clean.low_res).mean()
    assert 0.5 < error < 12


def test_a_network_is_scored_beside_interpolation_with_its_cost(standard_folder, network_file):
    result = run({"Set5": standard_folder}, [str(network_file)], protocols=["bicubic"])
    row = picked(result.summary, model="mine").iloc[0]
    assert (row["kind"], row["trained_against"], row["pictures"]) == ("network", "unsplash", 2)
    assert row["training_command"] == "make it"
    gains = picked(result.scores, model="mine")["psnr_y"].to_numpy()
    gains = gains - picked(result.scores, model=BICUBIC)["psnr_y"].to_numpy()
    assert row["gain_y"] == pytest.approx(gains.mean())
    assert row["gain_y"] != 0
    # The first convolution alone: 27 by 4 on a quarter of 1280x720 pixels.
    assert row["multiply_adds_g"] > 27 * 4 * 640 * 360 / 1e9
    assert row["output_size"] == "1280x720"
    assert result.metrics["benchmark"]["bicubic"]["Set5"]["x2"]["mine"]["psnr_y"] == row["psnr_y"]


def test_the_self_ensemble_has_a_row_of_its_own_at_eight_times_the_cost(
    standard_folder, network_file
):
    result = run(
        {"Set5": standard_folder},
        [str(network_file)],
        protocols=["bicubic"],
        self_ensemble=True,
        timing__engines=[],
    )
    plain, eightfold = (
        picked(result.summary, model="mine", self_ensemble=ensemble).iloc[0]
        for ensemble in (False, True)
    )
    assert eightfold["multiply_adds_g"] == pytest.approx(8 * plain["multiply_adds_g"])
    assert eightfold["psnr_y"] != plain["psnr_y"]
    text = write_benchmark_tables(result.summary)
    assert "**mine+**, trained against `unsplash` (x8 self-ensemble)" in text


def test_shipped_weights_take_part_in_their_own_protocol(standard_folder, shipped):
    def against(models, protocols):
        result = run({"Set5": standard_folder}, models, protocols=protocols)
        rows = picked(result.summary, kind="network")
        return set(
            rows[["protocol", "model", "trained_against"]].itertuples(index=False, name=None)
        )

    small = "subpixel-small"
    own = {("bicubic", small, "bicubic"), ("jpeg70", small, "realistic")}
    assert against(["shipped"], ["bicubic", "jpeg70", "unsplash"]) == own
    assert against([small, "shipped"], ["bicubic", "jpeg70"]) == own
    full = f"{small}_bicubic_x2"
    assert against([full], ["jpeg70"]) == {("jpeg70", full, "bicubic")}


def test_words_that_name_no_network_are_refused(shipped):
    with pytest.raises(ProjectError, match=r"'nothing' is neither .*: subpixel-small_bicubic_x2, "):
        load_benchmark_models(None, parameters(models=["nothing"]))


def test_two_files_of_one_name_are_refused(network_file, tmp_path):
    (tmp_path / "mine").mkdir()
    shutil.copy(network_file, tmp_path / "mine" / "network.keras")
    with pytest.raises(ProjectError, match="two networks are called 'mine'"):
        load_benchmark_models(None, parameters(models=[str(network_file), str(tmp_path / "mine")]))


def test_without_champion_and_shipped_weights_interpolation_stays(
    standard_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    result = run({"Set5": standard_folder}, ["champion", "shipped"], protocols=["bicubic"])
    assert set(result.summary["kind"]) == {"baseline", "quoted"}
    assert draw_benchmark_panels([], result.sets, result.scores, result.parameters) == {}


def test_pictures_that_the_champion_was_trained_on_are_left_out(kaggle_folder, network):
    sample = list_kaggle_layout(kaggle_folder)
    originals = sample.files[sample.files["scale"] == 1]
    hashes = [hashlib.sha256(sample.read(path)).hexdigest() for path in originals["path"]]
    champion = Champion(network, {"protocol": "unsplash", "trained_on": hashes[:4]})
    result = run({}, ["champion"], champion, sample, protocols=["unsplash"])
    assert set(result.scores["photograph"]) == set(originals["photograph"][4:])
    assert set(result.scores["set"]) == {"sample"}
    assert "champion (autoencoder)" in set(result.summary["model"])
    champion = Champion(network, {"protocol": "unsplash", "trained_on": hashes})
    with pytest.raises(ProjectError, match="'sample': a network was trained on every picture"):
        run({}, ["champion"], champion, sample, protocols=["unsplash"])


def test_the_literature_stands_beside_the_fields_protocol_alone(standard_folder):
    summary = run({"Set5": standard_folder}, protocols=["bicubic", "unsplash"]).summary
    quoted = picked(summary, kind="quoted")
    assert set(quoted["protocol"]) == {"bicubic"}
    edsr = picked(quoted, model="EDSR-baseline").iloc[0]
    assert (edsr["psnr_y"], edsr["ssim_y"], edsr["multiply_adds_g"]) == (37.99, 0.9604, 316)
    sections = write_benchmark_tables(summary).split("## Protocol ")[1:]
    assert [section.split("\n")[0] for section in sections] == ["`bicubic`", "`unsplash`"]
    assert "*EDSR-baseline, quoted: Lim et al. 2017* | 1.37 M | 316 | 37.99" in sections[0]
    assert "quoted" not in sections[1]
    assert "| RGB PSNR | median |" in sections[1]
    assert "RGB PSNR |" not in sections[0]


def test_scoring_has_threads_as_memory_has_room(standard_folder, network_file, monkeypatch):
    asked = []
    monkeypatch.setattr(nodes, "threads_for", lambda size: asked.append(size) or 1)
    run({"Set5": standard_folder}, [str(network_file)], self_ensemble=True)
    photographs = list_benchmark("Set5", standard_folder).photographs
    largest = max(photographs.pixels(path) for path in photographs.files["path"])
    assert asked == [largest * (BYTES_A_PIXEL + 3 * 3 * (2 + 2))]


def test_the_literature_has_parameters_by_scale():
    rows = {row.model: row.parameters for row in LITERATURE.rows}
    assert rows["IMDN"] == {"x2": 694_000, "x3": 703_000, "x4": 715_000}
    assert "x4" not in rows["PFT-light"]


def test_the_literatures_multiply_adds_are_for_the_same_picture_as_ours(standard_folder):
    timing = {"engines": [], "height": 360, "width": 640, "rounds": 1, "together": 1}
    summary = run({"Set5": standard_folder}, protocols=["bicubic"], timing=timing).summary
    edsr = picked(summary, kind="quoted", model="EDSR-baseline").iloc[0]
    assert (edsr["output_size"], edsr["multiply_adds_g"]) == ("640x360", 79)


def test_panels_show_the_best_and_the_worst(standard_folder, network_file):
    result = run({"Set5": standard_folder}, [str(network_file)], protocols=["bicubic"])
    panels = draw_benchmark_panels(result.models, result.sets, result.scores, result.parameters)
    assert list(panels) == ["bicubic_Set5_x2.png"]
    labels = [axes.get_ylabel() for axes in panels["bicubic_Set5_x2.png"].axes]
    labels = [label for label in labels if label]
    gains = [float(re.search(r"([-+][\d.]+) dB", label).group(1)) for label in labels]
    assert [label.split(":")[0] for label in labels] == ["best", "worst"]
    assert gains[0] >= gains[1]
    titles = [axes.get_title() for axes in panels["bicubic_Set5_x2.png"].axes[:4]]
    psnr = picked(result.scores, photograph=labels[0].split()[1], model="mine")["psnr_y"].item()
    assert titles[2:] == [f"mine: {psnr:.2f} dB", "truth"]


def test_a_picture_that_cannot_be_used_is_named(standard_folder, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(standard_folder, folder)
    (folder / "HR" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ProjectError, match=r"'broken': HR/a.png cannot be used"):
        run({"broken": folder}, protocols=["bicubic"])
    Image.new("RGB", (16, 16)).save(folder / "HR" / "a.png")
    with pytest.raises(ProjectError, match=r"HR/a.png is 16x16: too small to be scored"):
        run({"broken": folder}, protocols=["bicubic"])
    Image.new("RGB", (60, 80)).save(folder / "HR" / "a.png")
    with pytest.raises(ProjectError, match=r"X2/a.png is 40x30, which is not 1/2 of .* 60x80"):
        run({"broken": folder}, protocols=["bicubic"])


def test_lists_can_be_written_with_spaces():
    chosen = parameters(scales="2 4", models="champion a/b.keras", protocols="jpeg70")
    assert (chosen.scales, chosen.protocols) == ([2, 4], ["jpeg70"])
    assert chosen.models == ["champion", "a/b.keras"]
    assert parameters(scales=3).scales == [3]
    assert parameters(scales="2 2 4").scales == [2, 4]
    assert parameters(models=None).models == []
    for wrong in (
        {"scales": "1"},
        {"scales": None},
        {"protocols": "bicubic report"},
        {"keep_as": "../up"},
        {"keep_as": "ablation"},
    ):
        with pytest.raises(ValidationError):
            parameters(**wrong)


def test_measurements_are_kept_by_name_alone():
    table = pd.DataFrame({"kind": ["network", "quoted"]})
    assert keep_measurements(table, parameters()) == {}
    kept = keep_measurements(table, parameters(keep_as="x2"))
    assert {name: rows["kind"].tolist() for name, rows in kept.items()} == {"x2": ["network"]}


def test_the_pipeline_runs_from_a_catalog(standard_folder, network_file, tmp_path):
    """With tables that go through files, where texts become nothing and names numbers."""
    anonymous = tmp_path / "2026.keras"
    shutil.copy(network_file, anonymous)

    def memory(value=None):
        return MemoryDataset(value, copy_mode="assign")

    configured = yaml.safe_load((PROJECT / "conf/base/catalog_08_reporting.yml").read_text())

    def table(name):
        arguments = {
            key: configured[f"benchmark_{name}"][key] for key in ("load_args", "save_args")
        }
        return CSVDataset(filepath=str(tmp_path / f"{name}.csv"), **arguments)

    chosen = parameters(
        folders={"NA": str(standard_folder)},
        models=[str(anonymous)],
        protocols=["bicubic"],
        timing={"engines": ["keras"], "height": 64, "width": 96, "rounds": 1, "together": 1},
        keep_as="kept",
    )
    catalog = DataCatalog(
        {
            "champion": memory(None),
            "benchmark_sample": memory("not used"),
            "benchmark_models": MemoryDataset(copy_mode="assign"),
            "benchmark_scores": ParquetDataset(filepath=str(tmp_path / "scores.parquet")),
            "benchmark_costs": table("costs"),
            "benchmark_summary": table("summary"),
            "params:benchmark": memory(chosen),
            "params:literature": memory(LITERATURE),
        }
    )
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    row = picked(catalog.load("benchmark_summary"), set="NA", model="2026").iloc[0]
    assert row["parameters"] > 0
    assert row["keras_seconds"] > 0
    assert row["keras_peak_mib"] > 100
    assert row["output_size"] == "96x64"
    assert list(outputs["kept_measurements"].load()) == ["kept"]
    tables = outputs["benchmark_tables"].load()
    assert "| **2026** |" in tables
    assert "1. not recorded" in tables
    assert "one picture of 96x64 pixels" in tables
    assert list(outputs["benchmark_cost_plots"].load()) == ["bicubic.png"]


@pytest.mark.parametrize(
    ("scale", "decibels", "likeness"),
    [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)],
)
def test_the_bicubic_row_of_set5_is_the_published_one(set5_folder, scale, decibels, likeness):
    summary = run({"Set5": set5_folder}, protocols=["bicubic"], scales=[scale]).summary
    row = picked(summary, model=BICUBIC).iloc[0]
    assert row["pictures"] == 5
    assert row["psnr_y"] == pytest.approx(decibels, abs=0.03)
    assert row["ssim_y"] == pytest.approx(likeness, abs=0.001)
    published = picked(summary, model="bicubic (published)").iloc[0]
    assert (published["psnr_y"], published["ssim_y"]) == (decibels, likeness)


def test_a_training_that_began_with_others_is_told_with_them():
    first = {"command": "one", "seconds": 100, "data": "these"}
    second = {"command": "two", "seconds": 20, "data": "these", "started_from": first}
    third = {"command": "three", "seconds": 3, "data": "these", "started_from": second}
    whole = with_what_came_before(third)
    assert (whole["command"], whole["seconds"]) == ("one; two; three", 123)
    assert "machine" not in whole
    assert with_what_came_before(first) == first
    assert with_what_came_before({}) == {}


def test_a_training_on_several_machines_names_each_with_its_seconds():
    first = {"command": "one", "seconds": 1000, "machine": "a desk"}
    second = {"command": "two", "seconds": 200, "machine": "a desk", "started_from": first}
    third = {"command": "three", "seconds": 3, "machine": "a GPU", "started_from": second}
    assert with_what_came_before(second)["machine"] == "a desk"
    whole = with_what_came_before(third)
    assert whole["machine"] == "a desk (1,200 seconds) and a GPU (3 seconds)"
