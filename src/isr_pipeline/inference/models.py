"""Which network enlarges: shipped weights by name, a champion, or a file."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isr_pipeline.champion import PIXELATED
from isr_pipeline.errors import ProjectError

if TYPE_CHECKING:
    from isr_pipeline.weights import Card

CHAMPION = "champion"
MODELS = "data/06_models"
"""Where a project has the champions of its environments."""


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    Attributes:
        model: what `engines.open_engine` takes: a card of shipped weights or a file.
        description: for people.
        degradation: what it was trained against, as far as that is known.
        record: a champion's own.
        written: when a champion's was, in seconds since 1970.
        environment: a champion's, such as `photos`.
        scales: a champion's.
    """

    model: "Card | Path"
    description: str
    degradation: str | None
    record: dict[str, Any] = field(default_factory=dict)
    written: float = 0.0
    environment: str = ""
    scales: tuple[int, ...] = ()


def project_folder() -> Path:
    """The folder with champions that one works in: the working folder, or one that it lies in.

    Notebooks run in a project's `notebooks/`. Only folders of the working folder's owner are
    looked into, so that nobody else's network is taken from, say, `/tmp`.
    """
    try:
        here = Path.cwd()
        owner = here.stat().st_uid
        for folder in (here, *here.parents):
            if folder.stat().st_uid != owner:
                break
            if (folder / MODELS).is_dir():
                return folder
    except OSError:  # the working folder was deleted
        return Path()
    return here


def choose(model: str | Path | None, scale: int, degradation: str | None, folder: Path) -> Source:
    """Find the network for a name, or for no name at all.

    Args:
        model: name of shipped weights such as `subpixel-small`; `champion`, or `champion:photos`
            for that of an environment; a `.keras` or exported `.xml` file or a champion's folder;
            or None. Without a choice it is the project's champion for this scale and
            degradation (of several the one crowned last) unless shipped weights or interpolation
            were better on its test pictures, else the shipped weights for them, else any champion
            for the scale.
        scale: the integer factor.
        degradation: `bicubic`, `unsplash` or `realistic`; None for `realistic`, or where a network
            is named that is not for it, for what that is for.
        folder: the project's, see `project_folder`.

    Raises:
        ProjectError: when there is no such network, saying what there is.
    """
    from isr_pipeline import weights

    wanted = degradation or weights.REALISTIC
    if model is None:
        champion = find_champion(folder, scale, wanted, unasked=True)
        if champion is not None and champion.degradation == wanted:
            return better_shipped(champion, scale) or champion
        try:
            return _shipped(weights.default(scale, wanted))
        except ProjectError as error:
            if champion is not None:
                return champion
            raise ProjectError(f"{error}; and {_no_champion(folder, scale)}") from None
    word, _, environment = str(model).partition(":")
    if word == CHAMPION:
        champion = find_champion(folder, scale, wanted, environment or None)
        if champion is None:
            raise ProjectError(_no_champion(folder, scale, environment))
        if degradation not in (None, champion.degradation):
            raise ProjectError(
                f"{CHAMPION}:{champion.environment} is for {champion.degradation} pictures, not "
                f"for {degradation} ones: leave the degradation out, or choose another model"
            )
        return champion
    path = Path(model)
    within = path / "network.keras"
    if within.is_file() or (path.is_dir() and path.name != str(model)):  # a name may be a folder's
        path = within
    if path.suffix in (".keras", ".xml"):
        if not path.is_file():
            raise ProjectError(f"there is no network {path}")
        return Source(path, str(path), None)
    return _shipped(weights.find(str(model), scale, degradation))


def _no_champion(folder: Path, scale: int, environment: str = "") -> str:
    """Why there is none for a scale, and what there is."""
    scales = {s.environment: " ".join(f"x{n}" for n in s.scales) for s in _champions(folder)}
    if environment in scales:
        return f"{CHAMPION}:{environment} is for {scales[environment]}: choose one of these scales"
    if not scales:
        return f"there is no champion in {folder}: start in a project's folder, after kedro run"
    known = ", ".join(f"{CHAMPION}:{name} ({of_it})" for name, of_it in scales.items())
    poor = find_champion(folder, scale, "") if not environment else None
    if poor is not None:
        return (
            f"{CHAMPION}:{poor.environment} is no better than bicubic interpolation on its test "
            f"pictures: --model {CHAMPION}:{poor.environment} takes it all the same"
        )
    if environment:
        return f"there is no {CHAMPION}:{environment}: there are {known}"
    return f"no champion is for scale {scale}: there are {known}"


def is_no_better_than_bicubic(champion: Source, scale: int) -> bool:
    """Whether interpolation was as good on the champion's own test pictures, as far as known."""
    try:
        name = f"x{scale}"
        return bool(champion.record["psnr_rgb"][name] <= champion.record["bicubic"][name])
    except (KeyError, TypeError):
        return False


def better_shipped(champion: Source, scale: int) -> Source | None:
    """The shipped weights, where they were better on the champion's own test pictures."""
    from isr_pipeline import weights

    try:
        own = float(champion.record["psnr_rgb"][f"x{scale}"])
        others = float(champion.record["shipped"][f"x{scale}"]["psnr_rgb"])
        card = weights.default(scale, str(champion.degradation))
    except (KeyError, TypeError, ValueError):  # not compared, or none for it
        return None
    if others <= own or card.name != champion.record["shipped"][f"x{scale}"].get("model"):
        return None
    text = (
        f"{card.name}, shipped weights for {card.degradation} pictures (on the test pictures of "
        f"{champion.environment} {others:.2f} dB, its champion {own:.2f} dB: --model champion)"
    )
    return Source(card, text, card.degradation)


def _shipped(card: "Card") -> Source:
    text = f"{card.name}, shipped weights for {card.degradation} pictures"
    return Source(card, text, card.degradation)


def find_champion(
    folder: Path,
    scale: int,
    degradation: str,
    environment: str | None = None,
    unasked: bool = False,
) -> Source | None:
    """A project's champion for a scale: for the degradation if there is one, else any.

    Of several, in different environments, it is the one crowned last, or that of `environment`.
    Where nobody asked for one, those count that interpolation does not beat.
    """
    able = [
        source
        for source in _champions(folder)
        if scale in source.scales
        and environment in (None, source.environment)
        and not (unasked and is_no_better_than_bicubic(source, scale))
    ]
    suiting = [source for source in able if source.degradation == degradation]
    return next(iter(suiting + able), None)


def champion_of(folder: Path, environment: str) -> Source | None:
    """The champion of one environment of a project, if it can enlarge."""
    return next((s for s in _champions(folder) if s.environment == environment), None)


def champions(folder: Path) -> list[tuple[Source, list[int]]]:
    """A project's champions, the one crowned last first, and the scales that it is chosen for."""
    found, taken = [], set()
    for source in _champions(folder):
        scales = [s for s in source.scales if (s, source.degradation) not in taken]
        taken |= {(scale, source.degradation) for scale in scales}
        if scales:
            found.append((source, scales))
    return found


def _champions(folder: Path) -> list[Source]:
    """All champions that can enlarge, the one crowned last first."""
    found = []
    for path in folder.glob(f"{MODELS}/*/champion/record.json"):
        try:
            record = json.loads(path.read_text())
            scales = sorted(int(name.removeprefix("x")) for name in record["psnr_rgb"])
            network, degradation = str(record["network"]), str(record["protocol"])
            scores = ", ".join(f"{name} {v:.2f} dB" for name, v in record["psnr_rgb"].items())
            written = path.stat().st_mtime
            if not (path.parent / "network.keras").is_file():
                continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue  # half a champion is none
        if degradation == PIXELATED:
            continue  # it takes pictures that are as large as its result
        place = path.parent
        description = (
            f"{network}, the champion of {place.parent.name} for {degradation} pictures ({scores})"
        )
        model = _exported(place, record) / "network.keras"
        found.append(
            Source(
                model, description, degradation, record, written, place.parent.name, tuple(scales)
            )
        )
    # A run that leaves a champion its title writes the record again.
    return sorted(found, key=lambda s: (s.record.get("crowned", ""), s.written), reverse=True)


def _exported(champion: Path, record: dict[str, Any]) -> Path:
    """Where the champion has its faster graphs beside it, if it was exported; else its folder."""
    folder = champion.with_name("exported")
    try:
        exported = json.loads((folder / "record.json").read_text())
    except (OSError, ValueError):
        return champion
    passing = {"new", "version", "registry"}  # what a record says of a run, not of the network
    same = all(exported.get(key) == record.get(key) for key in {*exported, *record} - passing)
    return folder if same and (folder / "network.keras").is_file() else champion


def table(folder: Path) -> list[tuple[str, ...]]:
    """What is available, as rows for a terminal, the heading first.

    Args:
        folder: the project's, whose champions come first, see `project_folder`.
    """
    from isr_pipeline import weights

    rows: list[tuple[str, ...]] = [("model", "scales", "degradation", "parameters", "scores")]
    for champion, scales in champions(folder):
        record = champion.record
        rows.append(
            (
                f"{CHAMPION}:{champion.environment}",
                " ".join(f"x{scale}" for scale in scales),
                str(champion.degradation),
                f"{record['parameters']:,}" if isinstance(record.get("parameters"), int) else "",
                ", ".join(
                    f"{record.get('split', 'test')} {name} {v:.2f} dB RGB"
                    for name, v in record["psnr_rgb"].items()
                ),
            )
        )
    for card in weights.available():
        scores = (
            f"{score['set']} x{score['scale']} {score['psnr_y']:.2f} dB"
            for score in card.facts.get("scores", [])
        )
        rows.append(
            (
                card.name,
                " ".join(f"x{scale}" for scale in card.scales),
                card.degradation,
                f"{int(card.facts['parameters']):,}",
                ", ".join(scores),
            )
        )
    return rows
