"""docs/results.md, from the measurements that are kept beside it."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from isr_pipeline import weights
from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.benchmark.literature import SIZE, TABLE, with_literature
from isr_pipeline.pipelines.benchmark.models import with_what_came_before
from isr_pipeline.pipelines.benchmark.parameters import ABLATION, LiteratureParameters
from isr_pipeline.reporting.benchmark import (
    NETWORK,
    QUOTED,
    TRAINING,
    benchmark_markdown,
    draw_cost_plots,
    markdown_table,
)

logger = logging.getLogger(__name__)

ABLATION_COLUMNS = ("variant", "command", "seconds", "machine", "val_psnr_db")
ROW = [*TABLE, "kind", "model", "trained_against", "self_ensemble"]
SAME_DB = 0.01
"""What machines and engines may change in the score of one network."""
SHOWN = (
    *("pictures", "psnr_y", "ssim_y", "psnr_rgb", "psnr_rgb_median"),
    *("gain_y", "gain_rgb", "gain_rgb_median"),
    *("parameters", "output_size", "multiply_adds_g", "load", "command", "machine"),
    *(f"training_{name}" for name in TRAINING),
)
HEAD = """# Results

Written by `kedro run --pipelines=results` from the measurements in [`results/`](results): do not
edit. Those are written by the benchmark, `kedro run --pipelines=benchmark` with
`benchmark.keep_as`, in the commands that stand below each protocol's tables. Protocols never share
a table, as their figures do not compare.

Scores are of the networks in Keras, float32. Commands with a recipe called `gpu` were given on a
GPU, with `KERAS_BACKEND=jax` and the pipeline `ship` after them, without it
([`conf/weights`](../conf/weights/globals.yml)); on two cores they would take from one and a half
hours (`small_x2_gpu`) to a day (`medium_x2_gpu`), by the pixels that `recipe=ablation` sees in its
seconds there, with `train.network.subpixel.size=medium` for the latter. The test sets were measured
after each training, for some networks several times while recipes were developed; whatever was
chosen was chosen by validation photographs.
"""

Partitions = dict[str, Callable[[], pd.DataFrame]]


def join_measurements(
    kept_measurements: Partitions, literature: LiteratureParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All kept benchmarks as one table, with the literature beside them, and the ablation.

    A row that stands in several files, such as bicubic's, is taken from the last by name.

    Raises:
        ProjectError: when there is no benchmark, a table lacks a column, or rows do not compare.
    """
    tables = {name: load() for name, load in sorted(kept_measurements.items())}
    ablation = tables.pop(ABLATION, pd.DataFrame(columns=list(ABLATION_COLUMNS)))
    _check(ABLATION, ablation, ABLATION_COLUMNS)
    if not tables:
        raise ProjectError(
            "docs/results holds no benchmark: run kedro run --pipelines=benchmark "
            "--params=benchmark.keep_as=<name> first"
        )
    for name, table in tables.items():
        _check(name, table, [*ROW, *SHOWN])
    joined = pd.concat(
        [table.assign(file=name) for name, table in tables.items()], ignore_index=True
    )
    joined["trained_against"] = joined["trained_against"].fillna("")
    _check_namesakes(joined)
    joined = joined.drop_duplicates(ROW, keep="last").drop(columns="file")
    joined = joined.sort_values("self_ensemble", kind="stable")  # the networks alone first
    _check_pictures(joined)
    return with_literature(joined, literature, _output_size(joined)), ablation


def score_weights(results: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The measured scores of each shipped set of weights, for its card.

    Those of a set of the same name that was trained otherwise, as one that it has replaced, are
    not its own.

    Returns:
        By the set's name, its rows in the protocol it was trained against: `set` (the pictures),
        `scale`, `protocol`, `pictures`, `psnr_y`, `ssim_y`, `psnr_rgb` and `gain_rgb`, in dB.
    """
    ensembles = results["self_ensemble"].fillna(False).astype(bool)
    networks = results[(results["kind"] == "network") & ~ensembles]
    scores: dict[str, list[dict[str, Any]]] = {}
    for card in weights.available():
        fitting = networks[
            (networks["model"] == card.name)
            & (networks["trained_against"] == card.degradation)
            & networks["scale"].isin(card.scales)
            & _was_trained_so(networks, with_what_came_before(card.facts["training"]))
        ]
        scores[card.id] = [
            {
                "set": str(row.set),
                "scale": int(row.scale),
                "protocol": str(row.protocol),
                "pictures": int(row.pictures),
                **{
                    name: round(float(getattr(row, name)), 4)
                    for name in ("psnr_y", "ssim_y", "psnr_rgb", "gain_rgb")
                },
            }
            for row in fitting.itertuples()
        ]
    return scores


def draw_results(results: pd.DataFrame) -> dict[str, Figure]:
    """PSNR against multiply-adds, a figure for each protocol."""
    return {f"cost_{name}.png": plot for name, plot in draw_cost_plots(results).items()}


def write_results(results: pd.DataFrame, ablation: pd.DataFrame) -> str:
    """The page: tables by protocol, how each row came about, and the ablation."""
    parts = [HEAD, benchmark_markdown(results)]
    for protocol in draw_cost_plots(results):
        caption = f"PSNR against multiply-adds, protocol {protocol}"
        parts.append(f"![{caption}](results/cost_{protocol}.png)\n")
    if not ablation.empty:
        parts.append("## Ablation\n")
        parts.append(
            "Y PSNR, means over whole validation photographs, which are not test photographs: "
            "figures compare within this table alone.\n"
        )
        parts.append(
            markdown_table(
                ablation,
                {
                    "variant": ("variant", str),
                    "val_psnr_db": ("validation Y PSNR, dB", "{:.2f}".format),
                    "seconds": ("seconds", "{:,.0f}".format),
                    "command": ("command", "`{}`".format),
                    "machine": ("machine", str),
                },
            )
            + "\n"
        )
    return "\n".join(parts)


def _was_trained_so(networks: pd.DataFrame, training: dict[str, Any]) -> pd.Series:
    same = pd.Series(True, index=networks.index)
    for name in TRAINING:
        same &= networks[f"training_{name}"] == training.get(name)
    return same


def _check_namesakes(joined: pd.DataFrame) -> None:
    """Refuse two networks of one name in one table, of which one would be lost."""
    networks = joined[joined["kind"] == NETWORK]
    for _, rows in networks.groupby(ROW, sort=False):
        if rows[["psnr_y", "psnr_rgb"]].agg(np.ptp).max() > SAME_DB:
            first, *_, last = rows.itertuples()
            raise ProjectError(
                f"docs/results: {first.file}.csv and {last.file}.csv have different networks "
                f"called '{last.model}': remove a file, or measure one under another name"
            )


def _check_pictures(joined: pd.DataFrame) -> None:
    """Refuse rows of one table that are of different pictures."""
    measured = joined[joined["kind"] != QUOTED]
    counts = measured.groupby(TABLE)["pictures"].nunique()
    for protocol, test_set, scale in counts[counts > 1].index:
        raise ProjectError(
            f"docs/results: {test_set} x{scale} ({protocol}) was measured on different numbers of "
            "pictures, as networks have seen some of them: measure all networks in one benchmark"
        )


def _output_size(joined: pd.DataFrame) -> str:
    """Of the output that multiply-adds are given for, where the literature stands beside them."""
    networks = (joined["kind"] == NETWORK) & (joined["protocol"] == "bicubic")
    sizes = joined.loc[networks, "output_size"].dropna().unique()
    if len(sizes) > 1:
        raise ProjectError(
            f"docs/results: networks were measured for outputs of {' and '.join(sizes)}: measure "
            "all with one benchmark.timing"
        )
    return str(sizes[0]) if len(sizes) else SIZE


def _check(name: str, table: pd.DataFrame, columns: list[str] | tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ProjectError(f"docs/results/{name}.csv has no column {', '.join(missing)}")
