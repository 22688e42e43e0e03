"""Evaluation: scores against interpolation, panels, and who is champion."""

import logging
import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isr_pipeline import weights
from isr_pipeline.champion import PIXELATED, Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture, to_uint8
from isr_pipeline.imaging.degradations import block_mean
from isr_pipeline.imaging.resampling import enlarge_nearest, resize_bicubic
from isr_pipeline.networks import Network
from isr_pipeline.pipelines.evaluate.parameters import EvaluateParameters
from isr_pipeline.pipelines.pair.belonging import check_pictures
from isr_pipeline.progress import map_in_order, threads_for
from isr_pipeline.quality.metrics import psnr
from isr_pipeline.quality.protocol import BYTES_A_PIXEL, CEILING, SCORES, score_picture
from isr_pipeline.reporting.benchmark import TRAINING
from isr_pipeline.reporting.figures import PanelRow, draw_panels
from isr_pipeline.sources.collection import PhotoCollection
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import PictureStore

logger = logging.getLogger(__name__)

INPUT, BICUBIC, NETWORK = "input as it is", "bicubic", "network"
METHODS = (INPUT, BICUBIC, NETWORK)
COLLAPSED = "collapsed: the output is black everywhere"


class _Prediction(NamedTuple):
    pair: Any
    low_res: Picture
    truth: Picture
    sr: Picture


def score_pictures(
    network: Network,
    trained_on: list[str],
    pairs: pd.DataFrame,
    pictures: PictureStore,
    photographs: PhotoCollection,
    parameters: EvaluateParameters,
) -> pd.DataFrame:
    """Score the network, bicubic interpolation and the input itself on every picture of a split.

    Bicubic interpolates the (recovered) small picture. A network whose output is black everywhere
    has collapsed; it gets no score but a `status` that says so.

    Returns:
        One row for each pair and method: `protocol`, `photograph`, `scale`, `method`, the figures
        of `quality.protocol`, and `status`.

    Raises:
        ProjectError: when test photographs were trained on, as after a change of the split, or
            the pictures are of other pairs.
    """
    check_pictures(pairs, pictures)
    chosen = scored_pairs(pairs, parameters.split)
    leaked = set(trained_on) & set(chosen["hr_sha256"])
    if leaked and parameters.split == "test":
        raise ProjectError(
            f"the network was trained on {len(leaked)} of the test photographs: the split has "
            "changed since; run kedro run --pipelines=tile,train first"
        )

    def score(prediction: _Prediction) -> tuple[bool, list[dict[str, Any]]]:
        pair, scale = prediction.pair, int(prediction.pair.scale)
        shown = {
            INPUT: _input_as_it_is(pair, prediction.low_res, prediction.truth, photographs),
            BICUBIC: _bicubic(pair, prediction.low_res, prediction.truth),
            NETWORK: prediction.sr,
        }
        rows = [
            {
                "protocol": protocol_of(pair),
                "photograph": pair.photograph,
                "scale": scale,
                "method": method,
                **score_picture(prediction.truth, picture, scale),
                "status": "ok",
            }
            for method, picture in shown.items()
        ]
        return bool(prediction.sr.max() == 0), rows

    results = list(
        map_in_order(
            score,
            _predictions(network, chosen, pictures),
            len(chosen),
            "scoring",
            threads_for(BYTES_A_PIXEL * int((chosen["height"] * chosen["width"]).max())),
        )
    )
    scores = pd.DataFrame([row for _, rows in results for row in rows])
    if all(black for black, _ in results):
        logger.error(
            "The network's output is black everywhere: its final ReLU has died. "
            "It gets no score; train again with another seed or a linear output"
        )
        dead = scores["method"] == NETWORK
        scores.loc[dead, [*SCORES]] = np.nan
        scores.loc[dead, "status"] = COLLAPSED
    return scores


def summarise_scores(
    picture_scores: pd.DataFrame, parameters: EvaluateParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Mean and median over the pictures, for each scale and method, with the gain over bicubic.

    Returns:
        The table, and the network's figures nested as `test/x2/gain_db` for MLflow (`val/...` where
        the split `val` is scored).
    """
    scores = picture_scores.copy()
    keys = ["photograph", "scale"]
    bicubic = scores[scores["method"] == BICUBIC].set_index(keys)["psnr_rgb"]
    scores["gain_db"] = (
        scores["psnr_rgb"] - bicubic.reindex(pd.MultiIndex.from_frame(scores[keys])).to_numpy()
    )
    scores["method"] = pd.Categorical(scores["method"], METHODS, ordered=True)
    table = (
        scores.groupby(["protocol", "scale", "method"], observed=True)
        .agg(
            pictures=("photograph", "nunique"),
            psnr_rgb=("psnr_rgb", "mean"),
            psnr_rgb_median=("psnr_rgb", "median"),
            gain_db=("gain_db", "mean"),
            gain_db_median=("gain_db", "median"),
            psnr_y=("psnr_y", "mean"),
            ssim_y=("ssim_y", "mean"),
            mse=("mse", "mean"),
            brightest_channel_agreement=("brightest_channel_agreement", "mean"),
            status=("status", "first"),
        )
        .reset_index()
    )
    table["method"] = table["method"].astype(str)
    metrics: dict[str, Any] = {}
    for row in table[table["method"] == NETWORK].itertuples():
        if row.status == "ok":
            metrics[f"x{row.scale}"] = {
                name: float(getattr(row, name))
                for name in ("psnr_rgb", "gain_db", "gain_db_median", "psnr_y", "ssim_y", "mse")
            }
    logger.info("Scores on split %s:\n%s", parameters.split, format_scores(table))
    networks = table[(table["method"] == NETWORK) & (table["status"] == "ok")]
    worse = networks.loc[networks["gain_db"] <= 0, "scale"]
    if len(worse):
        logger.warning(
            "The network is no better than bicubic interpolation at %s: it was trained too "
            "shortly, or with too high a learning rate",
            ", ".join(f"x{scale}" for scale in worse),
        )
    return table, {parameters.split: metrics}


def format_scores(table: pd.DataFrame) -> str:
    """The score table for a terminal."""
    columns = {
        "scale": "scale",
        "method": "method",
        "pictures": "pictures",
        "psnr_rgb": "RGB PSNR",
        "psnr_rgb_median": "median",
        "gain_db": "gain",
        "gain_db_median": "median gain",
        "psnr_y": "Y PSNR",
        "ssim_y": "SSIM",
    }
    formats = {"SSIM": "{:.4f}".format, "gain": "{:+.2f}".format, "median gain": "{:+.2f}".format}
    shown = table[list(columns)].rename(columns=columns)
    shown["scale"] = "x" + shown["scale"].astype(str)
    collapsed = table["status"] != "ok"
    text = shown.to_string(
        index=False, float_format="{:.2f}".format, formatters=formats, na_rep="-"
    )
    return f"{text}\nnetwork {COLLAPSED}" if collapsed.any() else text


def compare_with_report(
    training_history: pd.DataFrame,
    training_facts: dict[str, Any],
    trained_on: list[str],
    picture_scores: pd.DataFrame,
    pairs: pd.DataFrame,
    parameters: EvaluateParameters,
) -> pd.DataFrame:
    """The report's own four figures, beside interpolation and this run on the same pictures.

    Returns:
        `method`, `loss` and `accuracy` in training, in the epoch that was kept, where the run has
        them (a run with the report's loss and metric has), `val_loss` (mean squared error) and
        `val_accuracy` (brightest-channel agreement) on the scored pictures, and a `note` on what
        leaks.
    """
    note = _leak_note(scored_pairs(pairs, parameters.split), trained_on)
    rows: list[dict[str, Any]] = [row.model_dump() for row in parameters.quoted]
    means = picture_scores.groupby("method")[["mse", "brightest_channel_agreement"]].mean()
    kept = training_history.set_index("epoch").loc[training_facts["best_epoch"]]
    for method in METHODS:
        row: dict[str, Any] = {
            "method": method,
            "loss": None,
            "accuracy": None,
            "val_loss": means.loc[method, "mse"],
            "val_accuracy": means.loc[method, "brightest_channel_agreement"],
            "note": note,
        }
        if method == NETWORK:
            if training_facts.get("loss") == "mean_squared_error":
                row["loss"] = kept["train_loss"]
            row["accuracy"] = kept.get("train_accuracy")
            status = picture_scores.loc[picture_scores["method"] == NETWORK, "status"].iloc[0]
            row["note"] = note if status == "ok" else COLLAPSED
            row["method"] = "this run"
        rows.append(row)
    table = pd.DataFrame(rows)
    text = table.to_string(index=False, float_format="{:.5f}".format, na_rep="-")
    if training_facts.get("loss") == "mean_squared_error":  # else there is little to compare
        logger.info("In the report's own terms (loss = mean squared error):\n%s", text)
    return table


def draw_comparison(
    network: Network,
    pairs: pd.DataFrame,
    pictures: PictureStore,
    parameters: EvaluateParameters,
) -> Figure:
    """Panels: low resolution, bicubic, network and truth, each whole and zoomed, with its PSNR."""
    check_pictures(pairs, pictures)
    chosen = scored_pairs(pairs, parameters.split)
    photographs = sorted(chosen["photograph"].unique())[: parameters.panels]
    chosen = chosen[chosen["photograph"].isin(photographs)]

    def rows() -> Iterator[PanelRow]:
        for pair, low_res, truth, sr in _predictions(network, chosen, pictures):
            columns = [
                ("low resolution", enlarge_nearest(low_res, *truth.shape[:2])),
                ("bicubic", _bicubic(pair, low_res, truth)),
                ("network", sr),
                ("truth", truth),
            ]
            scores = [None if title == "truth" else psnr(truth, shown) for title, shown in columns]
            yield PanelRow(f"x{pair.scale}, {pair.photograph}", columns, scores)

    return draw_panels(rows())


def choose_champion(
    network: Network,
    training_facts: dict[str, Any],
    trained_on: list[str],
    picture_scores: pd.DataFrame,
    pairs: pd.DataFrame,
    pictures: PictureStore,
    present_champion: Champion | None,
    parameters: EvaluateParameters,
) -> Champion:
    """Let the new network take the title if it beats the champion on the same test pictures.

    The score is the mean over the champion's scales of the mean RGB PSNR. A champion that was
    judged on other pictures is scored again on these. It keeps its title against a network that
    does not do what it does (a scale of its less, or another degradation), and where the pictures
    say nothing because it was trained on some, unless `replace_champion` gives the title away.
    Where there are test pictures, which the report's division has none of, the split `val` takes
    no title from anybody: it has chosen the network's epoch.

    The weights that come with the package are scored beside it, and noted in its record, so that
    whoever enlarges pictures gets the better ones.

    Returns:
        The champion, old or new.

    Raises:
        ProjectError: when the network has collapsed and there is no champion to keep, when it was
            trained for another degradation, or the pictures are of other pairs.
    """
    check_pictures(pairs, pictures)
    chosen = scored_pairs(pairs, parameters.split)
    made = ", ".join(sorted(chosen["degradation"].unique()))
    if training_facts.get("degradation", made) != made:
        raise ProjectError(
            f"the network was trained for {training_facts['degradation']} pictures and was scored "
            f"on {made} ones, which win no title: run kedro run --pipelines=tile,train first"
        )
    test_digest = digest_of_test(chosen, pictures)
    mine = picture_scores[picture_scores["method"] == NETWORK]
    by_scale = _mean_by_scale(picture_scores, NETWORK)
    score = float(np.mean(list(by_scale.values())))
    candidate = Champion(
        network,
        {
            "network": network.name,
            "parameters": int(network.count_params()),
            "score": score,
            "psnr_rgb": by_scale,
            "bicubic": _mean_by_scale(picture_scores, BICUBIC),
            "protocol": str(mine["protocol"].iloc[0]),
            "split": parameters.split,
            "test_digest": test_digest,
            "trained_on": trained_on,
            "training": {key: training_facts[key] for key in TRAINING if key in training_facts},
            "new": True,
        },
    )
    if present_champion is None:
        if math.isnan(score):
            raise ProjectError(f"the network has {COLLAPSED}; no champion can be chosen")
        logger.info("The first champion: %.2f dB", score)
        return _beside_shipped(candidate, chosen, pictures)
    kept = Champion(present_champion.network, {**present_champion.record, "new": False})
    if parameters.split != "test" and "test" in set(pairs["split"]):
        logger.info("The champion stays: the title is won on the split test alone")
        return kept
    if parameters.replace_champion and not math.isnan(score):
        logger.info("A new champion: %.2f dB, by evaluate.replace_champion", score)
        return _beside_shipped(candidate, chosen, pictures)
    otherwise = _does_otherwise(present_champion.record, candidate.record, chosen)
    if otherwise:
        logger.warning(
            "The champion stays: %s. evaluate.replace_champion=true gives its title to this "
            "run's network",
            otherwise,
        )
        return kept
    score = float(np.mean([by_scale[name] for name in present_champion.record["psnr_rgb"]]))
    present = _score_on(present_champion, chosen, pictures, test_digest)
    if score > present:  # false for a collapsed network, whose score is not a number
        logger.info("A new champion: %.2f dB against %.2f dB", score, present)
        return _beside_shipped(candidate, chosen, pictures)
    logger.info("The champion stays: %.2f dB against this run's %.2f dB", present, score)
    return kept


def _mean_by_scale(picture_scores: pd.DataFrame, method: str) -> dict[str, float]:
    of_method = picture_scores[picture_scores["method"] == method]
    means = of_method.groupby("scale")["psnr_rgb"].mean()
    return {f"x{scale}": float(mean) for scale, mean in means.items()}


def _does_otherwise(
    present: dict[str, Any], candidate: dict[str, Any], chosen: pd.DataFrame
) -> str:
    """Why a champion and a network cannot be measured by each other; empty if they can."""
    if not present["psnr_rgb"].keys() <= candidate["psnr_rgb"].keys():
        its, own = (" ".join(sorted(record["psnr_rgb"])) for record in (present, candidate))
        return f"it is for {its}, this network for {own}"
    its, own = present["protocol"], candidate["protocol"]
    if its != own:
        return f"it is for {its} pictures, this network for {own}"
    seen = set(present["trained_on"]) & set(chosen["hr_sha256"])
    if seen and set(chosen["split"]) == {"test"}:
        return f"it was trained on {len(seen)} of these test pictures, which cannot judge it"
    return ""


def scored_pairs(pairs: pd.DataFrame, split: str) -> pd.DataFrame:
    """The usable pairs of a split; of reduced originals none."""
    whole = pairs["reduction"] == 1
    chosen = pairs[(pairs["status"] == "ok") & (pairs["split"] == split) & whole]
    if chosen.empty:
        raise ProjectError(f"no usable pair is in split '{split}': see evaluate.split and split.*")
    return chosen


def digest_of_test(chosen: pd.DataFrame, pictures: PictureStore) -> str:
    """Names the test pictures and the protocol that scores were measured with.

    The low-resolution pictures' own pixels stand in it: other code may have made others.
    """
    columns = ["photograph", "scale", "enlargement", "degradation", "hr_sha256"]
    ordered = chosen.sort_values(["photograph", "scale"])
    names, scales = ordered["photograph"].astype(str), ordered["scale"].astype(int)
    shown = [
        (pictures.size(name, 1), zlib.crc32(pictures.picture(name, scale).data))
        for name, scale in zip(names, scales, strict=True)
    ]
    return digest("mean RGB PSNR", ordered[columns].astype(str).to_numpy().tolist(), shown)


def protocol_of(pair: Any) -> str:
    """The degradation, or `report` for pixelated input that is as large as the output."""
    return PIXELATED if int(pair.enlargement) == 1 else str(pair.degradation)


def _predictions(
    network: Network, chosen: pd.DataFrame, pictures: PictureStore
) -> Iterator[_Prediction]:
    from isr_pipeline.inference.predict import Predictor
    from isr_pipeline.networks import scales_of

    missing = sorted(set(chosen["enlargement"]) - set(scales_of(network)))
    if missing:
        raise ProjectError(
            f"the network '{network.name}' was trained for scales {scales_of(network)}, not for "
            f"{missing}: train it on these pairs, or pair at its scales"
        )
    predictors = {
        scale: Predictor(network, scale) for scale in map(int, set(chosen["enlargement"]))
    }
    for pair in chosen.itertuples(index=False):
        low_res = pictures.picture(str(pair.photograph), int(pair.scale))
        truth = pictures.picture(str(pair.photograph), 1)
        sr = predictors[int(pair.enlargement)](low_res, truth.shape[:2])
        yield _Prediction(pair, low_res, truth, sr)


def _score_on(
    champion: Champion, chosen: pd.DataFrame, pictures: PictureStore, test_digest: str
) -> float:
    if champion.record["test_digest"] == test_digest:
        return float(champion.record["score"])
    logger.info("The champion was judged on other pictures: scoring it on these")
    scales = [int(name.removeprefix("x")) for name in champion.record["psnr_rgb"]]
    its_own = chosen[chosen["scale"].isin(scales)]
    return float(np.mean(list(_psnr_by_scale(champion.network, its_own, pictures).values())))


def _psnr_by_scale(
    network: Network, chosen: pd.DataFrame, pictures: PictureStore
) -> dict[int, float]:
    """Mean RGB PSNR over the pictures, in dB."""
    values: dict[int, list[float]] = {}
    for pair, _, truth, sr in _predictions(network, chosen, pictures):
        values.setdefault(int(pair.scale), []).append(min(psnr(truth, sr), CEILING))
    return {scale: float(np.mean(of_scale)) for scale, of_scale in values.items()}


def _beside_shipped(champion: Champion, chosen: pd.DataFrame, pictures: PictureStore) -> Champion:
    """The champion, with the scores of the package's weights on the same pictures in its record."""
    from isr_pipeline.networks import load_keras_file

    shipped: dict[str, Any] = {}
    for name in champion.record["psnr_rgb"]:
        scale = int(name.removeprefix("x"))
        try:
            card = weights.default(scale, champion.record["protocol"])
            network = load_keras_file(card.path("network.keras"))
        except ProjectError:  # there are none for it
            continue
        seen = card.trained_on & set(chosen["hr_sha256"])
        if seen:
            logger.info(
                "The package's %s (x%d) has seen %d of these pictures and is not measured on them",
                card.name,
                scale,
                len(seen),
            )
            continue
        values = _psnr_by_scale(network, chosen[chosen["scale"] == scale], pictures)
        shipped[name] = {"model": card.name, "psnr_rgb": values[scale]}
    if shipped:
        logger.info(
            "The package's own weights on these pictures: %s",
            ", ".join(
                f"{name} {of_scale['psnr_rgb']:.2f} dB against {own:.2f} dB ({of_scale['model']})"
                for name, own in champion.record["psnr_rgb"].items()
                if (of_scale := shipped.get(name))
            ),
        )
    return Champion(champion.network, {**champion.record, "shipped": shipped})


def _input_as_it_is(
    pair: Any, low_res: Picture, truth: Picture, photographs: PhotoCollection
) -> Picture:
    """The low-resolution file itself where it is as large as the original, else enlarged."""
    if low_res.shape != truth.shape and isinstance(pair.lr_path, str):
        low_res_file = photographs.picture(pair.lr_path, pair.lr_sha256)
        if low_res_file.shape == truth.shape:
            return low_res_file
    return enlarge_nearest(low_res, *truth.shape[:2])


def _bicubic(pair: Any, low_res: Picture, truth: Picture) -> Picture:
    small = block_mean(low_res, int(pair.scale)) if int(pair.enlargement) == 1 else low_res
    return to_uint8(resize_bicubic(small, *truth.shape[:2]))


def _leak_note(chosen: pd.DataFrame, trained_on: list[str]) -> str:
    scored = set(chosen["hr_sha256"])
    leaked = len(scored & set(trained_on))
    if leaked:
        return f"LEAKS: {leaked} of {len(scored)} photographs took part in training"
    return f"{len(scored)} photographs, none of them in training"
