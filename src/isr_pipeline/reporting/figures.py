"""Figures: learning curves, epoch times, tables as pictures, comparison panels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from isr_pipeline.imaging.arrays import Picture

TRAIN_COLOUR, VALIDATION_COLOUR = "#4477aa", "#cc6677"
PANEL_PIXELS = 1000
"""The longer side that a whole picture in a panel is brought to at most."""


def draw_learning_curves(history: pd.DataFrame) -> Figure:
    """One panel for each figure of the history, training and validation together.

    Args:
        history: one row an epoch; columns `train_<figure>` and `val_<figure>`, and `kept` where it
            is known which epoch's weights are the network's.
    """
    names = [c.removeprefix("val_") for c in history.columns if c.startswith("val_")]
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        for split, colour in (("train", TRAIN_COLOUR), ("val", VALIDATION_COLOUR)):
            if f"{split}_{name}" in history:
                axes.plot(
                    history["epoch"],
                    history[f"{split}_{name}"],
                    color=colour,
                    label=split,
                    marker="o",
                    markersize=2.5,
                )
        for epoch in history.loc[history.get("kept", history["epoch"] < 0), "epoch"]:
            axes.axvline(epoch, color="#777777", lw=1, ls=":", label="kept")
        axes.set_title(name.replace("_", " "))
        _count_along(axes, "epoch")
        axes.ticklabel_format(axis="y", useOffset=False)
        if "loss" in name:
            axes.set_yscale("log")
        if "psnr" in name:
            axes.set_ylabel("dB")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def draw_epoch_times(history: pd.DataFrame) -> Figure:
    """Seconds of each epoch as bars, with the total in the title."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(history["epoch"], history["seconds"], color=TRAIN_COLOUR)
    axes.set_title(f"Training time: {history['seconds'].sum() / 60:.1f} min in all")
    _count_along(axes, "epoch")
    axes.set_ylabel("seconds")
    axes.grid(axis="y", alpha=0.3)
    return figure


def draw_table(table: pd.DataFrame, title: str) -> Figure:
    """A table as a picture; numbers with thousands separators, at the right of their column."""

    def text(value: object) -> str:
        if isinstance(value, float):
            return f"{value:,.1f}" if value else "0"
        return f"{value:,}" if isinstance(value, int | np.integer) else str(value)

    figure = Figure(figsize=(8, 0.4 + 0.23 * (len(table) + 1)), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set_title(title, fontsize=10)
    drawn = axes.table(
        [[text(value) for value in row] for row in table.itertuples(index=False)],
        colLabels=[str(name).replace("_", " ") for name in table.columns],
        cellLoc="left",
        bbox=Bbox.unit(),  # all of the axes
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    drawn.auto_set_column_width(list(range(len(table.columns))))
    for (row, column), cell in drawn.get_celld().items():
        if is_numeric_dtype(table.iloc[:, column]):
            cell.set_text_props(horizontalalignment="right")
        cell.set(edgecolor="0.8", facecolor="0.9" if row == 0 else "none")
    return figure


def draw_contact_sheet(pictures: dict[str, Picture]) -> Figure:
    """Pictures side by side at one size, each with its name and its true size.

    Args:
        pictures: name and `(height, width, 3)` uint8 picture.
    """
    figure = Figure(figsize=(4 * len(pictures), 3.2), layout="constrained")
    for number, (name, picture) in enumerate(pictures.items()):
        axes = figure.add_subplot(1, len(pictures), number + 1)
        axes.imshow(picture, interpolation="nearest")
        title = f"{name}: {picture.shape[1]}x{picture.shape[0]}"
        axes.set_title(title, parse_math=False)  # a name may hold dollars
        axes.axis("off")
    return figure


@dataclass(frozen=True)
class PanelRow:
    """One picture at one scale, as several methods show it.

    Attributes:
        label: at the left, such as `x4, coffee`; of a long one the middle is left out.
        pictures: title and `(height, width, 3)` uint8 picture of each column, the truth last.
        psnr: of each column in dB, None for the truth.
    """

    label: str
    pictures: Sequence[tuple[str, Picture]]
    psnr: Sequence[float | None]


def draw_panels(rows: Iterable[PanelRow], crop: int = 96) -> Figure:
    """Rows of whole pictures, each with its most detailed part zoomed in below it.

    Args:
        rows: each with the same number of columns; no more than one is kept whole.
        crop: side of the zoomed square in pixels.
    """
    shown = [(_Shown.of(row, crop), [_reduced(p) for _, p in row.pictures]) for row in rows]
    columns = len(shown[0][1])
    figure = Figure(figsize=(3.3 * columns, 5.6 * len(shown)), layout="constrained")
    heights = {"height_ratios": [1, 1.45] * len(shown)}
    grid = figure.subplots(2 * len(shown), columns, squeeze=False, gridspec_kw=heights)
    for (row, reduced), wholes, zooms in zip(shown, grid[::2], grid[1::2], strict=True):
        height, width = row.size
        for column, title in enumerate(row.titles):
            whole, zoom = wholes[column], zooms[column]
            whole.imshow(reduced[column], extent=(-0.5, width - 0.5, height - 0.5, -0.5))
            square = Rectangle(row.corner, row.side, row.side, fill=False, color="yellow", lw=1.2)
            whole.add_patch(square)
            zoom.imshow(row.squares[column], interpolation="nearest")
            whole.set_title(title, fontsize=10)
            for axes in (whole, zoom):
                axes.set_xticks([])
                axes.set_yticks([])
        wholes[0].set_ylabel(row.label, fontsize=10, parse_math=False)
    return figure


def draw_crops(rows: Sequence[PanelRow], crop: int = 96) -> Figure:
    """Rows of the most detailed part of each picture, a line for each.

    Args:
        rows: each with the same number of columns.
        crop: side of the square in pixels.
    """
    shown = [_Shown.of(row, crop) for row in rows]
    columns = len(shown[0].titles)
    figure = Figure(figsize=(2.8 * columns, 3.1 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), columns, squeeze=False)
    for line, row in zip(grid, shown, strict=True):
        for axes, title, square in zip(line, row.titles, row.squares, strict=True):
            axes.imshow(square, interpolation="nearest")
            axes.set_title(title, fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(row.label, fontsize=9, parse_math=False)
    return figure


@dataclass(frozen=True)
class _Shown:
    """What figures need of a row beside its whole pictures, which are large."""

    label: str
    titles: list[str]
    squares: list[Picture]
    size: tuple[int, int]
    corner: tuple[int, int]
    side: int

    @classmethod
    def of(cls, row: PanelRow, crop: int) -> Self:
        truth = row.pictures[-1][1]
        side = min(crop, *truth.shape[:2])
        top, left = most_detailed_square(truth, side)
        square = np.s_[top : top + side, left : left + side]
        return cls(
            _shortened(row.label),
            [
                title if psnr is None else f"{title}: {psnr:.2f} dB"
                for (title, _), psnr in zip(row.pictures, row.psnr, strict=True)
            ],
            [picture[square].copy() for _, picture in row.pictures],
            (truth.shape[0], truth.shape[1]),
            (left, top),
            side,
        )


def _reduced(picture: Picture) -> Picture:
    step = -(-max(picture.shape[:2]) // PANEL_PIXELS)
    if step == 1:
        return picture
    size = (max(picture.shape[1] // step, 1), max(picture.shape[0] // step, 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _count_along(axes: Axes, name: str) -> None:
    """Whole numbers along the axis below."""
    axes.set_xlabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _shortened(text: str, most: int = 26) -> str:
    """A text without its middle, where it is too long to stand beside a picture."""
    half = most // 2
    return text if len(text) <= most else f"{text[: half - 1]}...{text[-half:]}"


def most_detailed_square(picture: Picture, side: int) -> tuple[int, int]:
    """Top and left of the square whose grey levels change most from pixel to pixel."""
    grey = picture.astype(np.float32).mean(axis=2)
    change = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    sums: NDArray[np.float64] = np.zeros((change.shape[0] + 1, change.shape[1] + 1))
    sums[1:, 1:] = change.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    step = max(side // 4, 1)
    inner = side - 1
    tops = range(0, picture.shape[0] - side + 1, step)
    lefts = range(0, picture.shape[1] - side + 1, step)

    def detail(place: tuple[int, int]) -> float:
        y, x = place
        return float(
            sums[y + inner, x + inner] - sums[y, x + inner] - sums[y + inner, x] + sums[y, x]
        )

    return max(((y, x) for y in tops for x in lefts), key=detail)


def draw_search_history(trials: pd.DataFrame) -> Figure:
    """PSNR of each trial of a search in the order they ran, with the best so far.

    Args:
        trials: columns `trial`, `state` (`complete`, `pruned`, ...) and `val_psnr` in dB.
    """
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for state, colour in (("complete", TRAIN_COLOUR), ("pruned", VALIDATION_COLOUR)):
        shown = trials[(trials["state"] == state) & trials["val_psnr"].notna()]
        if len(shown):
            axes.scatter(shown["trial"], shown["val_psnr"], s=22, color=colour, label=state)
    complete = trials[trials["state"] == "complete"]
    if len(complete):
        best = complete["val_psnr"].cummax()
        axes.step(complete["trial"], best, where="post", color=TRAIN_COLOUR, label="best so far")
        axes.legend()
    axes.set_title("Search for parameters")
    _count_along(axes, "trial")
    axes.set_ylabel("validation PSNR, mean over scales (dB)")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.3)
    return figure


def draw_search_slices(
    trials: pd.DataFrame, parameters: Sequence[str], logarithmic: Sequence[str] = ()
) -> Figure:
    """One panel for each searched parameter: its values against the PSNR they reached.

    Args:
        trials: columns `trial`, `state`, `val_psnr` in dB and the parameters.
        parameters: the columns to show.
        logarithmic: those of them with a logarithmic axis.
    """
    figure = Figure(figsize=(3.4 * max(len(parameters), 1), 3.4), layout="constrained")
    known = trials[trials["val_psnr"].notna()]
    for number, name in enumerate(parameters):
        axes = figure.add_subplot(1, len(parameters), number + 1)
        values = known[name]
        words = values.isna().any() or not pd.api.types.is_numeric_dtype(values)
        if words:
            values = values.astype(object).where(values.notna(), "null").astype(str)
        for state, marker in (("complete", "o"), ("pruned", "x")):
            rows = known["state"] == state
            points = axes.scatter(
                values[rows],
                known.loc[rows, "val_psnr"],
                c=known.loc[rows, "trial"],
                vmin=0,
                vmax=max(known["trial"].max(), 1),
                marker=marker,
            )
        axes.set_title(name, fontsize=9)
        axes.ticklabel_format(axis="y", useOffset=False)
        if name in logarithmic and len(known) and not words:
            axes.set_xscale("log")
        axes.tick_params(axis="x", which="both", labelrotation=45, labelsize=7)
        if number == 0:
            axes.set_ylabel("validation PSNR (dB)")
        axes.grid(alpha=0.3)
    if parameters:
        figure.colorbar(points, ax=figure.axes, label="trial (cross: pruned)")
    return figure
