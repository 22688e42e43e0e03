"""Shipping: a trained network becomes a set of weights that comes with the package."""

import re
import shlex
from typing import Any

import pandas as pd

from isr_pipeline import weights
from isr_pipeline.configuration import FOLDERS
from isr_pipeline.datasets.weights import WeightSet
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import Network, scales_of
from isr_pipeline.pipelines.pair.parameters import PairParameters
from isr_pipeline.pipelines.ship.parameters import ShipParameters

KNOWN = ("network", "degradation", "parameters")
"""Facts of a training that say what was trained, against what."""
STATED = ("seconds", "cpu_seconds", "machine", "backend", "precision", "epochs")
"""Of the facts of a training, those that its card states."""


def _start(training_facts: dict[str, Any], parameters: ShipParameters) -> str | None:
    """The set that a training began with, by what it says itself if it does."""
    said = training_facts.get("started_from")
    is_older = "command" not in training_facts
    if is_older or (said is not None and said not in weights.names()):  # a file, of any set
        return parameters.start
    if parameters.start not in (None, said):
        raise ProjectError(
            f"the training began with {said or 'random weights'}, and ship.start is "
            f"{parameters.start}: set one like the other (initial_network, ship.start)"
        )
    return None if said is None else str(said)


def _without_folder(command: str) -> str:
    """A command that names nobody's folders: neither those of parameters nor any from the root."""
    names = "|".join(FOLDERS)
    words = [
        re.sub(
            r"((?:=|,|^))(?:~|/|[A-Za-z]:[\\/])[^,]*",
            r"\1<path>",
            re.sub(rf"((?:=|,|^)(?:{names})=)[^,]+", r"\1<folder>", word),
        )
        for word in shlex.split(command)
    ]
    return " ".join(
        word if re.search("<(folder|path)>", word) and " " not in word else shlex.quote(word)
        for word in words
    )


def check_recipe(pairs: pd.DataFrame, parameters: PairParameters) -> None:
    """See that the pairs on disk are those that the recipe asks for.

    Raises:
        ProjectError: when they were made for another.
    """
    columns = {"scale": "scales", "degradation": "degradation", "reduction": "reductions"}
    usable = pairs[pairs["status"] == "ok"]
    for column, key in columns.items():
        wanted = getattr(parameters, key)
        wanted = set(wanted) if isinstance(wanted, list) else {wanted}
        if set(usable[column]) != wanted:
            there, asked = (", ".join(map(str, sorted(s))) for s in (set(usable[column]), wanted))
            raise ProjectError(
                f"the pairs on disk are of another recipe (pair.{key} {there}, this one's is "
                f"{asked}): set that as it was, or add prepare and train to --pipelines"
            )


def pack_weights(
    network: Network,
    training_facts: dict[str, Any],
    trained_on: list[str],
    pairs: pd.DataFrame,
    pair: PairParameters,
    parameters: ShipParameters,
) -> WeightSet:
    """The network with its model card.

    Returns:
        What the catalog's `weight_set` writes as a folder of `isr_pipeline/weights`.

    Raises:
        ProjectError: when `training_facts` lacks what a card states, or tells of another network,
            or the pairs are of another recipe.
    """
    check_recipe(pairs, pair)
    missing = [fact for fact in (*KNOWN, *STATED) if fact not in training_facts]
    if missing:
        raise ProjectError(
            f"training_facts lacks {', '.join(missing)}: an older version of this project trained "
            "this network; train it again before it is shipped"
        )
    made = training_facts["degradation"], scales_of(network)
    if made != (pair.degradation, sorted(pair.scales)):
        raise ProjectError(
            f"the network is for {made[0]} pictures at scales {made[1]}, the recipe for "
            f"{pair.degradation} at {sorted(pair.scales)}: add train to --pipelines"
        )
    if training_facts["parameters"] != network.count_params():
        raise ProjectError(
            f"training_facts tells of a network with {training_facts['parameters']:,} parameters, "
            f"the network has {network.count_params():,}: they are of two trainings, train again"
        )
    training = {
        "data": parameters.data,
        "photographs": len(trained_on),
        "command": _without_folder(training_facts.get("command") or parameters.command or ""),
        "digest": training_facts.get("digest", ""),
        **{fact: training_facts[fact] for fact in STATED},
    }
    for clock in ("seconds", "cpu_seconds"):
        training[clock] = round(training[clock])
    start = _start(training_facts, parameters)
    if start is not None:
        former = weights.named(start).facts["training"]
        if former.get("digest", "") == training["digest"] != "":  # this very one, shipped again
            training["started_from"] = former["started_from"]
        else:
            training["started_from"] = {"set": start, **former}
    facts = {
        "name": training_facts["network"],
        "degradation": training_facts["degradation"],
        "licence": parameters.licence,
        "training": training,
    }
    return WeightSet(network, facts, sorted(trained_on))
