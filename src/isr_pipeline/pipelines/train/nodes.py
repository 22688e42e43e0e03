"""Training: a network from tiles, with its history."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from isr_pipeline import tracking
from isr_pipeline.networks import Network, import_keras
from isr_pipeline.reporting.figures import draw_epoch_times, draw_learning_curves, draw_table
from isr_pipeline.storage.pictures import PictureStore
from isr_pipeline.training.checkpoints import Checkpoints
from isr_pipeline.training.parameters import TrainParameters


def train_network(
    tiles: pd.DataFrame,
    pictures: PictureStore,
    checkpoints: Checkpoints,
    parameters: TrainParameters,
) -> tuple[Network, pd.DataFrame, dict[str, Any]]:
    """Train the chosen network; figures go to MLflow while it runs.

    Returns:
        The network with its best weights, one row of history an epoch, and facts of the run.
    """
    import_keras()
    from isr_pipeline.training.fit import fit_network

    result = fit_network(tiles, pictures, parameters, checkpoints, tracking.log_epoch)
    return result.network, result.history, result.facts


def describe_network(network: Network) -> tuple[pd.DataFrame, Figure]:
    """The network layer by layer, at its smallest scale, as a table and as a picture."""
    from isr_pipeline.networks import scales_of
    from isr_pipeline.networks.cost import describe_layers

    scale = scales_of(network)[0]
    table = describe_layers(network, scale)
    title = (
        f"{network.name}: {network.count_params():,} parameters, "
        f"{table['multiply_adds_per_pixel'].sum():,.0f} multiply-adds per output pixel at x{scale}"
    )
    return table, draw_table(table, title)


def plot_history(training_history: pd.DataFrame) -> tuple[Figure, Figure]:
    """Learning curves and the time of each epoch."""
    return draw_learning_curves(training_history), draw_epoch_times(training_history)
