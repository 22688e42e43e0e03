"""Network -> scores, panels, champion."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.evaluate.nodes import (
    choose_champion,
    compare_with_report,
    draw_comparison,
    score_pictures,
    summarise_scores,
)


def create_pipeline() -> Pipeline:
    """Score the network against interpolation, draw panels, choose the champion."""
    return Pipeline(
        [
            Node(
                func=score_pictures,
                inputs=[
                    "network",
                    "trained_on",
                    "pairs",
                    "pictures",
                    "photographs",
                    "params:evaluate",
                ],
                outputs="picture_scores",
                name="score_pictures",
            ),
            Node(
                func=summarise_scores,
                inputs=["picture_scores", "params:evaluate"],
                outputs=["scores", "score_metrics"],
                name="summarise_scores",
            ),
            Node(
                func=compare_with_report,
                inputs=[
                    "training_history",
                    "training_facts",
                    "trained_on",
                    "picture_scores",
                    "pairs",
                    "params:evaluate",
                ],
                outputs="report_comparison",
                name="compare_with_report",
            ),
            Node(
                func=draw_comparison,
                inputs=["network", "pairs", "pictures", "params:evaluate"],
                outputs="comparison_panels",
                name="draw_comparison",
            ),
            Node(
                func=choose_champion,
                inputs=[
                    "network",
                    "training_facts",
                    "trained_on",
                    "picture_scores",
                    "pairs",
                    "pictures",
                    "present_champion",
                    "params:evaluate",
                ],
                outputs="champion",
                name="choose_champion",
            ),
        ]
    )
