"""Photo index -> pairs and their pictures."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.pair.nodes import (
    check_partners,
    pair_photographs,
    split_photographs,
    store_pictures,
)


def create_pipeline() -> Pipeline:
    """Pair originals with partners, check and split them, and store the pictures."""
    return Pipeline(
        [
            Node(
                func=pair_photographs,
                inputs=["photo_index", "params:pair"],
                outputs="candidate_pairs",
                name="pair_photographs",
            ),
            Node(
                func=check_partners,
                inputs=["candidate_pairs", "photographs", "params:pair"],
                outputs="checked_pairs",
                name="check_partners",
            ),
            Node(
                func=split_photographs,
                inputs=["checked_pairs", "params:split"],
                outputs="pairs",
                name="split_photographs",
            ),
            Node(
                func=store_pictures,
                inputs=["pairs", "photographs", "params:pair"],
                outputs="pictures",
                name="store_pictures",
            ),
        ]
    )
