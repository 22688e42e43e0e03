import pandas as pd

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
