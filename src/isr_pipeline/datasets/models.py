"""Kedro datasets for Keras networks; Keras is imported only when one is loaded or saved."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

from isr_pipeline import tracking, weights
from isr_pipeline.champion import Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import load_keras_file
from isr_pipeline.storage.atomic import replace_file, replace_folder

if TYPE_CHECKING:
    import keras


class KerasModelDataset(AbstractDataset["keras.Model", "keras.Model"]):
    """A Keras model in a `.keras` file, written whole or not at all.

    Args:
        filepath: ends in `.keras`.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "keras.Model":
        return load_keras_file(self._filepath)

    def save(self, data: "keras.Model") -> None:
        with replace_file(self._filepath) as partial:
            data.save(partial)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class InitialNetworkDataset(AbstractDataset["keras.Model | None", None]):
    """The network that training starts from; None when it starts from random weights.

    Args:
        source: a `.keras` file, a shipped set of weights by its name, or null.
        metadata: for Kedro-Viz and the like.
    """

    optional = True  # most trainings have none

    def __init__(self, source: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._source = source
        self.metadata = metadata

    def load(self) -> "keras.Model | None":
        if self._source is None:
            return None
        if self._source in weights.names():
            return load_keras_file(weights.named(self._source).path("network.keras"))
        path = Path(self._source)
        if not path.is_file():
            raise ProjectError(
                f"initial_network: '{self._source}' is neither a file nor one of the shipped "
                f"weights: {', '.join(weights.names()) or 'none'}"
            )
        return load_keras_file(path)

    def save(self, data: None) -> None:
        raise DatasetError("the initial network is only read")

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source}


class ChampionDataset(AbstractDataset[Champion, Champion | None]):
    """The champion: a folder with `network.keras` and `record.json`.

    Loading asks the model registry first, so that people who share a tracking server share its
    champion, and takes the folder when the registry has none or is away.

    Args:
        filepath: the folder.
        registered_model: its name in the model registry.
        metadata: for Kedro-Viz and the like.
    """

    optional = True  # the first run has no champion to beat

    def __init__(
        self, filepath: str, registered_model: str, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._registered_model = registered_model
        self.metadata = metadata

    def load(self) -> Champion | None:
        registered = tracking.find_champion(self._registered_model)
        if registered is not None:
            path, record = registered
            return Champion(load_keras_file(path), record)
        if not self._exists():
            return None
        record = json.loads((self._filepath / "record.json").read_text())
        return Champion(load_keras_file(self._filepath / "network.keras"), record)

    def save(self, data: Champion) -> None:
        with replace_folder(self._filepath) as partial:
            data.network.save(partial / "network.keras")
            (partial / "record.json").write_text(json.dumps(data.record, indent=2) + "\n")
        if data.record["new"]:
            tracking.crown_champion(self._registered_model, data.network, data.record)

    def _exists(self) -> bool:
        return (self._filepath / "record.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "registered_model": self._registered_model}
