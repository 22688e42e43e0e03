"""Photographs -> photo index."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.ingest.nodes import index_photographs, summarise_ingestion


def create_pipeline() -> Pipeline:
    """Decode every file and record which are usable."""
    return Pipeline(
        [
            Node(
                func=index_photographs,
                inputs=["photographs", "params:ingest"],
                outputs="photo_index",
                name="index_photographs",
            ),
            Node(
                func=summarise_ingestion,
                inputs="photo_index",
                outputs="ingestion_summary",
                name="summarise_ingestion",
            ),
        ]
    )
