import json
import math

import pandas as pd
import pytest

from isr_pipeline import weights
from isr_pipeline.datasets.weights import WeightScoresDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.benchmark.parameters import LiteratureParameters
from isr_pipeline.pipelines.results.nodes import (
    SHOWN,
    draw_results,
    join_measurements,
    score_weights,
    write_results,
)

TRAINING = {
    "training_data": "92 photographs",
    "training_command": "kedro run --env=weights",
    "training_seconds": 7200.0,
    "training_machine": "2 cores of a desk",
}
PLACE = {"protocol": "bicubic", "set": "Set5", "scale": 2, "pictures": 5}
RUN = {"command": "kedro run --pipelines=benchmark", "machine": "this machine"}


def row(kind, model, psnr, **more):
    figures = {"psnr_y": psnr, "ssim_y": 0.95, "gain_y": psnr - 33.66}
    figures |= {"psnr_rgb": psnr - 2, "psnr_rgb_median": psnr - 2.1}
    figures |= {"gain_rgb": psnr - 33.66, "gain_rgb_median": psnr - 33.7}
    base = {"kind": kind, "model": model, "trained_against": math.nan, "self_ensemble": False}
    unknown = dict.fromkeys(SHOWN, math.nan)
    return {**unknown, **PLACE, **RUN, **base, **figures, **more}


def network(model, psnr, **more):
    cost = {"parameters": 140_000, "multiply_adds_g": 31.2, "output_size": "1280x720"}
    cost |= {
        "keras_seconds": 0.34,
        "keras_peak_mib": 900.0,
        "load": 0.25,
        "keras_precision": "float32",
    }
    return row("network", model, psnr, trained_against="bicubic", **{**cost, **TRAINING, **more})


def kept(**tables):
    return {name: lambda rows=rows: pd.DataFrame(rows) for name, rows in tables.items()}


LITERATURE = LiteratureParameters(
    rows=[
        {
            "model": "SRCNN",
            "source": "Dong et al. 2014",
            "parameters": {"x2": 57_000},
            "multiply_adds_g": {"x2": 53},
            "scores": {"Set5": {"x2": [36.66, 0.9542], "x4": [30.48]}},
        }
    ]
)


def joined(measurements):
    return join_measurements(measurements, LITERATURE)


BICUBIC = kept(bicubic=[row("baseline", "bicubic", 33.66), network("subpixel-small", 37.5)])


def test_scores_go_into_the_cards_of_the_weights_that_they_are_of(tmp_path, monkeypatch):
    card = {"name": "subpixel-small", "degradation": "bicubic", "scales": [2], "files": {}}
    card["training"] = {key.removeprefix("training_"): value for key, value in TRAINING.items()}
    for scale in (2, 4):
        folder = tmp_path / f"subpixel-small_bicubic_x{scale}"
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps({**card, "scales": [scale], "scores": []}))
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    measured = kept(
        bicubic=[
            row("baseline", "bicubic", 33.66),
            network("subpixel-small", 37.5),
            network("subpixel-small", 37.6, self_ensemble=True),
            {**network("subpixel-small", 36.0), "trained_against": "realistic"},
        ]
    )
    results, _ = joined(measured)
    WeightScoresDataset(str(tmp_path)).save(score_weights(results))
    weights._cards.cache_clear()
    first, second = weights.available()
    assert [score["psnr_y"] for score in first.facts["scores"]] == [37.5]
    assert first.facts["scores"][0]["set"] == "Set5"
    assert second.facts["scores"] == []
    retrained = results.assign(training_seconds=results["training_seconds"] + 1)
    assert score_weights(retrained)[first.id] == []  # of the set that it has replaced


def test_two_networks_of_one_name_are_refused_and_one_measured_twice_is_not():
    one, other = network("champion (autoencoder)", 36.0), network("champion (autoencoder)", 36.4)
    again = network("champion (autoencoder)", 36.001)
    with pytest.raises(ProjectError, match=r"a\.csv and b\.csv have different networks called"):
        joined(kept(a=[one], b=[other]))
    assert (joined(kept(a=[one], b=[again]))[0]["kind"] == "network").sum() == 1


@pytest.mark.parametrize("column", ["output_size", "pictures", "training_seconds"])
def test_a_table_that_lacks_what_the_page_shows_is_named(column):
    table = pd.DataFrame([network("subpixel-small", 37.5)]).drop(columns=column)
    with pytest.raises(ProjectError, match=rf"docs/results/old\.csv has no column {column}"):
        joined({"old": lambda: table})


def test_every_row_names_its_command_data_seconds_and_machine():
    page = write_results(*joined(BICUBIC))
    assert (
        "| x2 | **subpixel-small** | 140 K | 31.2 | 37.50 | 0.9500 | +3.84 | 0.34 | 900 | 1 |"
        in page
    )
    assert (
        "1. `kedro run --env=weights`, on 92 photographs, 7,200 seconds, on 2 cores of a desk"
        in page
    )
    assert "Measured by `kedro run --pipelines=benchmark` on this machine." in page
    assert "Load of the machine before timing: 0.2 (idle: 0)." in page
    assert "keras computed in float32." in page
    assert "do not edit" in page.replace("\n", " ")
    assert "## Ablation" not in page


def test_several_files_make_one_page_with_each_row_once():
    more = kept(
        a=[row("baseline", "bicubic", 33.60), network("subpixel-tiny", 36.9)],
        b=[row("baseline", "bicubic", 33.66), network("subpixel-small", 37.5)],
        c=[network("subpixel-small", 35.0, protocol="unsplash", set="real", pictures=40)],
    )
    results, _ = joined(more)
    assert (results["kind"] != "quoted").sum() == 4
    bicubic, unsplash = write_results(results, pd.DataFrame()).split("## Protocol ")[1:]
    assert bicubic.count("| x2 | bicubic |") == 1
    assert "33.66" in bicubic
    assert "33.60" not in bicubic
    assert bicubic.index("bicubic |") < bicubic.index("subpixel-tiny") < bicubic.index("-small**")
    assert "### real (40 pictures)" in unsplash
    assert "-tiny" not in unsplash


def test_the_ablation_is_a_table_of_its_own():
    rows = [
        {"variant": "no EMA", "command": "x", "seconds": 600, "machine": "m", "val_psnr_db": 33}
    ]
    page = write_results(*joined({**BICUBIC, **kept(ablation=rows)}))
    assert "## Ablation" in page
    assert "| no EMA | 33.00 | 600 | `x` | m |" in page


def test_plots_show_measured_and_quoted_figures_apart():
    former = row("quoted", "SRCNN", 1.0, multiply_adds_g=1.0, source="kept by an older version")
    rows = [row("baseline", "bicubic", 33.66), network("subpixel-small", 37.5), former]
    results, ablation = joined(kept(bicubic=rows))
    plots = draw_results(results)
    assert list(plots) == ["cost_bicubic.png"]
    axes = plots["cost_bicubic.png"].axes[0]
    assert axes.get_xscale() == "log"
    points = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert points == {"measured here": [[31.2, 37.5]], "quoted": [[53.0, 36.66]]}
    page = write_results(results, ablation)
    assert "](results/cost_bicubic.png)" in page
    assert "*SRCNN, quoted: Dong et al. 2014*" in page
    assert "Rows in italics are quoted" in page


def test_rows_that_do_not_compare_are_refused():
    fewer = kept(other=[row("baseline", "bicubic", 34.66, pictures=4)])
    with pytest.raises(ProjectError, match=r"Set5 x2 \(bicubic\) was measured on different"):
        joined({**BICUBIC, **fewer})
    smaller = kept(other=[network("subpixel-tiny", 36.9, output_size="640x360")])
    with pytest.raises(ProjectError, match="outputs of 1280x720 and 640x360"):
        joined({**BICUBIC, **smaller})
    results, _ = joined(smaller)
    assert results.set_index("model").loc["SRCNN", "multiply_adds_g"] == 53 / 4


def test_what_is_missing_is_said():
    with pytest.raises(ProjectError, match="no benchmark: run kedro run --pipelines=benchmark"):
        joined({})
    wrong = kept(ablation=[{"variant": "a"}])
    with pytest.raises(ProjectError, match=r"results/ablation.csv has no column command, seconds"):
        joined({**BICUBIC, **wrong})
    with pytest.raises(ProjectError, match=r"results/notes.csv has no column protocol"):
        joined({**BICUBIC, **kept(notes=[{"a": 1}])})
