"""What tells MLflow of runs; what runs inside a model server is in `serving`.

Everything here does nothing when no run is open, and never lets a tracking server's trouble stop
the work: the first failure is one warning, and from then on nothing more is sent.
"""

import atexit
import contextlib
import functools
import hashlib
import logging
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlparse
from urllib.request import url2pathname

from isr_pipeline.errors import ProjectError

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

ALIAS = "champion"
RECORD = "champion_record.json"
SERVED_WITH = (
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "pillow",
    "opencv-python-headless",
    "psutil",
    "tqdm",
    "isal",
    "tifffile",
)
"""What a served network needs beside this package, which goes with it."""
SERVERS = ("http", "https")
_lost: set[str] = set()
_owned: list[str] = []

P = ParamSpec("P")
R = TypeVar("R")


def configure_environment() -> None:
    """Settings that MLflow reads from the environment; what the user has set stays."""
    defaults = {
        "DO_NOT_TRACK": "true",  # MLflow's telemetry
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is away must not cost minutes
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # a lost server is our warning, not its traceback
        "GIT_PYTHON_REFRESH": "quiet",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def tracking_uri(configured: str | None, project_root: Path) -> str:
    """Where runs are recorded: the environment, the configuration, else SQLite in the project.

    Args:
        configured: `tracking_uri` of `globals.yml`, or None.
        project_root: the project's folder.

    Returns:
        The first of `MLFLOW_TRACKING_URI`, `configured` and the project's own database that is
        set. A server that does not answer is replaced by the project's own, with one warning.

    Raises:
        ProjectError: for an address without its protocol.
    """
    local = own_database(project_root)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured or local
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        raise ProjectError(f"the tracking server {uri} has no protocol: write http://{uri}")
    return _answering(uri, local)


def artifact_location(uri: str, project_root: Path) -> str | None:
    """Where the files of runs go that are recorded at `uri`; None where the server knows.

    A server's own place is for everybody; a folder of whoever is first to use it is not.
    """
    has_own = urlparse(uri).scheme in (*SERVERS, "databricks")
    return None if has_own else f"{project_root.as_posix()}/mlartifacts"


def own_database(project_root: Path) -> str:
    """The address of the database in a project's folder."""
    return f"sqlite:///{project_root.as_posix()}/mlflow.db"


def how_to_see_runs() -> str:
    """What shows this process's runs to somebody without a project's folder.

    The address of a server, else the command that serves them.
    """
    import mlflow

    uri = mlflow.get_tracking_uri()
    if urlparse(uri).scheme in SERVERS:
        return _without_password(uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


@functools.cache
def _answering(uri: str, local: str) -> str:
    """`uri`, or `local` in place of a server that does not answer, which is asked and said once."""
    if urlparse(uri).scheme not in SERVERS:
        return uri
    import requests

    try:  # as MLflow will: through proxies, if there are any
        requests.get(f"{uri.rstrip('/')}/health", timeout=5)
    except (requests.RequestException, ValueError) as error:
        cause = getattr(error.args[0] if error.args else None, "reason", None)
        logger.warning(
            "The tracking server %s is away (%s): this run is recorded in %s instead",
            _without_password(uri),
            str(cause).rpartition(": ")[2] if cause else _first_line(error),
            local,
        )
        return local
    return uri


def is_lost() -> bool:
    """Whether the tracking server stopped answering during this run."""
    return bool(_lost)


def is_open(run_id: str | None) -> bool:
    """Whether this run is the one that is logged to, on this thread."""
    import mlflow

    run = mlflow.active_run()
    return run is not None and run.info.run_id == run_id


def start_afresh() -> None:
    """Forget what an earlier run in this process found out of its server."""
    _lost.clear()
    _answering.cache_clear()


def give_up(error: Exception) -> None:
    """Say once that tracking is lost; nothing more is sent for the rest of the run."""
    if not _lost:
        reason = _first_line(error)
        logger.warning(
            "MLflow tracking is lost (%s): the run goes on, its files are saved, and nothing more "
            "is sent to the server",
            reason,
        )
    _lost.add("lost")


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return _without_password(text)[:400]


def _without_password(text: str) -> str:
    """A text whose addresses name no user and no password."""
    return re.sub(r"//[^/\s]*@", "//", text)


def forgiving(function: Callable[P, R]) -> Callable[P, R | None]:
    """Make a function do nothing without an open run, and survive a server that is away.

    What MLflow does not take costs a warning and itself alone.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R | None:
        import mlflow

        if _lost or mlflow.active_run() is None:
            return None
        try:
            return function(*args, **kwargs)
        except Exception as error:  # whatever the client, the network or the server raises
            if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE":
                logger.warning("MLflow does not take this, it is left out: %s", _first_line(error))
            else:
                give_up(error)
            return None

    return wrapper


def flatten(values: dict[str, Any], separator: str = ".") -> dict[str, Any]:
    """Nested dictionaries as one, with joined keys; lists and values stay."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            inner = flatten({str(k): v for k, v in value.items()}, separator)
            flat.update({f"{key}{separator}{name}": v for name, v in inner.items()})
        else:
            flat[str(key)] = value
    return flat


def _allowed(name: str) -> str:
    """A name of a parameter or a metric, with underscores for what MLflow allows in none."""
    return re.sub(r"[^/\w.\- :]+", "_", name)


def own_active_run() -> None:
    """See to it that the open run is `KILLED`, not `FINISHED`, should the process end before it.

    Control-C is no error to Kedro, and MLflow itself closes what is left open as finished. What
    asks the process to end (SIGTERM: a timeout, a container, a cluster) would leave it `RUNNING`.
    """
    import mlflow

    run = None if _lost else mlflow.active_run()
    if run is not None:
        _owned.append(run.info.run_id)
        _kill_at_exit()
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@forgiving
def see_where_files_go(project_root: Path) -> None:
    """Warn where the files of the open run leave the project, as after it was moved or renamed.

    MLflow remembers for each experiment where its files go, from when it was made.
    """
    import mlflow

    run = mlflow.active_run()
    if run is None or mlflow.get_tracking_uri() != own_database(project_root):
        return
    place = urlparse(run.info.artifact_uri)
    folder = Path(url2pathname(place.path)).parents[1]
    if place.scheme in ("", "file") and not folder.resolve().is_relative_to(project_root.resolve()):
        logger.warning(
            "MLflow keeps the files of this experiment in %s, where the project was when it began: "
            "move that folder to %s and leave a link in its place, or begin with a new mlflow.db",
            folder,
            project_root / folder.name,
        )


@functools.lru_cache(maxsize=1)  # once a process
def _kill_at_exit() -> None:
    atexit.register(kill_owned_run)  # later than MLflow's own, and so called before it


def kill_owned_run() -> None:
    """End the run that `own_active_run` was called for, and those nested in it, if still open."""
    import mlflow

    while _owned and not _lost and (run := mlflow.active_run()) is not None:
        parent = run.data.tags.get("mlflow.parentRunId")
        if not {run.info.run_id, parent} & set(_owned):
            break  # somebody else's
        _close_run("KILLED")
    _owned.clear()


@contextlib.contextmanager
def nested_run(name: str) -> Iterator[None]:
    """Record what is logged inside in a run of its own, below the open one.

    Its status tells how the block ended; a block that raises is `KILLED`.
    """
    opened = _open_nested(name)
    status = "KILLED"
    try:
        yield
        status = "FINISHED"
    finally:
        if opened:
            _close_run(status)


@forgiving
def _open_nested(name: str) -> bool:
    import mlflow

    experiment = mlflow.active_run().info.experiment_id
    mlflow.start_run(run_name=name, nested=True, experiment_id=experiment)
    return True


def _close_run(status: str) -> None:
    """End the innermost open run."""
    import mlflow

    try:
        mlflow.end_run(status)  # also when the server is lost: the outer run is current again
    except Exception as error:
        give_up(error)


@forgiving
def log_parameters(parameters: dict[str, Any]) -> None:
    """Log parameters flattened: `train.learning_rate.peak`; tables among them are left out."""
    import mlflow

    settings = {
        _allowed(name): str(value)
        for name, value in flatten(parameters).items()
        if not (isinstance(value, list) and any(isinstance(item, dict) for item in value))
    }
    mlflow.log_params(settings)


@forgiving
def log_tags(tags: dict[str, str]) -> None:
    """Set tags of the run."""
    import mlflow

    mlflow.set_tags(tags)


@forgiving
def log_epoch(epoch: int, figures: dict[str, float]) -> None:
    """Log an epoch's figures; `train_loss` becomes `train/loss`, so that the UI groups them."""
    import mlflow

    metrics = {}
    for name, value in figures.items():
        split, _, figure = name.partition("_")
        metrics[f"{split}/{figure}" if split in ("train", "val") else f"epoch/{name}"] = value
    mlflow.log_metrics(metrics, step=epoch)


@forgiving
def log_metrics(metrics: dict[str, Any]) -> None:
    """Log nested figures once, joined by `/`: `test/x2/gain_db`."""
    import mlflow

    flat = flatten(metrics, "/")
    numbers = {_allowed(k): float(v) for k, v in flat.items() if isinstance(v, int | float)}
    mlflow.log_metrics(numbers)


@forgiving
def log_figure(name: str, figure: "Figure | dict[str, Figure]") -> None:
    """Log a Matplotlib figure as `figures/<name>.png`, several as `figures/<name>/<file>`."""
    import mlflow

    if isinstance(figure, dict):
        for file, part in figure.items():
            mlflow.log_figure(part, f"figures/{name}/{file}")
    else:
        mlflow.log_figure(figure, f"figures/{name}.png")


@forgiving
def log_text(name: str, text: str) -> None:
    """Log Markdown as `tables/<name>.md`."""
    import mlflow

    mlflow.log_text(text, f"tables/{name}.md")


@forgiving
def log_table(name: str, table: "pd.DataFrame") -> None:
    """Log a table as `tables/<name>.json`, which the UI shows as a table."""
    import mlflow

    mlflow.log_table(table.astype(object).where(table.notna(), None), f"tables/{name}.json")


@forgiving
def log_files(name: str, files: dict[str, bytes]) -> None:
    """Log files in a folder of their own."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            Path(folder, file).write_bytes(content)
        mlflow.log_artifacts(folder, name)


@forgiving
def log_data_set(name: str, table: "pd.DataFrame", source: str, context: str) -> None:
    """Log which data the run used: name, source, digest and schema."""
    import mlflow
    import mlflow.data
    from mlflow.data.code_dataset_source import CodeDatasetSource

    columns = [c for c in table.columns if table[c].notna().any()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on integer columns of models; this is no model
        data_set = mlflow.data.from_pandas(
            table[columns], source=CodeDatasetSource({"source": source}), name=name
        )
        mlflow.log_input(data_set, context=context)


@forgiving
def register_network(registered_model: str, network: "keras.Model") -> None:
    """Log the network, with signature and pinned requirements, as a new registered version."""
    _register(registered_model, network)


def find_champion(registered_model: str, folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The registry's champion: its `.keras` file, copied into `folder`, and its record.

    Returns:
        None when there is none, no run is open or the registry is away.
    """
    return _find_champion(registered_model, folder)


@forgiving
def _find_champion(registered_model: str, folder: Path) -> tuple[Path, dict[str, Any]] | None:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        present = client.get_model_version_by_alias(registered_model, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    mlflow.artifacts.download_artifacts(
        f"models:/{registered_model}/{present.version}", dst_path=str(folder)
    )
    files = sorted(folder.rglob("*.keras"))
    if not files or "score" not in present.tags:
        reason = "is not ours" if files else "has no files where the registry looks for them"
        logger.warning("%s version %s %s: ignored", registered_model, present.version, reason)
        return None
    try:
        record = mlflow.artifacts.load_dict(f"runs:/{present.run_id}/{RECORD}")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        text = "%s version %s has lost the run that says how it scored: ignored"
        logger.warning(text, registered_model, present.version)
        return None
    return files[0], {**record, "version": int(present.version), "registry": registry()}


@forgiving
def registry() -> str:
    """Names the registry of the open run, without its address or anybody's password in it."""
    import mlflow

    uri = urlparse(mlflow.get_registry_uri())
    place = f"{uri.scheme}://{uri.hostname or ''}:{uri.port or ''}{uri.path.rstrip('/')}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


@forgiving
def crown_champion(registered_model: str, network: "keras.Model", record: dict[str, Any]) -> bool:
    """Move the alias `champion` to this run's version of the network, and keep its record there.

    A tag of the run shows it in the list of runs, from which the former champion's tag goes: `yes`
    where it is this run's network, `kept` where it is an earlier one's.
    A run that only evaluates has no version yet: it gets one, and so does a champion that is not
    this run's network (`record["new"]` is false), which the registry does not know.

    Returns:
        True when it was done; None without an open run, or when the registry is away.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    run_id = mlflow.active_run().info.run_id
    query = f"name='{registered_model}' and run_id='{run_id}'"
    versions = client.search_model_versions(query) if record["new"] else []
    number = versions[0].version if versions else _register(registered_model, network)
    mlflow.log_dict(record, RECORD)
    client.set_model_version_tag(registered_model, number, "score", f"{record['score']:.4f}")
    with contextlib.suppress(MlflowException):  # there was none, or its run is deleted
        former = client.get_model_version_by_alias(registered_model, ALIAS)
        client.delete_tag(former.run_id, ALIAS)
    client.set_tag(run_id, ALIAS, "yes" if record["new"] else "kept")
    client.set_registered_model_alias(registered_model, ALIAS, number)
    logger.info("%s version %s is the champion now", registered_model, number)
    return True


def _register(registered_model: str, network: "keras.Model") -> str:
    """Log the network and make a version of it; the version's number."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    logged = _log_model(network)
    with contextlib.suppress(MlflowException):  # it is there already
        client.create_registered_model(registered_model)
    version = client.create_model_version(
        registered_model,
        logged.model_uri,
        run_id=mlflow.active_run().info.run_id,
        model_id=logged.model_id,
    )
    return str(version.version)


def _log_model(network: "keras.Model") -> Any:
    """Log the network as a pyfunc that takes pictures; the `.keras` file is among its artifacts."""
    import mlflow
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    from isr_pipeline import serving
    from isr_pipeline.networks import scales_of

    smallest = min(scales_of(network))
    with tempfile.TemporaryDirectory() as folder, serving.package_copy() as package:
        file = Path(folder) / "network.keras"
        network.save(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to add an example, which would be run
            return mlflow.pyfunc.log_model(
                name="network",
                python_model=str(serving.CODE),
                artifacts={serving.NETWORK: str(file)},
                code_paths=[str(package)],
                signature=ModelSignature(
                    params=ParamSchema([ParamSpec("scale", "long", smallest)])
                ),
                pip_requirements=[f"{name}=={version(name)}" for name in SERVED_WITH],
            )
