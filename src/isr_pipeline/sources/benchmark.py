"""Folders of test pictures: the literature's layout, and the Kaggle data set's.

```
Set5/HR/baby.png                     the originals
Set5/LR_bicubic/X2/baby.png          their antialiased bicubic reductions, where there are any;
                                     also named babyx2.png, as EDSR's archive of the sets has them
```
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from isr_pipeline.sources.collection import COLUMNS, PhotoCollection, SourceError
from isr_pipeline.sources.kaggle_layout import find_layout, list_kaggle_layout

ENDINGS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class BenchmarkSet:
    """Test pictures and the low-resolution files that come with them.

    Attributes:
        name: as it stands in tables, such as `Set5`.
        photographs: the originals (scale 1) and the low-resolution files (2, 3, ...).
        degradation: what made the low-resolution files: `bicubic` or `unsplash`.
    """

    name: str
    photographs: PhotoCollection
    degradation: str


def list_benchmark(name: str, folder: Path) -> BenchmarkSet:
    """List a folder of test pictures: `HR/` with or without `LR_bicubic/`, or the Kaggle layout.

    Raises:
        SourceError: when the folder is missing, of neither layout, or without pictures.
    """
    if not folder.is_dir():
        raise SourceError(
            f"benchmark set '{name}': there is no folder {folder}: correct benchmark.folders.{name}"
        )
    if (folder / "HR").is_dir():
        return BenchmarkSet(name, _list_standard(name, folder), "bicubic")
    if find_layout(folder) is not None:
        return from_kaggle_layout(name, list_kaggle_layout(folder))
    raise SourceError(
        f"benchmark set '{name}': {folder} holds neither HR/ nor a Kaggle layout: "
        f"correct benchmark.folders.{name}"
    )


def from_kaggle_layout(name: str, photographs: PhotoCollection) -> BenchmarkSet:
    """The photographs of a Kaggle layout whose original is there, with the partners that are.

    Raises:
        SourceError: when no original is there.
    """
    files = photographs.files
    there = files[[(photographs.root / path).is_file() for path in files["path"]]]
    originals = set(there.loc[there["scale"] == 1, "photograph"])
    there = there[there["photograph"].isin(originals)].reset_index(drop=True)
    if there.empty:
        raise SourceError(f"benchmark set '{name}': {photographs.root} holds no 'high res' picture")
    return BenchmarkSet(
        name, PhotoCollection(photographs.root, there, photographs.name), "unsplash"
    )


def list_benchmarks(root: Path) -> dict[str, Path]:
    """The sets below a folder: name and folder of each that has `HR/`.

    Raises:
        SourceError: when there is none.
    """
    found = {path.parent.name: path.parent for path in sorted(root.glob("*/HR")) if path.is_dir()}
    if not found:
        raise SourceError(f"no benchmark set in {root}: it should hold folders such as Set5/HR")
    return found


def _list_standard(name: str, folder: Path) -> PhotoCollection:
    originals = _pictures(name, folder / "HR")
    files = [(photograph, 1, f"HR/{file}") for photograph, file in originals.items()]
    if not files:
        raise SourceError(f"benchmark set '{name}': {folder / 'HR'} holds no picture")
    for below in sorted(folder.glob("LR_bicubic/X*")):
        if not below.name[1:].isdigit():
            continue
        scale = int(below.name[1:])
        small = _pictures(name, below)
        for photograph in originals:
            partner = small.get(photograph) or small.get(f"{photograph}x{scale}")
            if partner:
                files.append((photograph, scale, f"LR_bicubic/{below.name}/{partner}"))
    return PhotoCollection(folder, pd.DataFrame(files, columns=list(COLUMNS)), str(folder))


def _pictures(name: str, folder: Path) -> dict[str, str]:
    """Names of the photographs in a folder of a set, and of their files."""
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in ENDINGS or path.name.startswith("."):
            continue
        former = found.setdefault(path.stem, path.name)
        if former != path.name:
            raise SourceError(
                f"benchmark set '{name}': {folder} holds {former} and {path.name}, two files of "
                "one photograph: remove one"
            )
    return found
