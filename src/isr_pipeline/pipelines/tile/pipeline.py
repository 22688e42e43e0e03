"""Pairs and pictures -> tile index."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.tile.nodes import index_tiles


def create_pipeline() -> Pipeline:
    """Lay tiles over the training and validation pictures."""
    return Pipeline(
        [
            Node(
                func=index_tiles,
                inputs=["pairs", "pictures", "params:tile"],
                outputs="tiles",
                name="index_tiles",
            ),
        ]
    )
