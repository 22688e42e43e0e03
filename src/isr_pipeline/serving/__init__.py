"""The champion as a service of `mlflow models serve`: pictures in, larger pictures out.

MLflow gets code, not a pickle: `model_code.py`, a copy of this package and the network's `.keras`
file go into the model's folder, and nothing else of the project is needed to serve it.
"""

import base64
import binascii
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from isr_pipeline.errors import ProjectError

if TYPE_CHECKING:
    from isr_pipeline.inference.upscaler import Upscaler

CODE = Path(__file__).with_name("model_code.py")
NETWORK = "network"
MAXIMUM_MEGAPIXELS = 16.0
"""A picture of more is refused, and a result of more than four times as many; the environment
variable `ISR_MAXIMUM_MEGAPIXELS` goes first."""


class RefusedError(MlflowException):
    """A request that cannot be answered; its message is the reason alone.

    MLflow puts the request before the message of what a model raises, with all of its pictures.
    """

    @property
    def message(self) -> str:
        """The reason."""
        return self._message

    @message.setter
    def message(self, text: str) -> None:
        self._message = text.rpartition(" \nError: ")[2]


class _Network:
    """A network behind MLflow's scoring server.

    Requests, as JSON: `{"inputs": [<base64 of a picture file>, ...]}`, or
    `{"dataframe_records": [{"picture": <base64>}, ...]}`, answered by PNG files in base64; or
    `{"inputs": <nested lists>}`, `(height, width, 3)` or `(batch, height, width, 3)`, whole numbers
    from 0 to 255 or fractions in [0, 1], answered alike. `"params": {"scale": 2}` chooses the
    scale.
    """

    def load_context(self, context: Any) -> None:
        self._network = Path(context.artifacts[NETWORK])
        self._maximum = _maximum_megapixels()
        self._upscaler = lru_cache(self._open)

    # Without hints, which MLflow would take for the request's schema.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        try:
            scale = (params or {}).get("scale")
            upscaler = self._upscaler(2 if scale is None else int(scale))
            pictures = _pictures(model_input)
            if isinstance(pictures, np.ndarray):
                return self._arrays(pictures, upscaler)
            return [self._encoded(text, upscaler) for text in pictures]
        except ProjectError as error:
            raise RefusedError(str(error), INVALID_PARAMETER_VALUE) from None

    def _open(self, scale: int) -> "Upscaler":
        from isr_pipeline.inference.upscaler import Upscaler

        upscaler = Upscaler(self._network, scale)
        if upscaler.scale == 1:
            raise ProjectError(
                "this network takes pictures that were enlarged before, to the size of the result: "
                "it enlarges none"
            )
        return upscaler

    def _most(self, upscaler: "Upscaler") -> float:
        """Megapixels that a picture may have."""
        from isr_pipeline.inference.encoded import largest_source

        return largest_source(self._maximum, upscaler.scale)

    def _encoded(self, text: Any, upscaler: "Upscaler") -> str:
        from isr_pipeline.inference.encoded import upscale_encoded

        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ProjectError(
                "a picture is not base64: encode the whole file, without line breaks"
            ) from None
        return base64.b64encode(upscale_encoded(data, upscaler, self._most(upscaler))).decode()

    def _arrays(self, pictures: np.ndarray, upscaler: "Upscaler") -> np.ndarray:
        if pictures.ndim == 3:
            return self._arrays(pictures[None], upscaler)[0]
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or 0 in pictures.shape:
            raise ProjectError(
                f"an array of shape {pictures.shape} is no picture: give (height, width, 3) or "
                "(batch, height, width, 3)"
            )
        megapixels = pictures.shape[1] * pictures.shape[2] / 1e6
        if megapixels > self._most(upscaler):
            raise ProjectError(
                f"{pictures.shape[2]}x{pictures.shape[1]} is {megapixels:.2f} megapixels; "
                f"the limit is {round(self._most(upscaler), 2):g}"
            )
        whole = pictures.dtype.kind in "iu"
        top = 255 if whole else 1
        if not (pictures.min() >= 0 and pictures.max() <= top):  # false for not-a-number too
            raise ProjectError(
                "whole numbers must be from 0 to 255" if whole else "fractions must be in [0, 1]"
            )
        kind = np.uint8 if whole else np.float32
        return np.stack([upscaler(picture) for picture in pictures.astype(kind)])


class ServedNetwork(_Network, PythonModel):
    """See `_Network`: for a method without hints that stood here, MLflow would ask for some."""


def _maximum_megapixels() -> float:
    text = os.environ.get("ISR_MAXIMUM_MEGAPIXELS", str(MAXIMUM_MEGAPIXELS))
    try:
        return float(text)
    except ValueError:
        raise ProjectError(
            f"ISR_MAXIMUM_MEGAPIXELS is '{text}': give a number, such as 16"
        ) from None


def _pictures(request: Any) -> list[Any] | np.ndarray:
    """The encoded pictures of a request, or its array."""
    if hasattr(request, "columns") or isinstance(request, dict):
        if "picture" not in request:
            raise ProjectError('the request has no "picture": give {"inputs": [<base64>]}')
        request = np.asarray(request["picture"])
    try:
        array = np.asarray(request)
    except ValueError:
        raise ProjectError("the lists of an array must be equally long") from None
    if array.dtype.kind in "iuf":
        return array
    return list(array.ravel())


@contextmanager
def package_copy() -> Iterator[Path]:
    """A copy of this package, without shipped weights, to be put beside a served network."""
    package = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / package.name
        ignored = shutil.ignore_patterns(
            "__pycache__", "*.keras", "*.xml", "*.bin", "trained_on.json"
        )
        shutil.copytree(package, copy, ignore=ignored)
        yield copy
