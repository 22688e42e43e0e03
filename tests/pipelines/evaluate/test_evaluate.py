import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import ParquetDataset

from isr_pipeline import weights
from isr_pipeline.champion import Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import to_uint8
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.inference.predict import Predictor
from isr_pipeline.networks import build_network
from isr_pipeline.pipelines.evaluate.nodes import (
    BICUBIC,
    INPUT,
    NETWORK,
    choose_champion,
    compare_with_report,
    digest_of_test,
    score_pictures,
    scored_pairs,
    summarise_scores,
)
from isr_pipeline.pipelines.evaluate.pipeline import create_pipeline
from isr_pipeline.quality.metrics import psnr
from isr_pipeline.quality.protocol import SCORES, score_picture
from isr_pipeline.storage.pictures import PictureStore
from pipelines.conftest import evaluate_parameters

SIZES = {"features": 4, "bottleneck_features": 4, "blocks": 0, "bottleneck_blocks": 0}
HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "train_loss": [0.1, 0.2], "val_loss": [0.3, 0.2], "seconds": [1.0, 1.0]}
)
SHIPPED = weights.FOLDER
FACTS = {"best_epoch": 1, "loss": "mean_squared_error", "degradation": "unsplash"}


def trained_on(world):
    """What a training on this world leaves: the originals outside the test split."""
    return sorted(world.pairs.loc[world.pairs["split"] != "test", "hr_sha256"].unique())


@pytest.fixture(scope="module")
def fresh():
    """A network that is exactly bicubic interpolation."""
    return build_network("autoencoder", [2, 4, 6], **SIZES)


@pytest.fixture(scope="module")
def dead():
    """The report's network with its last bias so low that the final ReLU passes nothing."""
    network = build_network("report_autoencoder", [2, 4, 6])
    last = [layer for layer in network.layers if layer.name.startswith("conv2d")][-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel * 0, bias - 1])
    return network


@pytest.fixture(scope="module")
def scores(world, fresh):
    return score_pictures(
        fresh,
        trained_on(world),
        world.pairs,
        world.pictures,
        world.photographs,
        evaluate_parameters(),
    )


def of(scores, method):
    return scores[scores["method"] == method].set_index(["photograph", "scale"])


def test_every_test_pair_is_scored_by_every_method(world, scores):
    expected = (world.pairs["split"] == "test").sum() * 3
    assert len(scores) == expected > 0
    assert set(scores["protocol"]) == {"unsplash"}
    tested = set(world.pairs.loc[world.pairs["split"] == "test", "photograph"])
    assert set(scores["photograph"]) == tested


def test_a_fresh_network_scores_exactly_as_bicubic(scores):
    # Where the size is no multiple of the scale the network's result is resized once more.
    network, bicubic = of(scores, NETWORK)["psnr_rgb"], of(scores, BICUBIC)["psnr_rgb"]
    assert np.allclose(network, bicubic, atol=0.25)
    assert (network - bicubic).abs().min() < 0.01


def test_the_baselines_are_what_they_say(world, scores):
    pair = scored_pairs(world.pairs, "test").iloc[0]
    truth = world.pictures.picture(pair.photograph, 1)
    key = (pair.photograph, pair.scale)
    as_it_is = decode_picture(world.photographs.read(pair.lr_path)).pixels
    small = world.pictures.picture(*key)
    bicubic = to_uint8(resize_bicubic(small, *truth.shape[:2]))
    for method, picture in ((INPUT, as_it_is), (BICUBIC, bicubic)):
        expected = score_picture(truth, picture, pair.scale)
        assert of(scores, method).loc[key, list(SCORES)].to_dict() == pytest.approx(expected)


def test_the_summary_takes_means_of_pictures_and_gains_over_bicubic():
    rows = []
    for photograph, bicubic, network in (("a", 30.0, 31.0), ("b", 40.0, 40.5), ("c", 20.0, 23.0)):
        for method, value in ((BICUBIC, bicubic), (NETWORK, network), (INPUT, bicubic - 2)):
            rows.append(
                {
                    "protocol": "p",
                    "photograph": photograph,
                    "scale": 2,
                    "method": method,
                    "psnr_rgb": value,
                    "psnr_y": value,
                    "ssim_y": 0.5,
                    "mse": 0.1,
                    "brightest_channel_agreement": 1.0,
                    "status": "ok",
                }
            )
    table, metrics = summarise_scores(pd.DataFrame(rows), evaluate_parameters())
    row = table.set_index("method").loc[NETWORK]
    assert row["psnr_rgb"] == pytest.approx(31.5)
    assert row["psnr_rgb_median"] == 31.0
    assert row["gain_db"] == pytest.approx(1.5)
    assert row["gain_db_median"] == 1.0
    assert metrics["test"]["x2"]["gain_db"] == pytest.approx(1.5)
    _, of_validation = summarise_scores(pd.DataFrame(rows), evaluate_parameters(split="val"))
    assert of_validation == {"val": metrics["test"]}


def test_a_collapsed_network_gets_no_score_and_is_called_so(world, dead, caplog):
    parameters = evaluate_parameters()
    scores = score_pictures(
        dead, trained_on(world), world.pairs, world.pictures, world.photographs, parameters
    )
    assert "black everywhere" in caplog.text
    assert of(scores, NETWORK)["psnr_rgb"].isna().all()
    assert of(scores, NETWORK)["status"].str.startswith("collapsed").all()
    assert of(scores, BICUBIC)["psnr_rgb"].notna().all()
    table, metrics = summarise_scores(scores, parameters)
    assert metrics == {"test": {}}
    assert table.set_index("method").loc[NETWORK, "status"].str.startswith("collapsed").all()
    comparison = compare_with_report(
        HISTORY, FACTS, trained_on(world), scores, world.pairs, parameters
    )
    assert comparison["note"].iloc[-1].startswith("collapsed")
    with pytest.raises(ProjectError, match="collapsed"):
        choose_champion(
            dead, FACTS, trained_on(world), scores, world.pairs, world.pictures, None, parameters
        )


def test_the_comparison_with_the_report_labels_the_leak(world, scores):
    parameters = evaluate_parameters(split="val")
    leaking = world.pairs.assign(
        split=["val" if scale == 2 else "train" for scale in world.pairs["scale"]]
    )
    everything = sorted(world.pairs["hr_sha256"].unique())
    table = compare_with_report(HISTORY, FACTS, everything, scores, leaking, parameters)
    assert table["method"].tolist()[0] == "the report, epoch 10"
    assert table["val_accuracy"].iloc[0] == 0.8783
    assert table["note"].iloc[-1] == "LEAKS: 6 of 6 photographs took part in training"
    honest = compare_with_report(
        HISTORY, FACTS, trained_on(world), scores, world.pairs, evaluate_parameters()
    )
    assert honest["note"].iloc[-1].endswith("none of them in training")


def test_the_reports_training_figures_are_shown_where_the_run_has_them(world, scores):
    def shown(history, facts=FACTS):
        table = compare_with_report(
            history, facts, trained_on(world), scores, world.pairs, evaluate_parameters()
        )
        assert table[["loss", "accuracy"]].iloc[-2].isna().all()
        shown = table[["loss", "accuracy"]].iloc[-1]
        return [None if pd.isna(figure) else figure for figure in shown]

    history = HISTORY.assign(train_accuracy=[0.9, 0.8])
    assert shown(history) == [0.1, 0.9]
    assert shown(history, {**FACTS, "best_epoch": 2}) == [0.2, 0.8]
    assert shown(history.assign(val_loss=np.nan)) == [0.1, 0.9]
    assert shown(HISTORY) == [0.1, None]
    assert shown(history, {"best_epoch": 1, "loss": "charbonnier"}) == [None, 0.9]
    assert shown(history, {"best_epoch": 1}) == [None, 0.9]  # as an older version left them


@pytest.fixture(autouse=True)
def no_shipped_weights(monkeypatch, tmp_path):
    """They take their time."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "none")


def chosen(world, network, scores, champion, pairs=None, facts=FACTS, **changes):
    return choose_champion(
        network,
        facts,
        trained_on(world),
        scores,
        world.pairs if pairs is None else pairs,
        world.pictures,
        champion,
        evaluate_parameters(**changes),
    )


def test_the_first_network_becomes_champion(world, fresh, scores):
    champion = chosen(world, fresh, scores, None)
    assert champion.record["new"]
    expected = of(scores, NETWORK).groupby("scale")["psnr_rgb"].mean()
    assert champion.record["score"] == pytest.approx(expected.mean())
    assert set(champion.record["psnr_rgb"]) == {"x2", "x4", "x6"}


def test_no_title_is_won_on_pictures_of_another_degradation(world, fresh, scores):
    with pytest.raises(ProjectError, match="trained for bicubic pictures and was scored on unspl"):
        chosen(world, fresh, scores, None, facts={**FACTS, "degradation": "bicubic"})


def test_the_packages_weights_are_scored_on_the_champions_pictures(
    world, fresh, scores, caplog, monkeypatch
):
    monkeypatch.setattr(weights, "FOLDER", SHIPPED)
    with caplog.at_level("INFO", logger="isr_pipeline"):
        champion = chosen(world, fresh, scores, None)
    noted = champion.record["shipped"]
    assert {name: of_scale["model"] for name, of_scale in noted.items()} == dict.fromkeys(
        ("x2", "x4", "x6"), "subpixel-small"
    )
    test = scored_pairs(world.pairs, "test")
    pair = test[test["scale"] == 2].iloc[0]
    low_res = world.pictures.picture(pair["photograph"], 2)
    enlarged = Predictor(weights.load_network("subpixel-small", 2, "unsplash"), 2)
    truth = world.pictures.picture(pair["photograph"], 1)
    assert (test["scale"] == 2).sum() == 1
    expected = psnr(truth, enlarged(low_res, truth.shape[:2]))
    assert noted["x2"]["psnr_rgb"] == pytest.approx(expected)
    assert f"x2 {expected:.2f} dB against {champion.record['psnr_rgb']['x2']:.2f} dB" in caplog.text
    kept = chosen(world, fresh, scores, Champion("present", {**champion.record, "score": 99.0}))
    assert kept.record["shipped"] == noted
    seen = frozenset(test["hr_sha256"])
    monkeypatch.setattr(weights.Card, "trained_on", seen)
    with caplog.at_level("INFO", logger="isr_pipeline"):
        assert chosen(world, fresh, scores, None).record["shipped"] == {}
    assert f"(x2) has seen {len(seen)} of these pictures" in caplog.text


@pytest.mark.parametrize(("difference", "stays"), [(0.5, True), (-0.5, False), (0.0, True)])
def test_the_title_moves_only_to_a_better_score_on_the_same_pictures(
    world, fresh, scores, difference, stays
):
    record = chosen(world, fresh, scores, None).record
    present = Champion("present", {**record, "score": record["score"] + difference})
    champion = chosen(world, fresh, scores, present)
    assert (champion.network == "present") == stays
    assert champion.record["new"] != stays


def test_validation_pictures_take_no_title_where_there_are_test_pictures(world, fresh, scores):
    record = {**chosen(world, fresh, scores, None).record, "score": 1.0}
    present = Champion("present", record)
    kept = chosen(world, fresh, scores, present, split="val")
    assert kept.network == "present"
    assert not kept.record["new"]
    first = chosen(world, fresh, scores, None, split="val")
    assert (first.record["split"], first.record["new"]) == ("val", True)
    without_test = world.pairs.replace({"split": {"test": "val"}})
    digest = digest_of_test(scored_pairs(without_test, "val"), world.pictures)
    reports = Champion("present", {**record, "test_digest": digest})
    assert chosen(world, fresh, scores, reports, without_test, split="val").record["new"]


def test_a_champion_judged_on_other_pictures_is_scored_again(world, fresh, scores, caplog):
    boast = {**chosen(world, fresh, scores, None).record, "score": 99.0, "test_digest": "other"}
    with caplog.at_level("INFO", logger="isr_pipeline"):
        champion = chosen(world, fresh, scores, Champion(fresh, boast))
    assert "scoring it on these" in caplog.text
    assert not champion.record["new"]  # equal is not better
    worse = build_network("autoencoder", [2, 4, 6], **SIZES)
    worse.set_weights([w + 0.05 for w in worse.get_weights()])
    assert chosen(world, fresh, scores, Champion(worse, boast)).record["new"]


def test_a_champion_is_scored_again_where_the_same_pairs_have_other_small_pictures(
    world, fresh, scores, caplog, monkeypatch
):
    boast = {**chosen(world, fresh, scores, None).record, "score": 99.0}
    picture = PictureStore.picture

    def changed(store, photograph, scale):
        pixels = picture(store, photograph, scale)
        return pixels if scale == 1 else np.ascontiguousarray(pixels // 2)

    monkeypatch.setattr(PictureStore, "picture", changed)
    with caplog.at_level("INFO", logger="isr_pipeline"):
        chosen(world, fresh, scores, Champion(fresh, boast))
    assert "scoring it on these" in caplog.text


def test_test_pictures_that_were_trained_on_are_not_scored(world, fresh):
    test = scored_pairs(world.pairs, "test")
    with pytest.raises(ProjectError, match="trained on 1 of the test photographs"):
        score_pictures(
            fresh,
            [*trained_on(world), test["hr_sha256"].iloc[0]],
            world.pairs,
            world.pictures,
            world.photographs,
            evaluate_parameters(),
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"psnr_rgb": {"x2": 9.0, "x8": 9.0}}, "it is for x2 x8, this network for x2 x4 x6"),
        ({"protocol": "realistic"}, "it is for realistic pictures, this network for unsplash"),
        ({"trained_on": None}, "it was trained on 1 of these test pictures"),
    ],
)
def test_a_champion_that_does_otherwise_keeps_its_title_unless_it_is_given_away(
    world, fresh, scores, caplog, changes, reason
):
    record = {**chosen(world, fresh, scores, None).record, "score": 1.0, **changes}
    if record["trained_on"] is None:
        record["trained_on"] = scored_pairs(world.pairs, "test")["hr_sha256"].unique().tolist()
    present = Champion("present", record)
    kept = chosen(world, fresh, scores, present)
    assert (kept.network, kept.record["new"]) == ("present", False)
    assert f"The champion stays: {reason}" in caplog.text
    assert chosen(world, fresh, scores, present, replace_champion=True).record["new"]


def test_a_network_for_more_scales_is_compared_at_the_champions(world, fresh, scores):
    record = chosen(world, fresh, scores, None).record
    at_two = record["psnr_rgb"]["x2"]
    for difference, is_new in ((-0.1, True), (0.1, False)):
        own = {"psnr_rgb": {"x2": at_two}, "score": at_two + difference}
        assert (
            chosen(world, fresh, scores, Champion("p", {**record, **own})).record["new"] == is_new
        )


def test_what_interpolation_beats_is_said(world, scores, caplog):
    table, _ = summarise_scores(scores, evaluate_parameters())
    worse = table[(table["method"] == NETWORK) & (table["gain_db"] <= 0)]["scale"]
    assert ("no better than bicubic interpolation" in caplog.text) == bool(len(worse))
    caplog.clear()
    poor = scores.copy()
    poor.loc[(poor["method"] == NETWORK) & (poor["scale"] == 4), "psnr_rgb"] -= 9
    summarise_scores(poor, evaluate_parameters())
    assert "no better than bicubic interpolation at x" in caplog.text


def test_one_flat_picture_does_not_make_the_means_infinite():
    flat = np.full((40, 40, 3), 77, np.uint8)
    assert score_picture(flat, flat, 2)["psnr_rgb"] == 100.0


def test_the_digest_names_pictures_and_protocol(world):
    test = scored_pairs(world.pairs, "test")
    assert digest_of_test(test, world.pictures) == digest_of_test(test.iloc[::-1], world.pictures)
    assert digest_of_test(test, world.pictures) != digest_of_test(test.iloc[1:], world.pictures)
    assert digest_of_test(test, world.pictures) != digest_of_test(
        test.assign(degradation="bicubic"), world.pictures
    )


def test_a_network_of_other_scales_is_refused_by_name(world):
    network = build_network("autoencoder", [2], **SIZES)
    with pytest.raises(ProjectError, match=r"trained for scales \[2\], not for \[4, 6\]"):
        score_pictures(
            network,
            trained_on(world),
            world.pairs,
            world.pictures,
            world.photographs,
            evaluate_parameters(),
        )


def test_the_pipeline_runs_from_a_catalog(world, fresh, tmp_path):
    def memory(value):
        return MemoryDataset(value, copy_mode="assign")

    catalog = DataCatalog(
        {
            "network": memory(fresh),
            "trained_on": memory(trained_on(world)),
            "pairs": memory(world.pairs),
            "pictures": memory(world.pictures),
            "photographs": memory(world.photographs),
            "training_history": memory(HISTORY),
            "training_facts": memory(FACTS),
            "present_champion": MemoryDataset(
                Champion(
                    fresh,
                    {
                        "test_digest": "",
                        "score": 0.0,
                        "trained_on": [],
                        "psnr_rgb": {"x2": 0.0, "x4": 0.0, "x6": 0.0},
                        "protocol": "unsplash",
                    },
                ),
                copy_mode="assign",
            ),
            "params:evaluate": memory(evaluate_parameters(panels=1)),
            "picture_scores": ParquetDataset(filepath=str(tmp_path / "scores.parquet")),
        }
    )
    SequentialRunner().run(create_pipeline(), catalog)
    assert len(pd.read_parquet(tmp_path / "scores.parquet")) == 9
