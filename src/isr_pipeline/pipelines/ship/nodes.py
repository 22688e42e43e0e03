"""Shipping: a trained network becomes a set of weights that comes with the package."""

from typing import Any

from isr_pipeline import weights
from isr_pipeline.datasets.weights import WeightSet
from isr_pipeline.networks import Network
from isr_pipeline.pipelines.pair.parameters import PairParameters
from isr_pipeline.pipelines.ship.parameters import ShipParameters
from isr_pipeline.training.parameters import TrainParameters


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
    """
    name: str = train.network.name
    if name == "subpixel":
        name = f"{name}-{train.network.subpixel.size}"
    training = {
        "data": parameters.data,
        "photographs": len(trained_on),
        "command": parameters.command,
        "seconds": round(training_facts["seconds"]),
        "cpu_seconds": round(training_facts["cpu_seconds"]),
        "machine": training_facts["machine"],
        "backend": training_facts["backend"],
        "precision": training_facts["precision"],
        "epochs": training_facts["epochs"],
    }
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
