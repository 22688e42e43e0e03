"""Picture files in memory, enlarged: what the page and the model server do."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging import encode
from isr_pipeline.imaging.decode import UnusablePictureError
from isr_pipeline.imaging.files import read_picture
from isr_pipeline.inference.batch import prepared
from isr_pipeline.inference.upscaler import Upscaler


def largest_source(maximum_megapixels: float, scale: int) -> float:
    """Megapixels of a picture whose result has at most four times `maximum_megapixels`."""
    return maximum_megapixels * min(1, 4 / scale**2)


def upscale_encoded(
    data: bytes,
    upscaler: Upscaler,
    maximum_megapixels: float,
    file_format: str = "PNG",
    is_stopped: Callable[[], bool] = lambda: False,
) -> bytes:
    """Enlarge a picture file.

    Args:
        data: the file's bytes, of any format that is read (see `imaging.files`).
        upscaler: what enlarges.
        maximum_megapixels: pictures that claim more are refused before they are unpacked.
        file_format: of the result, such as `PNG`.
        is_stopped: asked now and then whether nobody waits for the result any more.

    Returns:
        The result's bytes. Shown as the original, with its profile and EXIF data.

    Raises:
        ProjectError: when the bytes are no usable picture or are too large, with the reason, or
            when stopped.
    """
    try:
        picture = read_picture(data, maximum_megapixels)
        samples, extras = prepared(picture, file_format)
        height, width, channels = samples.shape
        size = (width * upscaler.scale, height * upscaler.scale)
        with tempfile.TemporaryDirectory() as folder:
            path, name = Path(folder) / "enlarged", "a picture"
            writer = encode.open_writer(
                path, file_format, size, channels, samples.dtype.itemsize, extras, name
            )
            for band in upscaler.bands(samples):
                writer.write(band)
                if is_stopped():
                    raise ProjectError("stopped before the picture was done")
            writer.close()
            return path.read_bytes()
    except (UnusablePictureError, encode.UnwritableError) as error:
        raise ProjectError(f"the picture cannot be used: {error}") from None
