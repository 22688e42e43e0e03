"""Test sets and networks -> the field's tables, plots and panels."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.benchmark.nodes import (
    draw_benchmark_costs,
    draw_benchmark_panels,
    keep_measurements,
    load_benchmark_models,
    measure_costs,
    open_benchmark_sets,
    score_benchmark,
    summarise_benchmark,
    write_benchmark_tables,
)


def create_pipeline() -> Pipeline:
    """Score and time networks on test sets, and lay the result out."""
    return Pipeline(
        [
            Node(
                func=load_benchmark_models,
                inputs=["champion", "params:benchmark"],
                outputs="benchmark_models",
                name="load_benchmark_models",
            ),
            Node(
                func=open_benchmark_sets,
                inputs=["benchmark_sample", "benchmark_models", "params:benchmark"],
                outputs="benchmark_sets",
                name="open_benchmark_sets",
            ),
            Node(
                func=score_benchmark,
                inputs=["benchmark_models", "benchmark_sets", "params:benchmark"],
                outputs="benchmark_scores",
                name="score_benchmark",
            ),
            Node(
                func=measure_costs,
                inputs=["benchmark_models", "params:benchmark"],
                outputs="benchmark_costs",
                name="measure_costs",
            ),
            Node(
                func=summarise_benchmark,
                inputs=[
                    "benchmark_scores",
                    "benchmark_costs",
                    "params:benchmark",
                    "params:literature",
                ],
                outputs=["benchmark_summary", "benchmark_metrics"],
                name="summarise_benchmark",
            ),
            Node(
                func=write_benchmark_tables,
                inputs="benchmark_summary",
                outputs="benchmark_tables",
                name="write_benchmark_tables",
            ),
            Node(
                func=draw_benchmark_costs,
                inputs="benchmark_summary",
                outputs="benchmark_cost_plots",
                name="draw_benchmark_costs",
            ),
            Node(
                func=draw_benchmark_panels,
                inputs=[
                    "benchmark_models",
                    "benchmark_sets",
                    "benchmark_scores",
                    "params:benchmark",
                ],
                outputs="benchmark_panels",
                name="draw_benchmark_panels",
            ),
            Node(
                func=keep_measurements,
                inputs=["benchmark_summary", "params:benchmark"],
                outputs="kept_measurements",
                name="keep_measurements",
            ),
        ]
    )
