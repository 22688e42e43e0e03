"""A picture enlarged by bicubic interpolation and by a network, side by side."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging import encode
from isr_pipeline.imaging.arrays import Picture, to_uint8
from isr_pipeline.imaging.decode import (
    FORMATS,
    UnusablePictureError,
    decode_picture,
    is_grey,
    open_image,
)
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.inference.batch import MAXIMUM_MEGAPIXELS, check_room, read_whole
from isr_pipeline.inference.plan import in_the_way, shown
from isr_pipeline.inference.upscaler import Upscaler
from isr_pipeline.storage.atomic import replace_file

BYTES_A_PIXEL = 48
"""Memory that a panel takes for each enlarged pixel: both pictures, and 42 (measured) while one of
them is interpolated in floating point."""
COLUMN, GAP, TITLE = 480, 8, 22
TALLEST = 2 * COLUMN
"""Of the whole pictures in a panel; taller ones are narrower than the column."""
CROP, CROPS = 120, 3
"""Side of the zoomed squares in enlarged pixels, and how many there are."""


def check_output(picture: Path, output: Path, overwrite: bool) -> None:
    """See whether a panel may be written.

    Raises:
        ProjectError: when `output` is the picture, is there and not to be replaced, or can be no
            picture file.
    """
    endings = sorted(suffix for suffixes in encode.SUFFIXES.values() for suffix in suffixes)
    blocking = in_the_way(output.parent)
    if output.suffix.lower() not in endings:
        raise ProjectError(
            f"{shown(output)} is no name of a picture: end it in one of {', '.join(endings)}"
        )
    if blocking is not None:
        raise ProjectError(f"{shown(output)} cannot be written: {shown(blocking)} is no folder")
    if not output.exists():
        return
    if picture.exists() and output.samefile(picture):
        raise ProjectError(f"the panel would replace {shown(picture)} itself: name another (-o)")
    if not output.is_file():
        raise ProjectError(f"{shown(output)} is no file that can be replaced: name another (-o)")
    if not overwrite:
        raise ProjectError(f"{shown(output)} is there already: --overwrite replaces it")


def compare_file(picture: Path, output: Path, upscaler: Upscaler, overwrite: bool = False) -> None:
    """Write the panel of a picture file.

    Args:
        picture: the file.
        output: the panel; never the picture itself.
        upscaler: the network.
        overwrite: replace a panel that is there.

    Raises:
        ProjectError: when the picture cannot be read or the panel may not be written.
    """
    check_output(picture, output, overwrite)
    try:
        if picture.is_dir():
            raise ProjectError(f"{shown(picture)} is a folder: a panel shows one picture")
        size = picture.stat().st_size
        check_room(upscaler, f"{shown(picture)}: a file of {size:,} bytes", size)
        data = read_whole(picture, size)
        with open_image(data, FORMATS, MAXIMUM_MEGAPIXELS) as image:
            width, height = image.size
            profile = _profile(image)
        held = height * width * upscaler.scale**2 * BYTES_A_PIXEL
        check_room(upscaler, f"{shown(picture)}: a panel of {width}x{height}", size + held)
        decoded = decode_picture(data, MAXIMUM_MEGAPIXELS)
    except OSError as error:
        raise ProjectError(f"{shown(picture)}: {error.strerror}") from None
    except UnusablePictureError as error:
        raise ProjectError(f"{shown(picture)}: {error}") from None
    pixels = decoded.pixels
    if is_grey(decoded.mode):  # as `isr upscale` does it: one channel
        enlarged = np.repeat(upscaler(pixels[..., 0])[..., None], 3, axis=2)
    else:
        enlarged = upscaler(pixels)
    bicubic = to_uint8(resize_bicubic(pixels, *enlarged.shape[:2]))
    panel = draw_panel(bicubic, enlarged, upscaler.description)
    try:
        with replace_file(output) as partial:
            panel.save(partial, icc_profile=profile, **SAVING.get(output.suffix.lower(), {}))
    except OSError as error:
        raise ProjectError(f"{shown(output)}: {error.strerror or error}") from None


def _profile(image: Image.Image) -> bytes | None:
    """The colour profile under which a panel shows the colours of a picture; None for sRGB."""
    icc = image.info.get("icc_profile")
    if not isinstance(icc, bytes) or image.mode in ("CMYK", "YCCK"):  # which becomes sRGB
        return None
    return encode.held_profile(icc, "PNG", 3)  # which has the least room


_JPEG, _WEBP = {"quality": 95, "subsampling": 0}, {"lossless": True}
SAVING: dict[str, dict[str, Any]] = {
    **dict.fromkeys(encode.SUFFIXES["JPEG"], _JPEG),
    **dict.fromkeys(encode.SUFFIXES["WEBP"], _WEBP),
}
"""So that what is compared is not the panel's own compression."""


def draw_panel(bicubic: Picture, network: Picture, description: str) -> Image.Image:
    """Both pictures whole, and below them the squares where they differ most, zoomed.

    Args:
        bicubic: `(height, width, 3)`, uint8.
        network: the same size.
        description: of the network.
    """
    height, width = network.shape[:2]
    side = min(CROP, height, width)
    places = most_different(bicubic, network, side)
    zoom = min(COLUMN / width, TALLEST / height)
    whole = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    rows = [whole[1], *[COLUMN] * len(places)]
    panel = Image.new(
        "RGB", (2 * COLUMN + 3 * GAP, 2 * TITLE + sum(rows) + GAP * (len(rows) + 1)), "white"
    )
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(13)
    draw.text((GAP, GAP), f"network: {description}", "black", font)
    for column, (title, picture) in enumerate((("bicubic", bicubic), ("network", network))):
        left, top = GAP + column * (COLUMN + GAP), GAP + TITLE
        draw.text((left, top), title, "black", font)
        top += TITLE
        image = Image.fromarray(picture)
        small = image.resize(whole, Image.Resampling.LANCZOS)
        marks = ImageDraw.Draw(small)
        for y, x in places:
            box = [v * zoom for v in (x, y, x + side, y + side)]
            marks.rectangle(box, outline="yellow")
        panel.paste(small, (left, top))
        top += whole[1] + GAP
        for y, x in places:
            crop = image.crop((x, y, x + side, y + side))
            panel.paste(crop.resize((COLUMN, COLUMN), Image.Resampling.NEAREST), (left, top))
            top += COLUMN + GAP
    return panel


def most_different(one: Picture, other: Picture, side: int) -> list[tuple[int, int]]:
    """Tops and lefts of the squares with the greatest differences, no two of them neighbours."""
    difference = np.abs(one.astype(np.float32) - other).sum(axis=2)
    rows, columns = (length // side for length in difference.shape)
    cells = difference[: rows * side, : columns * side]
    sums = cells.reshape(rows, side, columns, side).sum(axis=(1, 3)).ravel()
    chosen: list[tuple[int, int]] = []
    for number in np.argsort(-sums, kind="stable"):
        y, x = divmod(int(number), columns)
        if all(max(abs(y - other), abs(x - another)) > 1 for other, another in chosen):
            chosen.append((y, x))
        if len(chosen) == CROPS:
            break
    return [(y * side, x * side) for y, x in chosen]
