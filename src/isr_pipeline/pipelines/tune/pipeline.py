"""Tiles -> better parameters of training."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.tune.nodes import choose_best, plot_search, search_parameters


def create_pipeline() -> Pipeline:
    """Search the parameters of training and draw how it went."""
    return Pipeline(
        [
            Node(
                func=search_parameters,
                inputs=[
                    "tiles",
                    "pairs",
                    "pictures",
                    "study",
                    "tuning_checkpoints",
                    "initial_network",
                    "params:train",
                    "params:tune",
                ],
                outputs="tuning_trials",
                name="search_parameters",
            ),
            Node(
                func=choose_best,
                inputs=["tuning_trials", "params:train", "params:tune"],
                outputs=["tuned_parameters", "tuning_metrics"],
                name="choose_best",
            ),
            Node(
                func=plot_search,
                inputs=["tuning_trials", "params:tune"],
                outputs=["tuning_history", "tuning_slices"],
                name="plot_search",
            ),
        ]
    )
