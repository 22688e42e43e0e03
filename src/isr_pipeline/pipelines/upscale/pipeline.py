"""Pictures -> larger pictures."""

from kedro.pipeline import Node, Pipeline

from isr_pipeline.pipelines.upscale.nodes import (
    insist_on_results,
    list_pictures,
    upscale_pictures,
)


def create_pipeline() -> Pipeline:
    """Find the pictures, enlarge them, insist on all of them."""
    return Pipeline(
        [
            Node(
                func=list_pictures,
                inputs="params:upscale",
                outputs="pictures_to_upscale",
                name="list_pictures",
            ),
            Node(
                func=upscale_pictures,
                inputs=["pictures_to_upscale", "params:upscale"],
                outputs="upscaled_pictures",
                name="upscale_pictures",
            ),
            Node(
                func=insist_on_results,
                inputs="upscaled_pictures",
                outputs=None,
                name="insist_on_results",
            ),
        ]
    )
