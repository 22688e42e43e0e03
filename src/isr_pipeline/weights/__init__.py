"""The weights that come with the package: which there are, and loading them by name.

A set is a folder beside this file, `subpixel-small_bicubic_x2` or `autoencoder_unsplash`, with

- `network.keras`: the folded network, weights rounded to half precision;
- `x2.xml`, `x2.bin`, ...: the same for OpenVINO, one graph for each scale;
- `trained_on.json`: the SHA-256 of every photograph that it, and what it started from, has seen;
- `card.json`: what it is, what it was trained on and how, how it scores, and the SHA-256 of the
  other files, which is checked whenever one is used.

Nothing here imports Keras or OpenVINO before a network is loaded.
"""

import hashlib
import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isr_pipeline.errors import ProjectError, check_word
from isr_pipeline.imaging.recipe_names import DEGRADATIONS

if TYPE_CHECKING:
    import keras

FOLDER = Path(__file__).parent
TRAINED_ON = "trained_on.json"
REALISTIC = "realistic"
"""What is meant when nobody says a degradation."""
DEFAULT_ORDER = ("subpixel-small", "subpixel-medium", "subpixel-tiny", "autoencoder")
"""Which name is taken for a scale when nobody chooses: the best for its cost."""


@dataclass(frozen=True)
class Card:
    """What is known of one set of weights.

    Attributes:
        folder: where its files are.
        facts: the content of `card.json`.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the folder: `<name>_<degradation>`, and `_x<scale>` where it has one scale."""
        return self.folder.name

    @property
    def name(self) -> str:
        """Name of the network with its size, such as `subpixel-small`."""
        return str(self.facts["name"])

    @property
    def degradation(self) -> str:
        """What the low-resolution pictures that it was trained on were made with."""
        return str(self.facts["degradation"])

    @property
    def scales(self) -> list[int]:
        """The integer factors that it enlarges by."""
        return [int(scale) for scale in self.facts["scales"]]

    @property
    def trained_on(self) -> frozenset[str]:
        """SHA-256 of the photographs that it has seen; empty where the set does not say."""
        if TRAINED_ON not in self.facts["files"]:
            return frozenset()
        return frozenset(json.loads(self.path(TRAINED_ON).read_text()))

    def path(self, file: str) -> Path:
        """Path of one of its files, once its SHA-256 is found to be right.

        Raises:
            ProjectError: when the file is missing, not of the set, or not what was shipped.
        """
        expected = self.facts["files"].get(file)
        path = self.folder / file
        if expected is None or not path.is_file():
            raise ProjectError(
                f"the weights '{self.id}' have no file {file}: install isr_pipeline again"
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ProjectError(
                f"{path} is not the file that was shipped (its SHA-256 differs): "
                "install isr_pipeline again"
            )
        return path


@cache
def _cards(folder: Path) -> tuple[Card, ...]:
    return tuple(
        Card(path.parent, json.loads(path.read_text()))
        for path in sorted(folder.glob("*/card.json"))
    )


def available() -> list[Card]:
    """Every shipped set of weights, by name."""
    return list(_cards(FOLDER))


def names() -> list[str]:
    """The sets' folder names."""
    return [card.id for card in available()]


def named(name: str) -> Card:
    """The set with a folder name.

    Raises:
        ProjectError: when there is none.
    """
    for card in available():
        if card.id == name:
            return card
    raise ProjectError(f"no shipped weights '{name}': there are {', '.join(names()) or 'none'}")


def find(name: str, scale: int | None, degradation: str | None) -> Card:
    """The set for a network's name, a scale and a degradation.

    Args:
        name: such as `subpixel-small` or `autoencoder`.
        scale: the integer factor; None when only one set has the name and degradation.
        degradation: `bicubic`, `unsplash` or `realistic`; None for `realistic` if the network has
            it, else for its only one.

    Raises:
        ProjectError: when there is no such set, saying what there is, or when several fit.
    """
    namesakes = [card for card in available() if card.name == name]
    if not namesakes:
        known = list(dict.fromkeys(card.name for card in available()))
        near = get_close_matches(name, known, 1)
        hint = f"is it {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
        raise ProjectError(f"no shipped weights are called '{name}': {hint}")
    able = [card for card in namesakes if scale is None or scale in card.scales]
    degradations = {card.degradation for card in able}
    if degradation is None:
        degradation = next(iter(degradations)) if len(degradations) == 1 else REALISTIC
    fitting = [card for card in able if card.degradation == degradation]
    if len(fitting) == 1:
        return fitting[0]
    wanted = f"{name} for {degradation}" + ("" if scale is None else f" at scale {scale}")
    if fitting:
        scales = sorted(scale for card in fitting for scale in card.scales)
        raise ProjectError(f"several shipped weights are {wanted}: choose a scale of {scales}")
    raise ProjectError(f"no shipped weights are {wanted}: {name} is {_described(namesakes)}")


def _described(cards: list[Card]) -> str:
    """`for bicubic at x2/x4, for unsplash at x2`."""
    scales: dict[str, list[int]] = {}
    for card in cards:
        scales.setdefault(card.degradation, []).extend(card.scales)
    return ", ".join(
        f"for {degradation} at {'/'.join(f'x{scale}' for scale in sorted(set(of_these)))}"
        for degradation, of_these in scales.items()
    )


def check_choice(scale: int | None, degradation: str | None) -> None:
    """Refuse what is no scale and no degradation, before it is looked for.

    Raises:
        ProjectError: saying what it can be.
    """
    if scale is not None and (not isinstance(scale, Integral) or isinstance(scale, bool)):
        raise ProjectError(f"scale must be a whole number such as 2, not {scale!r}")
    if degradation is not None:
        check_word("degradation", degradation, DEGRADATIONS)


def default(scale: int, degradation: str) -> Card:
    """The set that is used when nobody chooses: the best one for a scale and a degradation.

    Raises:
        ProjectError: when there is none, saying what there is.
    """
    for name in DEFAULT_ORDER:
        for card in available():
            fits = card.degradation == degradation and scale in card.scales
            if card.name == name and fits:
                return card
    fitting = [card for card in available() if card.degradation == degradation]
    there = _described(fitting or available())
    raise ProjectError(
        f"no shipped weights for {degradation} at scale {scale}: "
        f"there are {f'those {there}' if there else 'none'}"
    )


def load_network(
    name: str, scale: int | None = None, degradation: str | None = None
) -> "keras.Model":
    """Load a shipped network, ready to use, without any training.

    Args:
        name: such as `subpixel-small` or `autoencoder`.
        scale: the integer factor; may be left out where the network has several or is the only one.
        degradation: what it was trained against: `bicubic`, `unsplash` or `realistic`; None for
            `realistic` if the network has it, else for its only one.

    Returns:
        The Keras model: `lr`, `(batch, height, width, 3)` in [0, 1], to a dictionary of
        `sr_x<scale>`, not clipped.

    Raises:
        ProjectError: for weights that do not exist, or whose SHA-256 is not the shipped one's, and
            for a champion or a file, which are not the package's.
    """
    from isr_pipeline.networks import load_keras_file

    if str(name).partition(":")[0] == "champion" or str(name).endswith(".keras"):
        raise ProjectError(
            f"load_network has the package's weights alone: Upscaler({str(name)!r}) enlarges with "
            "that network, and networks.load_keras_file opens a file"
        )
    check_choice(scale, degradation)
    return load_keras_file(find(name, scale, degradation).path("network.keras"))
