"""The literature's rows, beside what was measured."""

import math

import pandas as pd

from isr_pipeline.pipelines.benchmark.parameters import LiteratureParameters
from isr_pipeline.reporting.benchmark import BASELINE, NETWORK, QUOTED

TABLE = ["protocol", "set", "scale"]
SIZE = "1280x720"
"""Of the output that the literature counts multiply-adds for."""


def with_literature(
    summary: pd.DataFrame, literature: LiteratureParameters, size: str = SIZE
) -> pd.DataFrame:
    """A benchmark's summary with the quoted rows of its sets and scales, in the order of tables.

    Args:
        summary: quoted rows that it has already are replaced.
        literature: what is quoted.
        size: of the output, as `1280x720`, that multiply-adds are to be given for.
    """
    measured = summary[summary["kind"] != QUOTED]
    share = _pixels(size) / _pixels(SIZE)
    rows = []
    tables = measured.loc[measured["protocol"] == "bicubic", TABLE].drop_duplicates()
    for place in tables.itertuples(index=False):
        for quoted in literature.rows:
            scale = f"x{place.scale}"
            values = quoted.scores.get(place.set, {}).get(scale)
            if values is None:
                continue
            rows.append(
                {
                    **place._asdict(),
                    "kind": QUOTED,
                    "model": quoted.model,
                    "trained_against": "bicubic",
                    "self_ensemble": False,
                    "psnr_y": values[0],
                    "ssim_y": values[1] if len(values) > 1 else math.nan,
                    "parameters": quoted.parameters.get(scale, math.nan),
                    "output_size": size,
                    "multiply_adds_g": quoted.multiply_adds_g.get(scale, math.nan) * share,
                    "source": quoted.source,
                }
            )
    columns = list(dict.fromkeys([*measured.columns, "source"]))
    whole = pd.concat([measured, pd.DataFrame(rows, columns=columns)], ignore_index=True)
    whole["order"] = whole["kind"].map({BASELINE: 0, NETWORK: 1, QUOTED: 2})
    whole = whole.sort_values([*TABLE, "order"], kind="stable").drop(columns="order")
    return whole.reset_index(drop=True)


def _pixels(size: str) -> int:
    width, _, height = size.partition("x")
    return int(width) * int(height)
