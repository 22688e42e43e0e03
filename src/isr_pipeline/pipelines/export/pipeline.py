"""Champion -> files that run without Keras."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.export.nodes import export_champion


def create_pipeline() -> Pipeline:
    """Export the champion and hold every file against Keras."""
    return Pipeline(
        [
            Node(
                func=export_champion,
                inputs=["champion", "params:export"],
                outputs=["exported", "export_differences"],
                name="export_champion",
            )
        ]
    )
