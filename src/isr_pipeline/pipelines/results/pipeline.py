"""Kept measurements -> docs/results.md."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.results.nodes import (
    draw_results,
    join_measurements,
    score_weights,
    write_results,
)


def create_pipeline() -> Pipeline:
    """Write the page of results from the measurements kept beside it."""
    return Pipeline(
        [
            Node(
                func=join_measurements,
                inputs=["kept_measurements", "params:literature"],
                outputs=["results", "ablation"],
                name="join_measurements",
            ),
            Node(
                func=score_weights,
                inputs="results",
                outputs="weight_scores",
                name="score_weights",
            ),
            Node(
                func=draw_results,
                inputs="results",
                outputs="results_plots",
                name="draw_results",
            ),
            Node(
                func=write_results,
                inputs=["results", "ablation"],
                outputs="results_page",
                name="write_results",
            ),
        ]
    )
