"""Network -> set of weights that comes with the package."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.ship.nodes import pack_weights


def create_pipeline() -> Pipeline:
    """Pack the trained network with its card."""
    return Pipeline(
        [
            Node(
                func=pack_weights,
                inputs=[
                    "network",
                    "training_facts",
                    "trained_on",
                    "pairs",
                    "params:pair",
                    "params:ship",
                ],
                outputs="weight_set",
                name="pack_weights",
            )
        ]
    )
