"""The layout of the Kaggle data set "Image Super Resolution - from Unsplash".

```
Image Super Resolution - Unsplash/
    image_data.csv      low_res,high_res     one row a pair: 1_2.jpg,1.jpg
    high res/1.jpg      the original
    low res/1_2.jpg     its partner at scale 2: pixelated, as large as the original
```
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.degradations import encode_jpeg, pixelate
from isr_pipeline.sources.collection import COLUMNS, PhotoCollection, SourceError, is_inside
from isr_pipeline.storage.atomic import replace_folder

FOLDER = "Image Super Resolution - Unsplash"
CSV_NAME = "image_data.csv"
Size = tuple[int, int]
_LOW_RES_NAME = re.compile(r"^(?P<stem>.+)_(?P<scale>[2-9]|[1-9][0-9])\.[A-Za-z0-9]+$")


def foreign_partner(path: str, size: Size, original: str, original_size: Size, scale: int) -> str:
    """Why a file is no partner of an original, by its size; empty when it may be one.

    Args:
        path: of the file.
        size: its height and width.
        original: path of the original.
        original_size: its height and width.
        scale: of the pair.
    """
    height, width = original_size
    small = (height // scale, width // scale)
    if size in (original_size, small):
        return ""
    return (
        f"{path} is {size[1]}x{size[0]}; a partner of {original} is {width}x{height} (pixelated) "
        f"or {small[1]}x{small[0]} (small)"
    )


def find_layout(folder: Path) -> Path | None:
    """The folder with `image_data.csv`, at `folder` or up to two levels below, or None."""
    for pattern in (CSV_NAME, f"*/{CSV_NAME}", f"*/*/{CSV_NAME}"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0].parent
    return None


def list_kaggle_layout(folder: Path) -> PhotoCollection:
    """List what `image_data.csv` below `folder` names; whether the files exist is not asked.

    Raises:
        SourceError: when there is no table, or when it is wrong (see `parse_image_data`).
    """
    root = find_layout(folder)
    if root is None:
        raise SourceError(
            f"no {CSV_NAME} in {folder}: give the folder that holds '{FOLDER}/{CSV_NAME}'"
        )
    table = parse_image_data((root / CSV_NAME).read_bytes(), str(root / CSV_NAME))
    return PhotoCollection(root, table, str(root))


def parse_image_data(data: bytes, name: str = CSV_NAME) -> pd.DataFrame:
    """Parse the data set's table of pairs.

    UTF-8 (with or without a mark), UTF-16 with a mark and ISO-8859-1 are read, with any line
    ends. Further columns are ignored.

    Args:
        data: the file's bytes.
        name: how messages call the file.

    Returns:
        One row a file with the columns of `PhotoCollection.files`, paths below `high res/` and
        `low res/`, in the order of the table with each original before its first partner.

    Raises:
        SourceError: naming the row (the header is row 1) of a missing column, an empty or
            unsafe name, a low-resolution name without `_<scale>`, or a pair that stands twice.
    """
    lines = csv.reader(io.StringIO(_decode(data, name), newline=""))
    try:
        header = [cell.strip() for cell in next(lines, [])]
    except csv.Error as error:
        raise SourceError(f"{name} row 1: {error}") from None
    for column in ("low_res", "high_res"):
        if column not in header:
            raise SourceError(
                f"{name} row 1: no column '{column}' among {header}; "
                "the header must be low_res,high_res"
            )
    low_column, high_column = header.index("low_res"), header.index("high_res")

    files: list[tuple[str, int, str]] = []
    photographs: dict[str, str] = {}
    first_row: dict[tuple[str, int], int] = {}
    for number, cells in enumerate(_rows(lines, name), start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) <= max(low_column, high_column):
            raise SourceError(f"{name} row {number}: {len(cells)} columns instead of {len(header)}")
        low_res, high_res = cells[low_column].strip(), cells[high_column].strip()
        for value in (low_res, high_res):
            if not PurePosixPath(value).name:
                raise SourceError(f"{name} row {number}: an empty file name")
            if not is_inside(value):
                raise SourceError(
                    f"{name} row {number}: '{value}' leaves the data set's folder; "
                    "only names below it are read"
                )
        match = _LOW_RES_NAME.match(low_res)
        if match is None:
            raise SourceError(
                f"{name} row {number}: '{low_res}' has no scale; "
                "low-resolution files are named <name>_<scale>.jpg"
            )
        photograph, scale = str(PurePosixPath(high_res).with_suffix("")), int(match["scale"])
        is_new = photograph not in photographs
        if photographs.setdefault(photograph, high_res) != high_res:
            raise SourceError(
                f"{name} row {number}: '{high_res}' and '{photographs[photograph]}' "
                "are two originals with one name"
            )
        if (photograph, scale) in first_row:
            raise SourceError(
                f"{name} row {number}: a second partner of '{high_res}' at scale {scale}; "
                f"the first stands in row {first_row[photograph, scale]}: delete one"
            )
        if is_new:
            files.append((photograph, 1, f"high res/{high_res}"))
        first_row[photograph, scale] = number
        files.append((photograph, scale, f"low res/{low_res}"))
    if not files:
        raise SourceError(f"{name}: no row below the header")
    return pd.DataFrame(files, columns=list(COLUMNS))


def _rows(lines: Iterator[list[str]], name: str) -> Iterator[list[str]]:
    number = 2
    while True:
        try:
            yield next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(f"{name} row {number}: {error}") from None
        number += 1


def write_kaggle_layout(
    folder: Path, photographs: Iterable[tuple[str, Picture]], scales: Iterable[int]
) -> None:
    """Write photographs in the layout, with partners made by the data set's own recipe.

    The folder appears whole or not at all.

    Args:
        folder: becomes the parent of `Image Super Resolution - Unsplash/`.
        photographs: pairs of a name and an RGB uint8 picture, `(height, width, 3)`.
        scales: factors of the partners.
    """
    scales = list(scales)
    with replace_folder(folder / FOLDER) as root:
        for name in ("high res", "low res"):
            (root / name).mkdir(parents=True)
        names = []
        for name, picture in photographs:
            names.append(name)
            # Encoded once and decoded again, as the data set's originals are JPEG files: the
            # recipe then starts from exactly the pixels that a reader of the file will see.
            data = encode_jpeg(picture)
            (root / "high res" / f"{name}.jpg").write_bytes(data)
            for scale in scales:
                low_res = encode_jpeg(pixelate(decode_picture(data).pixels, scale))
                (root / "low res" / f"{name}_{scale}.jpg").write_bytes(low_res)
        rows = [f"{name}_{scale}.jpg,{name}.jpg" for scale in scales for name in names]
        (root / CSV_NAME).write_bytes("\r\n".join(["low_res,high_res", *rows, ""]).encode())


def _decode(data: bytes, name: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        try:
            return _checked(data.decode("utf-8-sig"), name)
        except UnicodeDecodeError:
            encoding = "iso-8859-1"
    try:
        return _checked(data.decode(encoding), name)
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        raise SourceError(f"{name} row {row}: not {encoding} text: {error.reason}") from None


def _checked(text: str, name: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    position = text.find("\0")
    if position >= 0:
        row = text[:position].count("\n") + 1
        raise SourceError(f"{name} row {row}: a NUL byte; save the table as UTF-8 text")
    return text
