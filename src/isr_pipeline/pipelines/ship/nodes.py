"""Shipping: a trained network becomes a set of weights that comes with the package."""

from typing import Any

from isr_pipeline import weights
from isr_pipeline.datasets.weights import WeightSet
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import Network
from isr_pipeline.pipelines.pair.parameters import PairParameters
from isr_pipeline.pipelines.ship.parameters import ShipParameters
from isr_pipeline.training.parameters import TrainParameters

STATED = ("seconds", "cpu_seconds", "machine", "backend", "precision", "epochs")
"""Of the facts of a training, those that its card states."""


def pack_weights(
    network: Network,
    training_facts: dict[str, Any],
    trained_on: list[str],
    train: TrainParameters,
    pair: PairParameters,
    parameters: ShipParameters,
) -> WeightSet:
    """The network with its model card.

    Returns:
        What the catalog's `weight_set` writes as a folder of `isr_pipeline/weights`.

    Raises:
        ProjectError: when `training_facts` lacks what a card states.
    """
    missing = [fact for fact in STATED if fact not in training_facts]
    if missing:
        raise ProjectError(
            f"training_facts lacks {', '.join(missing)}: an older version of this project trained "
            "this network; train it again before it is shipped"
        )
    name: str = train.network.name
    if name == "subpixel":
        name = f"{name}-{train.network.subpixel.size}"
    training = {
        "data": parameters.data,
        "photographs": len(trained_on),
        "command": parameters.command,
        **{fact: training_facts[fact] for fact in STATED},
    }
    for clock in ("seconds", "cpu_seconds"):
        training[clock] = round(training[clock])
    if parameters.start is not None:
        former = weights.named(parameters.start)
        training["started_from"] = {"set": former.id, **former.facts["training"]}
    facts = {
        "name": name,
        "degradation": pair.degradation,
        "licence": parameters.licence,
        "training": training,
    }
    return WeightSet(network, facts)
