"""Which networks take part, where they come from, and what trained them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from isr_pipeline import weights
from isr_pipeline.champion import Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import Network, fold, load_keras_file, scales_of

logger = logging.getLogger(__name__)

Kind = TypeVar("Kind")

CHAMPION, SHIPPED = "champion", "shipped"
TRAINED_FOR = {"jpeg70": "realistic"}
"""Protocols whose name is not that of the degradation that networks are trained against."""


@dataclass(frozen=True)
class BenchmarkModel:
    """A network that takes part.

    Attributes:
        label: its name in tables.
        network: folded, as it is used.
        degradation: what it was trained against; empty where nobody says.
        anywhere: whether it takes part in every protocol, or only in that of its degradation.
        trained_on: SHA-256 of originals that it has seen, as far as they are known.
        training: `data`, `command`, `seconds` and `machine` of its training, as far as known.
        shipped: folder name of shipped weights, None for others.
    """

    label: str
    network: Network
    degradation: str
    anywhere: bool
    trained_on: frozenset[str]
    training: dict[str, Any]
    shipped: str | None

    @property
    def scales(self) -> list[int]:
        """The scales that it has outputs for."""
        return scales_of(self.network)

    def suits(self, protocol: str, scale: int) -> bool:
        """Whether it takes part in a protocol at a scale."""
        fits = self.anywhere or self.degradation == TRAINED_FOR.get(protocol, protocol)
        return fits and scale in self.scales


def open_models(
    words: Sequence[str],
    champion: Champion | None,
    protocols: Sequence[str],
    scales: Sequence[int],
) -> list[BenchmarkModel]:
    """Load the networks that words name, as far as they suit any of the protocols and scales.

    Args:
        words: see `BenchmarkParameters.models`.
        champion: the champion, if there is one.
        protocols: of the benchmark.
        scales: of the benchmark.

    Raises:
        ProjectError: for a word that names nothing, or nothing that suits. No champion and no
            shipped weights at all are no error: a project begins without.
    """
    models: list[BenchmarkModel] = []
    for word in words:
        suiting = [
            model
            for model in _named(word, champion, protocols, scales)
            if any(model.suits(protocol, scale) for protocol in protocols for scale in scales)
        ]
        if not suiting and word not in (CHAMPION, SHIPPED):
            raise ProjectError(
                f"benchmark.models: '{word}' suits none of the protocols {' '.join(protocols)} at "
                f"any of the scales {' '.join(map(str, scales))}: leave it out, or change "
                "benchmark.protocols or benchmark.scales"
            )
        if not suiting and word == CHAMPION and champion is not None:
            logger.warning("The champion suits none of the protocols and scales: it is left out")
        for model in suiting:
            if model.shipped is None and model.label in {card.name for card in weights.available()}:
                raise ProjectError(
                    f"benchmark.models: '{word}' has the name of shipped weights, {model.label}: "
                    "rename the file, or its folder if it is a network.keras"
                )
            namesakes = [other.shipped for other in models if other.label == model.label]
            if model.shipped is not None and model.shipped in namesakes:
                continue  # named twice
            if namesakes and None in (model.shipped, *namesakes):  # shipped ones differ in scale
                raise ProjectError(
                    f"benchmark.models: two networks are called '{model.label}': rename a file"
                )
            models.append(model)
    for protocol in protocols:
        bare = [s for s in scales if not any(model.suits(protocol, s) for model in models)]
        if models and bare:
            logger.warning(
                "No network that takes part is for %s at %s: interpolation stands there alone",
                protocol,
                " ".join(f"x{scale}" for scale in bare),
            )
    return models


def _named(
    word: str, champion: Champion | None, protocols: Sequence[str], scales: Sequence[int]
) -> Iterator[BenchmarkModel]:
    if word == CHAMPION:
        if champion is None:
            logger.info("There is no champion yet: kedro run trains one")
        else:
            yield _from_champion(champion)
        return
    wanted = {TRAINED_FOR.get(protocol, protocol) for protocol in protocols}
    cards = [card for card in weights.available() if word in (SHIPPED, card.name, card.id)]
    if word == SHIPPED and not cards:
        logger.info("There are no shipped weights")
    for card in cards:
        chosen = card.id == word
        if set(card.scales) & set(scales) and (chosen or card.degradation in wanted):
            yield _from_card(card, chosen)
    if cards or word == SHIPPED:
        return
    path = Path(word) / "network.keras" if Path(word).is_dir() else Path(word)
    if not path.is_file():
        raise ProjectError(
            f"benchmark.models: '{word}' is neither champion, shipped nor a .keras file, nor one "
            f"of the shipped weights: {', '.join(weights.names()) or 'there are none'} (a path "
            "with spaces in it goes into a parameters file)"
        )
    yield _from_file(path)


def _from_champion(champion: Champion) -> BenchmarkModel:
    record = champion.record
    return BenchmarkModel(
        label=f"{CHAMPION} ({champion.network.name})",
        network=fold(champion.network),
        degradation=str(record.get("protocol", "")),
        anywhere=True,
        trained_on=frozenset(record.get("trained_on", [])),
        training=record.get("training", {}),
        shipped=None,
    )


def _from_card(card: weights.Card, chosen: bool) -> BenchmarkModel:
    return BenchmarkModel(
        label=card.id if chosen else card.name,
        network=load_keras_file(card.path("network.keras")),
        degradation=card.degradation,
        anywhere=chosen,
        trained_on=card.trained_on,
        training=with_what_came_before(card.facts.get("training", {})),
        shipped=card.id,
    )


def _from_file(path: Path) -> BenchmarkModel:
    """A `.keras` file, with what stands beside it: its card, a champion's record, what it saw."""
    card = _beside(path, "card.json", _Card, _Card())
    record = _beside(path, "record.json", _Record, _Record())
    trained_on = _beside(path, weights.TRAINED_ON, list[str], record.trained_on)
    return BenchmarkModel(
        label=label_of(path),
        network=fold(load_keras_file(path)),
        degradation=card.degradation or record.protocol,
        anywhere=True,
        trained_on=frozenset(trained_on),
        training={
            **record.training.model_dump(exclude_none=True),
            **card.training.model_dump(exclude_none=True),
        },
        shipped=None,
    )


class _Training(BaseModel):
    """What a card may say of a training."""

    data: str | None = None
    command: str | None = None
    seconds: float | None = None
    machine: str | None = None


class _Card(BaseModel):
    degradation: str = ""
    training: _Training = _Training()


class _Record(BaseModel):
    """What a champion's record says."""

    protocol: str = ""
    trained_on: list[str] = []
    training: _Training = _Training()


def label_of(path: Path) -> str:
    """What a file of a network is called: itself, or `network.keras` as its folder."""
    return path.resolve().parent.name if path.stem == "network" else path.stem


def _beside(path: Path, name: str, kind: type[Kind], without: Kind) -> Kind:
    """A JSON file beside a network, or what stands for none.

    Raises:
        ProjectError: when it holds something else.
    """
    file = path.with_name(name)
    if not file.is_file():
        return without
    try:
        return TypeAdapter(kind).validate_json(file.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise ProjectError(
            f"{file}: {place}{': ' if place else ''}{problem['msg'].lower()}; mend it or remove it"
        ) from None


def with_what_came_before(training: dict[str, Any]) -> dict[str, Any]:
    """A training with those that it started from: all commands in order, seconds in all.

    Where they ran on several machines, each is named with its seconds.
    """
    stages = [training]
    while "started_from" in stages[0]:
        stages.insert(0, stages[0]["started_from"])
    whole = dict(training)
    if len(stages) > 1:
        whole["command"] = "; ".join(str(stage["command"]) for stage in stages)
        whole["seconds"] = sum(stage["seconds"] for stage in stages)
        spent: dict[str, float] = {}
        for stage in stages:
            machine = stage.get("machine", "another machine")
            spent[machine] = spent.get(machine, 0) + stage["seconds"]
        if len(spent) > 1:
            whole["machine"] = " and ".join(f"{m} ({s:,.0f} seconds)" for m, s in spent.items())
    return whole
