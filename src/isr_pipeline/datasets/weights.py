"""The folder of a set of shipped weights, written from a trained network."""

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

from isr_pipeline.datasets.paths import local_path
from isr_pipeline.errors import ProjectError
from isr_pipeline.storage.atomic import replace_file, replace_folder
from isr_pipeline.weights import TRAINED_ON

if TYPE_CHECKING:
    import keras

NETWORK = "network.keras"


@dataclass(frozen=True)
class WeightSet:
    """A trained network and what is known of it beside what it says itself.

    Attributes:
        network: the folded Keras model.
        facts: `name`, `degradation`, `licence` and `training` of the card.
        trained_on: SHA-256 of the photographs that it has seen.
    """

    network: "keras.Model"
    facts: dict[str, Any]
    trained_on: list[str]


def check_can_ship() -> None:
    """See before a training whether its network could be shipped after it.

    Raises:
        ProjectError: saying what is missing.
    """
    from isr_pipeline.inference.engines import openvino_is_installed

    if not openvino_is_installed():
        raise ProjectError("shipping writes OpenVINO graphs: pip install 'isr_pipeline[openvino]'")
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise ProjectError(
            f"shipping needs Keras on TensorFlow, and KERAS_BACKEND is {backend}: train with it "
            "(--pipelines=prepare,train), then run --pipelines=ship without it"
        )


class WeightSetDataset(AbstractDataset[WeightSet, None]):
    """Writes a set of weights as a folder of its own, named by what it is.

    Args:
        filepath: the folder that holds the sets.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def save(self, data: WeightSet) -> None:
        write_weight_set(self._filepath, data)

    def load(self) -> None:
        raise DatasetError("shipped weights are loaded by name: isr_pipeline.load_network")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class WeightScoresDataset(AbstractDataset[dict[str, list[dict[str, Any]]], None]):
    """Puts measured scores into the cards of the sets that are there.

    Args:
        filepath: the folder that holds the sets.
        metadata: for Kedro-Viz and the like.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = local_path(filepath)
        self.metadata = metadata

    def save(self, data: dict[str, list[dict[str, Any]]]) -> None:
        for name, scores in data.items():
            path = self._filepath / name / "card.json"
            if scores and path.is_file():
                card = json.loads(path.read_text()) | {"scores": scores}
                with replace_file(path) as partial:
                    partial.write_text(json.dumps(card, indent=2) + "\n")

    def load(self) -> None:
        raise DatasetError("scores are read from the cards: isr_pipeline.weights")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


def write_weight_set(folder: Path, weight_set: WeightSet) -> Path:
    """Write `network.keras`, a graph for OpenVINO for each scale, what it saw, and `card.json`.

    Weights are rounded to half precision first, so that every file holds the same network.

    Args:
        folder: holds the sets.
        weight_set: what is written. Its network is changed by the rounding.

    Returns:
        The set's own folder.
    """
    import numpy as np

    from isr_pipeline.inference.export import export_openvino
    from isr_pipeline.networks import scales_of
    from isr_pipeline.networks.cost import multiply_adds_per_pixel
    from isr_pipeline.networks.reach import reach_of

    network, facts = weight_set.network, weight_set.facts
    network.set_weights([w.astype(np.float16).astype(np.float32) for w in network.get_weights()])
    scales = scales_of(network)
    reaches = {scale: reach_of(network, scale) for scale in scales}
    name = f"{facts['name']}_{facts['degradation']}"
    if len(scales) == 1:
        name = f"{name}_x{scales[0]}"
    with replace_folder(folder / name) as partial:
        network.save(partial / NETWORK)
        _compress(partial / NETWORK)
        for scale in scales:
            export_openvino(network, scale, partial / f"x{scale}.xml")
        (partial / TRAINED_ON).write_text(json.dumps(weight_set.trained_on, indent=0) + "\n")
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(partial.iterdir())
        }
        card = {
            **{key: facts[key] for key in ("name", "degradation")},
            "scales": scales,
            "parameters": network.count_params(),
            "multiply_adds_per_pixel": {
                str(scale): round(multiply_adds_per_pixel(network, scale), 1) for scale in scales
            },
            "radius": {str(scale): reach.radius for scale, reach in reaches.items()},
            "alignment": reaches[scales[0]].alignment,
            "licence": facts["licence"],
            "training": facts["training"],
            "scores": facts.get("scores", []),
            "files": files,
        }
        (partial / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return folder / name


def _compress(path: Path) -> None:
    """Deflate a `.keras` file: half of the bits of weights rounded to half precision are zero."""
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in content.items():
            # A fixed date: the same network gives the same file.
            archive.writestr(
                zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED
            )
