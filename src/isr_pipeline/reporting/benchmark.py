"""The benchmark's tables in Markdown and its plots of PSNR against cost."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox

BASELINE, NETWORK, QUOTED = "baseline", "network", "quoted"
TRAINING = ("data", "command", "seconds", "machine")
"""What tables say of a network's training."""
PROTOCOLS = {
    "bicubic": "Small pictures by antialiased bicubic reduction (MATLAB's `imresize`), the field's "
    "protocol.",
    "unsplash": 'Small pictures as the Kaggle data set "Image Super Resolution - from Unsplash" '
    "makes them: the cell means, rounded half to even, of its pixelated JPEG files. The input as "
    "it is are those files, or the nearest neighbours where a set has none.",
    "realistic": "Small pictures by random blur, reduction, noise and JPEG with a fixed seed.",
    "jpeg70": "Small pictures by antialiased bicubic reduction, then a JPEG of quality 70.",
}
BORDER = (
    "Y PSNR and SSIM after cropping a border of `scale` pixels, RGB PSNR over the whole picture; "
    "all of uint8 pictures, all means of per-picture values."
)
NETWORK_COLOUR, QUOTED_COLOUR, BASELINE_COLOUR = "#4477aa", "#cc6677", "#777777"

Formatter = Callable[[Any], str]


def main_score(protocol: str) -> str:
    """What a protocol ranks by: `rgb` for `unsplash`, whose files are colour JPEGs, else `y`."""
    return "rgb" if protocol == "unsplash" else "y"


def markdown_table(table: pd.DataFrame, formats: dict[str, tuple[str, Formatter]]) -> str:
    """A table in Markdown.

    Args:
        table: holds the columns of `formats`.
        formats: heading and text of each column that is shown; columns without any value are not.
    """
    shown = {name: form for name, form in formats.items() if table[name].notna().any()}
    lines = [
        "| " + " | ".join(heading for heading, _ in shown.values()) + " |",
        "|" + "---|" * len(shown),
    ]
    for row in table[list(shown)].itertuples(index=False):
        cells = [
            "" if pd.isna(value) else text(value)
            for value, (_, text) in zip(row, shown.values(), strict=True)
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def benchmark_markdown(summary: pd.DataFrame) -> str:
    """A section for each protocol: a table for each set, then how every row came about.

    Args:
        summary: as the benchmark's `summarise_benchmark` gives it, or several of them joined.
    """
    sections = []
    for protocol, rows in _in_order(summary):
        parts = [f"## Protocol `{protocol}`", f"{PROTOCOLS.get(protocol, '')} {BORDER}".strip()]
        notes: list[str] = []
        numbered = rows.assign(how=[_note_number(row, notes) for row in rows.to_dict("records")])
        for name, of_set in numbered.groupby("set", sort=False):
            pictures = " or ".join(
                str(int(number)) for number in sorted(of_set["pictures"].dropna().unique())
            )
            parts += [f"### {name} ({pictures} pictures)", _set_table(protocol, of_set)]
        if notes:
            parts.append("How the networks were trained:")
            parts.append("\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1)))
        parts.append(_measured_by(rows))
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections) + "\n"


def draw_cost_plots(summary: pd.DataFrame) -> dict[str, Figure]:
    """PSNR against multiply-adds, a figure for each protocol with one panel a set and scale.

    Quoted figures have markers of their own. A protocol without any network has no figure.
    """
    figures = {}
    for protocol, rows in _in_order(summary):
        groups = [
            (place, group)
            for place, group in rows.groupby(["set", "scale"], sort=False)
            if group.loc[group["kind"] == NETWORK, "multiply_adds_g"].notna().any()
        ]
        if not groups:
            continue
        columns = min(len(groups), 3)
        lines = -(-len(groups) // columns)
        figure = Figure(figsize=(5.4 * columns, 4.2 * lines), layout="constrained")
        for number, ((name, scale), group) in enumerate(groups):
            axes = figure.add_subplot(lines, columns, number + 1)
            axes.set_title(f"{name}, x{scale}, {protocol}", fontsize=10, parse_math=False)
            _plot_costs(axes, group, f"psnr_{main_score(protocol)}")
        figure.draw_without_rendering()  # places the axes
        for axes in figure.axes:
            _part_names(axes)
        figures[protocol] = figure
    return figures


def _in_order(summary: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    known = [name for name in PROTOCOLS if (summary["protocol"] == name).any()]
    for protocol in known:
        yield protocol, summary[summary["protocol"] == protocol]


def _set_table(protocol: str, rows: pd.DataFrame) -> str:
    table = rows.assign(model=[_model_cell(row) for row in rows.to_dict("records")])
    decibels: Formatter = "{:.2f}".format
    gain: Formatter = "{:+.2f}".format
    brightness = {"psnr_y": ("Y PSNR", decibels), "ssim_y": ("SSIM", "{:.4f}".format)}
    if main_score(protocol) == "rgb":
        quality = {
            "psnr_rgb": ("RGB PSNR", decibels),
            "psnr_rgb_median": ("median", decibels),
            "gain_rgb": ("gain", gain),
            "gain_rgb_median": ("median gain", gain),
            **brightness,
        }
    else:
        quality = {**brightness, "gain_y": ("gain", gain)}
    engines = _engines(table)
    costs = {f"{name}_seconds": (f"{name} s", _seconds) for name in engines}
    costs |= {f"{name}_peak_mib": (f"{name} MiB", "{:.0f}".format) for name in engines}
    return markdown_table(
        table,
        {
            "scale": ("scale", "x{}".format),
            "model": ("model", str),
            "parameters": ("parameters", _count),
            "multiply_adds_g": ("G multiply-adds", "{:.3g}".format),
            **quality,
            **costs,
            "how": ("how", "{:.0f}".format),
        },
    )


def _model_cell(row: dict[str, Any]) -> str:
    if row["kind"] == QUOTED:
        return f"*{row['model']}, quoted: {row['source']}*"
    if row["kind"] == BASELINE:
        return str(row["model"])
    name = f"**{row['model']}{'+' if row['self_ensemble'] else ''}**"
    against = row["trained_against"]
    foreign = isinstance(against, str) and against not in ("", row["protocol"])
    ensemble = " (x8 self-ensemble)" if row["self_ensemble"] else ""
    return name + (f", trained against `{against}`" if foreign else "") + ensemble


def _note_number(row: dict[str, Any], notes: list[str]) -> float:
    if row["kind"] != NETWORK:
        return math.nan
    known: dict[str, Any] = {
        name: row.get(f"training_{name}")
        for name in TRAINING
        if not pd.isna(row.get(f"training_{name}"))
    }
    parts = [f"`{known['command']}`"] if "command" in known else []
    parts += [f"on {known['data']}"] if "data" in known else []
    parts += [f"{float(known['seconds']):,.0f} seconds"] if "seconds" in known else []
    parts += [f"on {known['machine']}"] if "machine" in known else []
    note = ", ".join(parts) or "not recorded"
    if note not in notes:
        notes.append(note)
    return notes.index(note) + 1


def _measured_by(rows: pd.DataFrame) -> str:
    runs = rows[["command", "machine"]].dropna().drop_duplicates()
    commands = "; ".join(f"`{run.command}` on {run.machine}" for run in runs.itertuples())
    parts = [f"Measured by {commands}."]
    sizes = rows.loc[rows["kind"] == NETWORK, "output_size"].dropna().unique()
    if len(sizes):
        parts.append(
            f"Multiply-adds and seconds are for one picture of {' or '.join(sizes)} pixels "
            "(seconds for as much of it as is a multiple of the scale), memory is the peak of a "
            "process that makes this picture again and again and nothing else, libraries included. "
            "Seconds compare within these tables alone."
        )
    loads = rows.loc[rows["kind"] == NETWORK, "load"].dropna().unique()
    if len(loads) and _engines(rows):
        parts.append(
            "Load of the machine before timing: "
            f"{' and '.join(f'{load:.1f}' for load in loads)} (idle: 0)."
        )
    for engine in _engines(rows):
        precisions = sorted(rows[f"{engine}_precision"].dropna().unique())
        if precisions:
            parts.append(f"{engine} computed in {' and '.join(precisions)}.")
    if (rows["kind"] == QUOTED).any():
        parts.append(
            "Rows in italics are quoted from the literature "
            "(conf/base/parameters_literature.yml), not measured here; SRCNN, FSRCNN, ESPCN and "
            "VDSR enlarge luma alone."
        )
    return " ".join(parts)


def _engines(table: pd.DataFrame) -> list[str]:
    return [name.removesuffix("_peak_mib") for name in table if name.endswith("_peak_mib")]


def _plot_costs(axes: Axes, rows: pd.DataFrame, score: str) -> None:
    for kind, marker, colour, label in (
        (NETWORK, "o", NETWORK_COLOUR, "measured here"),
        (QUOTED, "x", QUOTED_COLOUR, "quoted"),
    ):
        points = rows[(rows["kind"] == kind) & rows["multiply_adds_g"].notna()]
        points = points[points[score].notna()]
        if points.empty:
            continue
        axes.scatter(
            points["multiply_adds_g"], points[score], marker=marker, color=colour, label=label
        )
        for point in points.to_dict("records"):
            name = f"{point['model']}{'+' if point['self_ensemble'] else ''}"
            place = (point["multiply_adds_g"], point[score])
            axes.annotate(
                name,
                place,
                xytext=(0, 0),
                textcoords="offset points",
                fontsize=7,
                color=colour,
                parse_math=False,
                arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colour, "shrinkA": 0},
            )
    bicubic = rows.loc[(rows["kind"] == BASELINE) & (rows["model"] == "bicubic"), score]
    for value in bicubic:
        axes.axhline(value, color=BASELINE_COLOUR, ls="--", lw=1, label="bicubic")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("multiply-adds, 1e9")
    axes.set_ylabel("RGB PSNR, dB" if score == "psnr_rgb" else "Y PSNR, dB")
    axes.margins(x=0.18, y=0.1)  # room for the names
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _part_names(axes: Axes) -> None:
    """Move the names of points beside them, each where it covers least of what is there already."""
    inside = axes.get_window_extent()
    legend = axes.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    for points in axes.collections:
        for x, y in axes.transData.transform(points.get_offsets()):
            taken.append(Bbox.from_bounds(x - 4, y - 4, 8, 8))
    names = [text for text in axes.texts if isinstance(text, Annotation)]
    for name in sorted(names, key=lambda text: text.xy[0]):
        options = []
        for place in product(BESIDE, ABOVE):
            _place(name, *place)
            box = Text.get_window_extent(name)  # the annotation's has its line as well
            covered = sum(_area(Bbox.intersection(box, other)) for other in taken)
            outside = _area(box) - _area(Bbox.intersection(box, inside))
            distance = 2 * abs(place[1])  # as much as a little overlap
            options.append((covered + 2 * outside + distance, place, box))
        _, place, box = min(options, key=lambda option: option[0])
        _place(name, *place)
        taken.append(box)


BESIDE: dict[int, Literal["left", "right", "center"]] = {5: "left", -5: "right", 0: "center"}
ABOVE = (3, -9, 12, -18, 22, -28)
"""Where names may stand, in points from theirs."""


def _place(name: Annotation, right: int, up: int) -> None:
    name.set_position((right, up))
    name.set_horizontalalignment(BESIDE[right])


def _area(box: Bbox | None) -> float:
    return 0.0 if box is None else float(box.width * box.height)


def _count(number: float) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} K"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
