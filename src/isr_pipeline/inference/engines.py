"""What runs a network: Keras, which is always there, or OpenVINO, which is faster on processors.

Both take and give the same numbers (see `Engine`). OpenVINO needs the network's graph (`x2.xml`
and `x2.bin`, see `inference.export`) and then neither Keras nor TensorFlow.
"""

import hashlib
import importlib.util
import logging
import math
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from isr_pipeline.errors import ProjectError, check_word
from isr_pipeline.inference.tiling import multiple
from isr_pipeline.machine import available_cores, core_quota

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

FloatBatch = NDArray[np.float32]
"""Pictures in arithmetic: `(batch, height, width, 3)`, float32, nominally in [0, 1]."""

Precision = Literal["auto", "float32", "bfloat16"]
FACTS = "isr_pipeline"
"""Where an exported graph says what it is: `scale`, `radius` and `alignment`."""
NETWORK, NETWORK_SHA256 = "network.keras", "network_sha256"
"""The file that a graph lies beside when it is exported, and where the graph says which that was:
beside another network it is not that network's."""


class Card(Protocol):
    """Shipped weights, see `isr_pipeline.weights.Card`."""

    @property
    def id(self) -> str: ...
    @property
    def scales(self) -> list[int]: ...

    def path(self, file: str) -> Path:
        """Path of a file whose hash has been checked; a ProjectError if there is none."""
        ...


class Engine(Protocol):
    """A network at one scale, ready to run.

    Attributes:
        name: `keras` or `openvino`.
        scale: the integer factor.
        halo: how many low-resolution pixels around one the network looks at, at most, rounded up
            to a multiple of `alignment`.
        alignment: parts of a picture must begin at multiples of this.
        precision: what the network is computed in, such as `float32`.
    """

    name: str
    scale: int
    halo: int
    alignment: int
    precision: str

    def __call__(self, lr: FloatBatch) -> FloatBatch:
        """Enlarge `(batch, height, width, 3)`; the result is not clipped."""
        ...


class KerasEngine:
    """A network on any Keras backend. See `Engine` for the attributes.

    Args:
        network: with an output for the scale.
        scale: the integer factor.
        precision: `auto` computes as the network was trained.

    Raises:
        ProjectError: when the network has no output for the scale, looks at the whole picture, or
            was not trained in bfloat16 and is to be computed so.
    """

    name = "keras"

    def __init__(self, network: "keras.Model", scale: int, precision: Precision = "auto") -> None:
        import keras

        from isr_pipeline.networks import at_scale, fold, scales_of
        from isr_pipeline.networks.precision import in_float32, precision_of
        from isr_pipeline.networks.reach import reach_of

        if scale not in scales_of(network):
            raise ProjectError(
                f"the network '{network.name}' enlarges by {scales_of(network)}, not by {scale}"
            )
        network = fold(network)
        if precision == "float32":
            network = in_float32(network)
        self.precision = precision_of(network)
        if precision == "bfloat16" and self.precision != "bfloat16":
            raise ProjectError(
                f"the network '{network.name}' was not trained in bfloat16: Keras computes it in "
                "float32; set precision to auto or float32, or the engine to openvino"
            )
        self.scale = scale
        try:
            reach = reach_of(network, scale)
        except ValueError as error:
            raise ProjectError(f"the network '{network.name}': {error}") from None
        self.alignment = reach.alignment
        self.halo = multiple(reach.radius, reach.alignment)
        self._model = at_scale(network, scale)
        # XLA, Keras's choice, compiles anew for every size, and makes TensorFlow slower on CPUs.
        self._model.compile(jit_compile=keras.backend.backend() == "jax")

    def __call__(self, lr: FloatBatch) -> FloatBatch:
        return np.asarray(self._model.predict_on_batch(lr), np.float32)


_NOT_INSTALLED = (
    "the engine openvino is not installed: pip install 'isr_pipeline[openvino]', "
    "or choose the engine keras"
)


class OpenVinoEngine:
    """An exported graph on OpenVINO's CPU device. See `Engine` for the attributes.

    Can be called from several threads; the calls then wait for each other, because one alone uses
    all the processors it is given.

    Args:
        graph: the `.xml` file, its `.bin` beside it.
        scale: the factor that it must have.
        precision: of convolutions: `auto` is bfloat16 where the processor multiplies it, which is
            about twice as fast. The interpolated picture, which they correct, is in float32.
        threads: at most; 0 for one a physical core.

    Raises:
        ProjectError: when OpenVINO is not installed, the file is no graph of ours, has another
            scale, or the processor does not multiply bfloat16.
    """

    name = "openvino"

    def __init__(
        self, graph: Path, scale: int, precision: Precision = "auto", threads: int = 0
    ) -> None:
        if not openvino_is_installed():
            raise ProjectError(_NOT_INSTALLED)
        openvino = import_openvino()
        core = openvino.Core()
        weights = graph.with_suffix(".bin")
        for file in (graph, weights):
            if not file.is_file():
                raise ProjectError(f"there is no {file}: export the network again")
        try:
            model = core.read_model(graph, weights)
            facts = {key: int(model.get_rt_info([FACTS, key]).value) for key in _FACTS}
        except RuntimeError:
            raise ProjectError(
                f"{graph} is no graph that isr_pipeline exported: export it again"
            ) from None
        if facts["scale"] != scale:
            raise ProjectError(f"{graph} enlarges by {facts['scale']}, not by {scale}")
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": ""}
        if precision != "auto":
            settings["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
        if precision == "bfloat16" and "BF16" not in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise ProjectError("this processor does not multiply bfloat16: choose float32")
        if not threads and core_quota() < math.inf:  # OpenVINO looks at the cores alone
            threads = available_cores()
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = core.compile_model(model, "CPU", settings | _KERNELS_KEPT)
        except RuntimeError:  # a version that does not know this setting
            compiled = core.compile_model(model, "CPU", settings)
        computed = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.precision = next((long for long, hint in _HINTS.items() if hint == computed), computed)
        self.scale = scale
        self.alignment = facts["alignment"]
        self.halo = multiple(facts["radius"], self.alignment)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, lr: FloatBatch) -> FloatBatch:
        lr = np.ascontiguousarray(lr, np.float32)
        with self._lock:
            # The result is copied: the next call writes where OpenVINO left it.
            return self._request.infer({0: lr}, share_inputs=True, share_outputs=False)[0]


_FACTS = ("scale", "radius", "alignment")
_KERNELS_KEPT = {"CPU_RUNTIME_CACHE_CAPACITY": 64}
"""OpenVINO keeps kernels for the sizes it has seen: 5,000 by default, which take a gibibyte."""
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
ENGINES, PRECISIONS = ("auto", "keras", "openvino"), ("auto", *_HINTS)


def open_engine(
    source: "Card | Path | keras.Model",
    scale: int,
    engine: Literal["auto", "keras", "openvino"] = "auto",
    precision: Precision = "auto",
) -> Engine:
    """Make a network ready to run.

    Args:
        source: shipped weights, a `.keras` file, an exported `.xml` graph, or a Keras model.
        scale: the integer factor.
        engine: `auto` is openvino where it is installed and the source has a graph for the scale
            (a `.keras` file has it beside itself, as `x2.xml`, if that was made from this very
            file), else keras.
        precision: see the engines.

    Raises:
        ProjectError: when the source cannot be run so, saying why and what can.
    """
    check_word("engine", engine, ENGINES)
    check_word("precision", precision, PRECISIONS)
    if not (isinstance(source, Path) or _is_card(source) or hasattr(source, "layers")):
        raise ProjectError(
            f"{type(source).__name__} is no network: give a name, a .keras file or a Keras model"
        )
    graph, wanted = _graph(source, scale), engine
    if engine == "auto":
        engine = "openvino" if graph is not None and openvino_is_installed() else "keras"
        if isinstance(source, Path) and source.suffix == ".xml":
            engine = "openvino"
    if engine == "openvino":
        if graph is None and not openvino_is_installed():
            raise ProjectError(_NOT_INSTALLED)
        if graph is None:
            raise ProjectError(
                f"there is no OpenVINO graph of {_label(source)} for scale {scale}: "
                "kedro run --pipelines=export, with the --env of its training, writes a "
                "champion's; or choose the engine keras"
            )
        try:
            return OpenVinoEngine(graph, scale, precision)
        except ProjectError as error:
            if wanted != "auto" or not isinstance(source, Path) or source.suffix == ".xml":
                raise
            logger.warning("%s; Keras enlarges meanwhile, which is slower", error)
    return KerasEngine(_network(source, scale), scale, precision)


def openvino_is_installed() -> bool:
    """Whether the extra `openvino` is there; does not import it."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """The module `openvino`, kept from reporting to its makers that it was imported and used."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if absent
    import openvino

    return openvino


def _graph(source: "Card | Path | keras.Model", scale: int) -> Path | None:
    """The source's exported graph for a scale, if it has one."""
    name = f"x{scale}.xml"
    if isinstance(source, Path):
        if source.suffix == ".xml":
            return source
        beside = source.with_name(name)
        both = beside.is_file() and source.is_file()
        return beside if both and _network_of(beside) == file_sha256(source) else None
    if not _is_card(source):
        return None
    if scale not in source.scales or not openvino_is_installed():
        return None
    source.path(f"x{scale}.bin")
    return source.path(name)


def _network_of(graph: Path) -> str | None:
    """SHA-256 of the file whose network an exported graph is, as far as it says so."""
    try:
        found = ElementTree.parse(graph).find(f"rt_info/{FACTS}/{NETWORK_SHA256}")
    except (OSError, ElementTree.ParseError):
        return None
    return None if found is None else found.get("value")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _network(source: "Card | Path | keras.Model", scale: int) -> "keras.Model":
    from isr_pipeline.networks import load_keras_file

    if isinstance(source, Path):
        if source.suffix != ".keras":
            raise ProjectError(f"{source} is no .keras file, which the engine keras needs")
        return load_keras_file(source)
    return load_keras_file(source.path("network.keras")) if _is_card(source) else source


def _is_card(source: Any) -> TypeGuard[Card]:
    return hasattr(source, "id") and hasattr(source, "path")


def _label(source: Any) -> str:
    return str(source) if isinstance(source, Path) else str(getattr(source, "id", source.name))
