import io

import numpy as np
import pandas as pd
from PIL import Image

from conftest import made_photograph
from isr_pipeline.reporting.figures import (
    PanelRow,
    draw_crops,
    draw_epoch_times,
    draw_learning_curves,
    draw_panels,
    draw_search_history,
    draw_search_slices,
    draw_table,
    most_detailed_square,
)

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "seconds": [60.0, 30.0, 30.0],
        "train_loss": [0.3, 0.2, 0.1],
        "val_loss": [0.4, 0.3, 0.2],
        "val_psnr_x2": [30.0, 31.0, 32.0],
    }
)


def rendered(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer))


def test_learning_curves_show_both_splits():
    figure = draw_learning_curves(HISTORY)
    loss, psnr = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[0.3, 0.2, 0.1], [0.4, 0.3, 0.2]]
    assert [line.get_label() for line in loss.lines] == ["train", "val"]
    assert len(psnr.lines) == 1
    assert psnr.get_ylabel() == "dB"
    assert rendered(figure).std() > 0


def test_learning_curves_mark_the_epoch_that_was_kept():
    figure = draw_learning_curves(HISTORY.assign(kept=[False, True, False]))
    for axes in figure.axes:
        (mark,) = (line for line in axes.lines if line.get_label() == "kept")
        assert list(mark.get_xdata()) == [2, 2]


def test_epoch_times_name_the_total():
    axes = draw_epoch_times(HISTORY).axes[0]
    assert "2.0 min" in axes.get_title()
    assert [bar.get_height() for bar in axes.patches] == [60.0, 30.0, 30.0]


def test_a_table_shows_every_cell():
    table = pd.DataFrame({"layer": ["a"], "parameters": [1110403], "cost": [2.25]})
    cells = draw_table(table, "title").axes[0].tables[0].get_celld()
    texts = [cell.get_text().get_text() for cell in cells.values()]
    assert texts == ["a", "1,110,403", "2.2", "layer", "parameters", "cost"]


def test_the_most_detailed_square_is_found():
    picture = np.full((120, 160, 3), 100, np.uint8)
    picture[64:96, 96:128] = made_photograph(32, 32, seed=0) // 2 * 2 ^ 85
    top, left = most_detailed_square(picture, 32)
    assert abs(top - 64) <= 8
    assert abs(left - 96) <= 8


def test_panels_have_a_whole_and_a_zoom_for_each_picture_with_its_psnr():
    truth = made_photograph(120, 160, seed=1)
    row = PanelRow("cat, x2", [("bicubic", truth), ("truth", truth)], [31.256, None])
    figure = draw_panels([row, row])
    assert len(figure.axes) == 8
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["bicubic: 31.26 dB", "truth"] * 2
    assert rendered(figure).std() > 0


def test_a_large_picture_is_kept_small_in_its_figure_and_its_name_may_hold_dollars():
    truth = made_photograph(2100, 1500, seed=1)
    figure = draw_panels(iter([PanelRow("cash_$1$^x", [("truth", truth)], [None])]))
    whole, zoom = (axes.images[0].get_array() for axes in figure.axes)
    assert (whole.shape, zoom.shape) == ((700, 500, 3), (96, 96, 3))
    square = figure.axes[0].patches[0]
    x, y = square.get_xy()
    assert np.array_equal(zoom, truth[y : y + 96, x : x + 96])
    assert figure.axes[0].images[0].get_extent() == [-0.5, 1499.5, 2099.5, -0.5]
    assert rendered(figure).std() > 0


def test_crops_show_the_same_detail_of_every_column():
    truth = np.full((120, 160, 3), 100, np.uint8)
    truth[64:96, 96:128] = made_photograph(32, 32, seed=0) // 2 * 2 ^ 85
    row = PanelRow("best: cat", [("bicubic", 255 - truth), ("truth", truth)], [31.256, None])
    figure = draw_crops([row, row], crop=32)
    assert [axes.get_ylabel() for axes in figure.axes] == ["best: cat", ""] * 2
    assert [axes.get_title() for axes in figure.axes[:2]] == ["bicubic: 31.26 dB", "truth"]
    shown, detail = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert detail.shape == (32, 32, 3)
    assert np.array_equal(shown, 255 - detail)
    assert detail.std() > 20


def test_values_that_are_nothing_stand_beside_the_others():
    trials = pd.DataFrame(
        {
            "trial": [0, 1, 2],
            "state": ["complete"] * 3,
            "val_psnr": [30.0, 31.0, 31.5],
            "average": [0.99, None, None],
        }
    )
    figure = draw_search_slices(trials, ["average"], ["average"])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.99", "null"]
    shown = sorted(y for points in axes.collections for _, y in points.get_offsets())
    assert shown == [30.0, 31.0, 31.5]


def test_a_search_without_any_figure_is_drawn_all_the_same():
    trials = pd.DataFrame(
        {"trial": [0, 1], "state": ["pruned", "fail"], "val_psnr": [None, None], "rate": [0.1, 1.0]}
    )
    figure = draw_search_slices(trials, ["rate"], ["rate"])
    figure.draw_without_rendering()
    draw_search_history(trials).draw_without_rendering()
