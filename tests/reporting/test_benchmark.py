import pandas as pd
from matplotlib.text import Text

from isr_pipeline.reporting.benchmark import draw_cost_plots, main_score, markdown_table


def test_a_table_leaves_out_empty_columns_and_cells_and_escapes_bars():
    table = pd.DataFrame({"a": ["x|y", None], "b": [None, None], "c": [1.234, 2.0]})
    text = markdown_table(table, {"c": ("C", "{:.1f}".format), "b": ("B", str), "a": ("A", str)})
    assert text.split("\n") == ["| C | A |", "|---|---|", "| 1.2 | x\\|y |", "| 2.0 |  |"]


def test_colour_jpegs_are_ranked_by_colour():
    assert [main_score(name) for name in ("bicubic", "unsplash", "jpeg70")] == ["y", "rgb", "y"]


def test_there_is_no_plot_without_a_network():
    row = {"protocol": "bicubic", "set": "a", "scale": 2, "kind": "quoted", "model": "m"}
    summary = pd.DataFrame([{**row, "multiply_adds_g": 5.0, "psnr_y": 37.0}])
    assert draw_cost_plots(summary) == {}


def test_names_of_crowded_points_cover_neither_each_other_nor_the_edge():
    place = {"protocol": "bicubic", "set": "Set5", "scale": 2, "self_ensemble": False}
    costs = [4.7, 4.8, 5.0, 6.0, 88.0, 91.0, 94.0, 600.0]
    rows = [
        {**place, "kind": "network" if n % 2 else "quoted", "model": f"a-network-{n}"}
        | {"multiply_adds_g": cost, "psnr_y": 37 + n / 50}
        for n, cost in enumerate(costs)
    ]
    figure = draw_cost_plots(pd.DataFrame(rows))["bicubic"]
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert len(boxes) == len(costs)
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert axes.get_window_extent().contains(box.x0, box.y0)
        assert axes.get_window_extent().contains(box.x1, box.y1)
