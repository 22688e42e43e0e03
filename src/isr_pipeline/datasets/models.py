"""Kedro datasets for Keras networks; Keras is imported only when one is loaded or saved."""

import json
import logging
import tempfile
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

from isr_pipeline import tracking, weights
from isr_pipeline.champion import Champion
from isr_pipeline.datasets.paths import local_path
from isr_pipeline.errors import ProjectError
from isr_pipeline.initial_network import InitialNetwork
from isr_pipeline.networks import load_keras_file
from isr_pipeline.storage.atomic import recover_folder, replace_file, replace_folder

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)
RECORD = "record.json"
"""A champion's record, beside its `network.keras`."""


class KerasModelDataset(AbstractDataset["keras.Model", "keras.Model"]):
    """A Keras model in a `.keras` file, written whole or not at all.

    Args:
        filepath: ends in `.keras`.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def load(self) -> "keras.Model":
        return load_keras_file(self._filepath)

    def save(self, data: "keras.Model") -> None:
        with replace_file(self._filepath.resolve()) as partial:  # a link stays a link
            data.save(partial)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class InitialNetworkDataset(AbstractDataset[None, InitialNetwork | None]):
    """The network that training starts from; None when it starts from random weights.

    What a file's network was trained on stands in a `trained_on.json`, or a champion's
    `record.json`, beside it.

    Args:
        source: a `.keras` file, a shipped set of weights by its name, or null.
        metadata: for Kedro-Viz and the like.
    """

    optional = True  # most trainings have none

    def __init__(self, source: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._source = source
        self.metadata = metadata

    def check(self) -> None:
        """See that there is what was named, before anything is read.

        Raises:
            ProjectError: when there is not.
        """
        known = weights.names()
        if self._source is None or self._source in known or Path(self._source).is_file():
            return
        near = get_close_matches(self._source, known, 1)
        raise ProjectError(
            f"initial_network: '{self._source}' is neither a file nor one of the shipped weights: "
            + (f"is it {near[0]}?" if near else ", ".join(known) or "none")
        )

    def load(self) -> InitialNetwork | None:
        self.check()
        if self._source is None:
            return None
        if self._source in weights.names():
            card = weights.named(self._source)
            network = load_keras_file(card.path("network.keras"))
            return InitialNetwork(network, card.trained_on, self._source)
        path = Path(self._source)
        return InitialNetwork(load_keras_file(path), _seen_by(path), self._source)

    def save(self, data: None) -> None:
        raise DatasetError("the initial network is only read")

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source}


def _seen_by(network_file: Path) -> frozenset[str]:
    """SHA-256 of the originals that a file's network was trained on, by what lies beside it."""
    trained_on, record = (network_file.with_name(n) for n in (weights.TRAINED_ON, RECORD))
    try:
        if trained_on.is_file():
            return frozenset(json.loads(trained_on.read_text()))
        if record.is_file():
            return frozenset(json.loads(record.read_text())["trained_on"])
    except (KeyError, TypeError, ValueError):
        pass
    logger.warning(
        "initial_network: nothing beside %s says what it was trained on (trained_on.json): "
        "test pictures among that will not be noticed",
        network_file,
    )
    return frozenset()


def _as_json(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=2) + "\n"


class ChampionDataset(AbstractDataset[Champion, Champion | None]):
    """The champion: a folder with `network.keras` and `record.json`.

    Loading asks the model registry first, so that people who share a tracking server share its
    champion, and takes the folder when the registry has none or is away. A champion that was
    crowned while the server was away is in the folder alone, or in another registry: the better of
    the two is loaded where both were judged on the same pictures, else the one crowned last; if it
    keeps its title, the registry learns of it.

    Args:
        filepath: the folder.
        registered_model: its name in the model registry.
        metadata: for Kedro-Viz and the like.
    """

    optional = True  # the first run has no champion to beat

    def __init__(
        self, filepath: str, registered_model: str, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = local_path(filepath)
        self._registered_model = registered_model
        self.metadata = metadata

    def load(self) -> Champion | None:
        recover_folder(self._filepath)
        file = self._filepath / RECORD
        try:
            record = json.loads(file.read_text()) if file.is_file() else None
        except ValueError:
            raise ProjectError(
                f"{file} is damaged: remove the champion's folder, or bring it back"
            ) from None
        with tempfile.TemporaryDirectory(prefix="isr-champion-") as copy:
            registered = tracking.find_champion(self._registered_model, Path(copy))
            if registered is not None:
                path, its_record = registered
                if record is None or not self._holds_against(record, its_record):
                    return Champion(load_keras_file(path), its_record)
        if record is None:
            return None
        if registered is None and record.get("registry") == tracking.registry():
            record["registry"] = None  # it has lost it: a new database, say
        return Champion(load_keras_file(self._filepath / "network.keras"), record)

    def save(self, data: Champion) -> None:
        record = dict(data.record)
        if record["new"]:  # no registry knows it yet
            now = datetime.now(UTC).isoformat(timespec="seconds")
            record |= {"crowned": now, "registry": None}
        with replace_folder(self._filepath) as partial:
            data.network.save(partial / "network.keras")
            (partial / RECORD).write_text(_as_json(record))
        registry = tracking.registry()
        if registry is None or "crowned" not in record or record["registry"] == registry:
            return
        record["registry"] = registry
        if tracking.crown_champion(self._registered_model, data.network, record):
            with replace_file(self._filepath / RECORD) as partial:
                partial.write_text(_as_json(record))

    def _holds_against(self, record: dict[str, Any], registered: dict[str, Any]) -> bool:
        """Whether the folder's champion, which the registry does not know, is the champion."""
        if "crowned" not in record or record["registry"] == tracking.registry():
            return False
        if record["test_digest"] == registered["test_digest"]:
            holds = record["score"] > registered["score"]
        else:
            holds = record["crowned"] > registered.get("crowned", "")
        if holds:
            logger.info(
                "The champion of %s was crowned while this tracking server was away, and stays",
                self._filepath,
            )
        return bool(holds)

    def _exists(self) -> bool:
        return (self._filepath / RECORD).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "registered_model": self._registered_model}
