"""Enlarging pictures: the one way from samples to samples, whatever their kind and size."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from isr_pipeline import memory
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference import colour
from isr_pipeline.inference.back_projection import ITERATIONS, REACH, back_project
from isr_pipeline.inference.colour import hold_mean
from isr_pipeline.inference.ensemble import self_ensemble
from isr_pipeline.inference.tiling import (
    Enlarger,
    bands,
    largest_window,
    mirrored_out,
    multiple,
    smallest_window,
    window_for,
)
from isr_pipeline.weights import REALISTIC, check_choice

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[Any]
FloatArray = NDArray[np.float32]
Kind = TypeVar("Kind", NDArray[Any], "Image.Image")

EDGE = 2
"""Low-resolution pixels from what is not opaque within which colours are held."""
OVERSHOOT = 0.5
"""How far float32 samples may lie outside of [0, 1], as interpolation leaves them; clipped."""
BYTES_A_PIXEL, BYTES_AN_OUTPUT_PIXEL = 900, 84
"""Memory that a window takes for each of its pixels, low-resolution and enlarged (measured)."""
BYTES_OF_BACK_PROJECTION = 16
"""What back-projection takes for each enlarged pixel beside that (measured)."""


class Upscaler:
    """A network that enlarges pictures of any kind and size.

    Grey pictures go through the network as three equal channels, whose mean is the result. Colours
    with alpha are multiplied by it before and divided after; alpha goes through the network too
    and stays within what it is nearby. 16-bit samples stay 16-bit. The mean colour of every
    neighbourhood of an opaque picture is held to the input's, see `inference.colour`.

    Args:
        model: name of shipped weights such as `subpixel-small`, `champion`, a `.keras` file, a
            Keras model, or an engine that is open; None for the best there is, see
            `models.choose`.
        scale: the integer factor.
        degradation: what the network was trained against: `bicubic`, `unsplash` or `realistic`;
            None for `realistic`, or where a network is named that is not for it, for what that is
            for.
        engine: `keras`, `openvino`, or `auto` for the faster one that there is.
        max_memory: what the process may use in all, such as `1.5GiB`; a quarter of the free
            memory beyond what it has now by default.
        back_projection: correct the result until its reduction is the input.
        precision: of the engine: `float32`, `bfloat16`, or `auto` for what the processor has.
        self_ensemble: mean over the eight turned and mirrored pictures: a little better, eight
            times slower.

    Attributes:
        scale: the integer factor.
        halo: how many low-resolution pixels around one are looked at, at most.
        alignment: windows begin at multiples of this.
        description: which network it is, for people.
        max_memory: what the process may use in all, in bytes.
        allowance: that without what the program itself takes.

    Raises:
        ProjectError: when there is no such network, scale or engine.
    """

    def __init__(
        self,
        model: Any = None,
        scale: int = 2,
        degradation: str | None = None,
        engine: Literal["auto", "keras", "openvino"] = "auto",
        max_memory: str | int | None = None,
        back_projection: bool = False,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        self_ensemble: bool = False,
    ) -> None:
        check_choice(scale, degradation)
        limit = None if max_memory is None else memory.parse_bytes(max_memory)
        self._engine, self.description, self._degradation = _open(
            model, scale, degradation, engine, precision
        )
        self.scale = int(scale)
        if self_ensemble:
            self._engine = SelfEnsemble(self._engine)
        self._back_projection = back_projection
        reach = colour.REACH + (REACH * ITERATIONS if back_projection else 0)
        self.alignment = self._engine.alignment
        self.halo = multiple(max(self._engine.halo + reach, EDGE), self.alignment)
        enlarged = BYTES_AN_OUTPUT_PIXEL + (BYTES_OF_BACK_PROJECTION if back_projection else 0)
        self._pixel = BYTES_A_PIXEL + enlarged * scale**2
        before = memory.resident()
        self.max_memory = memory.default_limit() if limit is None else limit
        self.allowance = self.max_memory - before

    def __call__(self, image: Kind) -> Kind:
        """Enlarge a picture.

        Args:
            image: `(height, width)` or `(height, width, channel)` with 1 channel for grey, 2 for
                grey and alpha, 3 for RGB, 4 for RGBA; uint8, uint16 or float32 in [0, 1], to which
                what lies a little outside is clipped. Or a
                Pillow image; palettes, bilevel and CMYK pictures become RGB(A) or grey.

        Returns:
            The same kind, `scale` times as high and wide; arrays in the machine's byte order.

        Raises:
            ProjectError: for any other array, or when memory does not suffice.
        """
        if not isinstance(image, np.ndarray):
            if not hasattr(image, "mode"):
                raise ProjectError(
                    f"a {type(image).__name__} is no picture: open files with PIL.Image.open, give "
                    "others as numpy arrays"
                )
            return self._pillow(image)
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
        _check(image)
        samples = image[..., None] if image.ndim == 2 else image
        result = np.empty(
            (image.shape[0] * self.scale, image.shape[1] * self.scale, samples.shape[2]),
            image.dtype,
        )
        row = 0
        for band in self.bands(samples, result.nbytes):
            result[row : row + len(band)] = band
            row += len(band)
        return result[..., 0] if image.ndim == 2 else result

    def bands(self, samples: Array, held: int = 0) -> Iterator[Array]:
        """Enlarge a picture and give the result's rows from top to bottom as they are done.

        Args:
            samples: `(height, width, channel)`, see `__call__`.
            held: memory that the picture takes elsewhere, in bytes.

        Yields:
            `(rows, scale * width, channel)` of the samples' own type.

        Raises:
            ProjectError: when the memory does not suffice for the smallest window.
        """
        height, width, channels = samples.shape
        window = self.window(samples.nbytes + held)
        if window == 0:
            needed = memory.show_bytes(self.needed(samples.nbytes + held))
            raise ProjectError(
                f"{width}x{height} needs {needed} to be enlarged, "
                f"{memory.show_bytes(self.max_memory)} are allowed: raise max_memory (--max-memory)"
            )
        scale = self.scale
        samples = mirrored_out(samples, self.alignment)
        has_alpha = channels % 2 == 0
        # A picture that is evenly transparent, most of all one that is opaque, needs no detour.
        even = has_alpha and bool((samples[..., -1] == samples[0, 0, -1]).all())

        def work(top: int, bottom: int, left: int, right: int) -> Array:
            part = _to_unit(samples[top:bottom, left:right])
            if not has_alpha:
                result = self._colour(part)
            elif even:
                alpha = np.repeat(np.repeat(part[..., -1:], scale, 0), scale, 1)
                result = np.concatenate([self._colour(part[..., :-1]), alpha], axis=2)
            else:
                result = self._transparent(part)
            return _from_unit(result, samples.dtype)

        missing = height * scale
        for band in bands(work, (samples.shape[0], samples.shape[1]), window, self):
            band = band[:missing, : width * scale]  # less than all of a picture mirrored out
            missing -= len(band)
            yield band

    def window(self, held: int) -> int:
        """Side of the windows beside pictures that take `held` bytes; 0 if none has room."""
        return window_for(self.allowance - held, self.halo, self.alignment, self._pixel)

    @property
    def reserve(self) -> int:
        """Bytes that windows of a good size take, as far as pictures leave room for them."""
        largest = largest_window(self.halo, self.alignment) ** 2 * self._pixel
        return int(min(largest, max(self.allowance / 2, self._smallest), self.allowance))

    @property
    def _smallest(self) -> int:
        """Bytes that the smallest window takes."""
        return smallest_window(self.halo, self.alignment) ** 2 * self._pixel + 1

    def needed(self, held: int) -> int:
        """Memory of the whole process with pictures that take `held` bytes, at least."""
        return self.max_memory - self.allowance + held + self._smallest

    def _colour(self, part: FloatArray, hold: NDArray[np.bool_] | bool = True) -> FloatArray:
        """`(height, width, 1 or 3)` in [0, 1], enlarged, in [0, 1].

        Its mean is held, or not, or where `hold`, `(scale * height, scale * width, 1)`, says.
        """
        grey = part.shape[2] == 1
        rgb = np.repeat(part, 3, axis=2) if grey else part
        enlarged = self._engine(np.ascontiguousarray(rgb[None]))[0]
        if hold is True:
            enlarged = hold_mean(enlarged, rgb)
        elif np.any(hold):
            held = hold_mean(enlarged, rgb)
            np.copyto(held, enlarged, where=np.logical_not(hold))
            enlarged = np.clip(held, 0, 1, out=held)
        else:
            enlarged = np.clip(enlarged, 0, 1)
        if self._back_projection:
            enlarged = back_project(enlarged, rgb, self._degradation)
        return enlarged.mean(axis=2, keepdims=True) if grey else enlarged

    def _transparent(self, part: FloatArray) -> FloatArray:
        """`(height, width, 2 or 4)`, enlarged without haloes.

        The network sees what light passes. Means are held where all around is opaque, and not
        elsewhere: those of light and of alpha would be changed by different amounts, and their
        ratio is the colour. Alpha stays between the least and the greatest nearby, so that what is
        opaque (or clear) stays so. Colours that are not surrounded by opaque ones stay between
        those nearby that can be seen: the network's answer to the edge against what is clear is
        none to show, and a division by little alpha would magnify any error.
        """
        scale, shades, alpha = self.scale, part[..., :-1], part[..., -1:]
        opaque = _nearby(alpha, np.minimum, scale, colour.REACH) >= 1
        new_alpha = self._colour(alpha, hold=False)
        np.maximum(new_alpha, _nearby(alpha, np.minimum, scale), out=new_alpha)
        np.minimum(new_alpha, _nearby(alpha, np.maximum, scale), out=new_alpha)
        new_colour = self._colour(shades * alpha, opaque)  # times alpha, still
        del opaque
        np.minimum(new_colour, new_alpha, out=new_colour)
        new_colour /= np.maximum(new_alpha, np.float32(1e-6))
        at_edge = _nearby(alpha, np.minimum, scale, EDGE) < 1
        seen = alpha > 0
        for number in range(shades.shape[2]):  # one by one, which takes less memory
            old, new = shades[..., number, None], new_colour[..., number, None]
            brightest = _nearby(np.where(seen, old, np.float32(0)), np.maximum, scale)
            darkest = _nearby(np.where(seen, old, np.float32(1)), np.minimum, scale)
            np.maximum(new, np.minimum(darkest, brightest), out=new, where=at_edge)
            np.minimum(new, brightest, out=new, where=at_edge)
        return np.concatenate([new_colour, new_alpha], axis=2)

    def _pillow(self, image: "Image.Image") -> "Image.Image":
        from PIL import Image

        from isr_pipeline.imaging.decode import UnusablePictureError, correct_key
        from isr_pipeline.imaging.exif import with_size
        from isr_pipeline.imaging.files import samples_of, srgb_profile

        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise ProjectError(f"an image of {frames} frames is not enlarged: give one of them")
        if image.mode.startswith("I") and "transparency" in image.info:
            raise ProjectError(
                "16-bit grey with a transparent level has no alpha in Pillow: give an array "
                "(height, width, 2) of uint16"
            )
        try:
            correct_key(image)
            samples = samples_of(image)
        except UnusablePictureError as error:
            raise ProjectError(
                f"an image of mode {image.mode} cannot be enlarged: {error}"
            ) from None
        enlarged = self(samples)
        result = Image.fromarray(enlarged[..., 0] if enlarged.shape[2] == 1 else enlarged)
        result.info = {k: v for k, v in image.info.items() if k in ("dpi", "icc_profile", "exif")}
        if image.mode in ("CMYK", "YCCK") and "icc_profile" in result.info:
            result.info["icc_profile"] = srgb_profile()
        if "exif" in result.info:
            exif = result.info["exif"].removeprefix(b"Exif\0\0")
            result.info["exif"] = b"Exif\0\0" + with_size(exif, *result.size)
        return result


class SelfEnsemble:
    """An engine's mean over the eight turned and mirrored pictures, see `ensemble`.

    Raises:
        ProjectError: for an engine with poolings, whose grid a mirrored window would move.
    """

    def __init__(self, engine: Enlarger) -> None:
        if engine.alignment != 1:
            raise ProjectError("this network has poolings and cannot be ensembled: choose another")
        self._engine = engine
        self.scale, self.halo, self.alignment = engine.scale, engine.halo, 1

    def __call__(self, lr: FloatArray) -> FloatArray:
        return self_ensemble(self._engine, lr)


def _open(
    model: Any, scale: int, degradation: str | None, engine: Any, precision: Any
) -> tuple[Enlarger, str, str]:
    meant = degradation or REALISTIC
    if hasattr(model, "halo"):  # an engine
        if model.scale != scale:
            raise ProjectError(f"the engine enlarges by {model.scale}, not by {scale}")
        return model, getattr(model, "name", "an engine"), meant
    from isr_pipeline.inference.engines import open_engine
    from isr_pipeline.inference.models import choose, project_folder

    if model is None or isinstance(model, str | Path):
        source = choose(model, scale, degradation, project_folder())
        opened = open_engine(source.model, scale, engine, precision)
        text = f"{source.description}; {opened.name}, {opened.precision}"
        return opened, text, source.degradation or meant
    opened = open_engine(model, scale, engine, precision)
    return opened, f"{model.name}; {opened.name}, {opened.precision}", meant


def _check(image: Array) -> None:
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or 0 in image.shape:
        raise ProjectError(
            f"an array of shape {image.shape} is no picture: give (height, width) or "
            "(height, width, 1 to 4)"
        )
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ProjectError(
            f"samples of {image.dtype} are not enlarged: give uint8, uint16, or float32 in [0, 1]"
        )
    if image.dtype == np.float32:
        least, most = image.min(), image.max()
        if not (least >= -OVERSHOOT and most <= 1 + OVERSHOOT):  # nor if one is not a number
            raise ProjectError(
                f"float32 samples are in [0, 1], these from {least:g} to {most:g}: give 8-bit "
                "values as uint8 (image.astype('uint8')), or divide by 255"
            )


def _to_unit(samples: Array) -> FloatArray:
    if samples.dtype == np.float32:
        return np.clip(samples, 0, 1)
    return samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)


def _from_unit(values: FloatArray, kind: Any) -> Array:
    """Samples of a kind; `values` are used up."""
    if kind == np.float32:
        return values
    values *= np.float32(np.iinfo(kind).max)
    return np.rint(values, out=values).astype(kind)


def _nearby(values: FloatArray, extreme: np.ufunc, scale: int, radius: int = 1) -> FloatArray:
    """The extreme of each pixel and those around it, at the enlarged size."""
    found = values
    for _ in range(radius):
        padded = np.pad(found, [(1, 1), (1, 1), (0, 0)], mode="edge")
        rows = extreme.reduce([padded[:-2], padded[1:-1], padded[2:]])
        found = extreme.reduce([rows[:, :-2], rows[:, 1:-1], rows[:, 2:]])
    return np.repeat(np.repeat(found, scale, axis=0), scale, axis=1)
