"""Training: a network from tiles, with its history."""

import logging
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from isr_pipeline import tracking
from isr_pipeline.errors import ProjectError
from isr_pipeline.initial_network import InitialNetwork
from isr_pipeline.machine import command_line
from isr_pipeline.networks import Network, import_keras
from isr_pipeline.pipelines.pair.belonging import check_tiles
from isr_pipeline.reporting.figures import draw_epoch_times, draw_learning_curves, draw_table
from isr_pipeline.storage.pictures import PictureStore
from isr_pipeline.training.checkpoints import Checkpoints
from isr_pipeline.training.parameters import TIME_LIMIT, TrainParameters

logger = logging.getLogger(__name__)


def train_network(
    tiles: pd.DataFrame,
    pairs: pd.DataFrame,
    pictures: PictureStore,
    checkpoints: Checkpoints,
    initial_network: InitialNetwork | None,
    parameters: TrainParameters,
) -> tuple[Network, pd.DataFrame, dict[str, Any], list[str]]:
    """Train the chosen network; figures go to MLflow while it runs.

    Returns:
        The network with its best weights, one row of history an epoch with `kept` for the one whose
        weights they are, facts of the run, and the SHA-256 of every original that was trained on or
        chose the epoch, by the initial network too, so that nothing is ever scored on them
        unnoticed.

    Raises:
        ProjectError: when the tiles were laid over other pairs or another split, or the initial
            network was trained on test photographs.
    """
    usable = check_tiles(tiles, pairs, pictures)
    initial = None if initial_network is None else initial_network.network
    seen = frozenset() if initial_network is None else initial_network.trained_on
    leaked = seen & set(pairs.loc[pairs["split"] == "test", "hr_sha256"])
    if leaked:
        raise ProjectError(
            f"the initial network was trained on {len(leaked)} of the test photographs: start from "
            "another, or divide the photographs as its own training did (split.*)"
        )
    import_keras()
    from isr_pipeline.training.fit import fit_network

    result = fit_network(tiles, pictures, parameters, checkpoints, tracking.log_epoch, initial)
    used = {str(photograph) for photograph in tiles["photograph"].unique()}
    originals = usable.loc[usable["photograph"].isin(used), "hr_sha256"]
    what = {
        "network": parameters.network.label,
        "degradation": ", ".join(sorted(usable["degradation"].unique())),
        "command": command_line(),
    }
    if initial_network is not None:
        what["started_from"] = initial_network.source
    kept = result.history["epoch"] == result.facts["best_epoch"]
    history = result.history.assign(kept=kept)
    return result.network, history, what | result.facts, sorted(seen | set(originals))


def forget_checkpoints(checkpoints: Checkpoints, training_facts: dict[str, Any]) -> None:
    """Delete the finished training's checkpoints, now that all of its results are saved.

    Those of a training that its time limit ended stay: with more time it goes on.
    """
    if training_facts.get("ended_by") == TIME_LIMIT:
        logger.info("Its checkpoints stay: with a higher train.maximum_minutes it goes on")
        return
    checkpoints.of(training_facts["digest"]).forget()


def describe_network(network: Network) -> tuple[pd.DataFrame, Figure]:
    """The network layer by layer, at its smallest scale, as a table and as a picture."""
    from isr_pipeline.networks import scales_of
    from isr_pipeline.networks.cost import describe_layers

    scales = scales_of(network)
    table = describe_layers(network, scales[0])
    title = (
        f"{network.name} at x{scales[0]}: {table['parameters'].sum():,} parameters, "
        f"{table['multiply_adds_per_pixel'].sum():,.0f} multiply-adds per output pixel"
    )
    if network.count_params() > table["parameters"].sum():
        together = " ".join(f"x{scale}" for scale in scales)
        title += f"\n({network.count_params():,} parameters for {together} together)"
    return table, draw_table(table, title)


def plot_history(training_history: pd.DataFrame) -> tuple[Figure, Figure]:
    """Learning curves and the time of each epoch."""
    return draw_learning_curves(training_history), draw_epoch_times(training_history)
