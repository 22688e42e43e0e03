"""Tiles -> network and history."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.train.nodes import (
    describe_network,
    forget_checkpoints,
    plot_history,
    train_network,
)


def create_pipeline() -> Pipeline:
    """Train a network and draw how it went."""
    return Pipeline(
        [
            Node(
                func=train_network,
                inputs=[
                    "tiles",
                    "pairs",
                    "pictures",
                    "checkpoints",
                    "initial_network",
                    "params:train",
                ],
                outputs=["network", "training_history", "training_facts", "trained_on"],
                name="train_network",
            ),
            Node(
                func=forget_checkpoints,
                inputs=["checkpoints", "training_facts"],
                outputs=None,
                name="forget_checkpoints",
            ),
            Node(
                func=describe_network,
                inputs="network",
                outputs=["network_layers", "network_table"],
                name="describe_network",
            ),
            Node(
                func=plot_history,
                inputs="training_history",
                outputs=["learning_curves", "epoch_times"],
                name="plot_history",
            ),
        ]
    )
