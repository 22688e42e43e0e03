"""What happens around every run: tracking, friendly errors, where to look next."""

import errno
import json
import logging
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.validation.exceptions import ParameterValidationError
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from pydantic import BaseModel

from isr_pipeline import tracking
from isr_pipeline.configuration import FOLDERS, READ_WITH, ConfigLoader
from isr_pipeline.datasets.models import RECORD, ChampionDataset, KerasModelDataset
from isr_pipeline.datasets.weights import check_can_ship
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.models import better_shipped, champion_of
from isr_pipeline.networks import check_backend, scales_of
from isr_pipeline.pipelines.ship.nodes import check_recipe
from isr_pipeline.pipelines.together import check_together
from isr_pipeline.storage.atomic import only_one
from isr_pipeline.training.parameters import idle_network
from isr_pipeline.training.search_space import ITS_OWN

logger = logging.getLogger(__name__)
PARTS_OF_PIPELINES = (
    "from_nodes",
    "to_nodes",
    "node_names",
    "from_inputs",
    "to_outputs",
    "tags",
    "namespaces",
    "only_missing_outputs",
)
"""Parameters of a run that leave out nodes, as one does who goes on where a run ended."""
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""What a system says that lets nothing be written, or read, there."""
_options: list[str] = []
"""See `_remember_options`."""
NAMES_ARE_LOOKED_UP_IN = ("kedro.framework.session.session", "kedro.pipeline.pipeline")
"""Kedro's modules that raise a ValueError for names of pipelines, nodes and datasets."""
logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)  # it sets INFO while it is imported


class TrackingHooks(MlflowHook):
    """kedro-mlflow's hook, made to survive a tracking server that goes away.

    Runs are opened and closed by kedro-mlflow, by `mlflow.yml`. Parameters are logged flattened
    before the first node. What a catalog entry's `metadata.tracking` names is logged as it is
    saved: `figure`, `table`, `text`, `files`, `metrics`, `tags` or `network` (with
    `registered_model`); what it calls `data_set` is logged as input when it is first loaded.
    """

    def __init__(self) -> None:
        super().__init__()
        self._metadata: dict[str, dict[str, Any]] = {}
        self._logged_inputs: set[str] = set()
        self._already_active_mlflow = False

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        tracking.start_afresh()
        tracking.kill_owned_run()  # a notebook's, that a person stopped
        self._context = context
        try:
            with ExitStack() as stack:
                # MLflow's database is made on first use, which two processes at one time garble.
                with suppress(OSError):  # a folder that nobody may write to
                    lock = context.project_path / "mlflow.db.lock"
                    stack.enter_context(only_one(lock, wait=True))
                super().after_context_created(context)
        except ConnectionError as error:
            tracking.give_up(error)
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("mlflow", "requests", "sqlalchemy"):
                raise  # a mistake in mlflow.yml is for its author to see
            tracking.give_up(error)

    @hook_impl
    def after_catalog_created(
        self,
        catalog: DataCatalog,
        conf_catalog: dict[str, Any],
        conf_creds: dict[str, Any],
        parameters: dict[str, Any],
        save_version: str,
        load_versions: dict[str, str],
    ) -> None:
        super().after_catalog_created(
            catalog, conf_catalog, conf_creds, parameters, save_version, load_versions
        )
        self._metadata = {
            name: entry.get("metadata") or {}
            for name, entry in conf_catalog.items()
            if isinstance(entry, dict)
        }
        self._logged_inputs.clear()

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        check_backend()
        loader = cast(ConfigLoader, self._context.config_loader)
        _remember_options(run_params, loader)
        loader.check_parameters(_parameters_of_nodes())
        if not any(run_params.get(part) for part in PARTS_OF_PIPELINES):
            _check_that_settings_are_read(loader, pipeline)
        given = {
            name.removeprefix("params:"): catalog[name].load()
            for name in sorted(pipeline.inputs())
            if name.startswith("params:")
        }
        check_together(given)
        if "weight_set" in pipeline.all_outputs():
            check_can_ship()
            if "pairs" in pipeline.inputs():
                _check_recipe(catalog)
        missing = _unprepared(pipeline, catalog)
        if missing:
            # Before a run is opened: a run that cannot start is not worth recording.
            raise ProjectError(_how_to_prepare(missing, catalog))
        try:
            super().before_pipeline_run(run_params, pipeline, catalog)
        except Exception as error:  # whatever the server's trouble raises
            tracking.give_up(error)
        if not self._already_active_mlflow:
            tracking.own_active_run()
        tracking.see_where_files_go(self._context.project_path)
        # As they are understood: `2 4` and `[2, 4]` are one value.
        read = {k: v.model_dump() if isinstance(v, BaseModel) else v for k, v in given.items()}
        tracking.log_parameters(read)
        tags = {"environment": str(run_params.get("env") or "base")}
        if "train" in read and "tune" not in read and self._names_runs(loader):
            network = read["train"]["network"]["name"]
            tags["mlflow.runName"] = _name_of_run(network, loader.runtime_params or {})
        tracking.log_tags(tags)

    def _names_runs(self, loader: ConfigLoader) -> bool:
        """Whether the open run is called after the pipelines, not by a person."""
        configured = (loader["mlflow"].get("tracking") or {}).get("run") or {}
        return not (self._already_active_mlflow or configured.get("name") or configured.get("id"))

    @hook_impl
    def before_node_run(
        self, node: Node, catalog: DataCatalog, inputs: dict[str, Any], is_async: bool
    ) -> None:
        if tracking.is_lost():
            return
        visible = {k: v for k, v in inputs.items() if not k.startswith("params:")}
        try:
            super().before_node_run(node, catalog, visible, is_async)
        except Exception as error:
            tracking.give_up(error)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        metadata = self._metadata.get(dataset_name, {})
        match metadata.get("tracking"):
            case "figure":
                tracking.log_figure(dataset_name, data)
            case "text":
                tracking.log_text(dataset_name, data)
            case "table":
                tracking.log_table(dataset_name, data)
            case "files":
                tracking.log_files(dataset_name, data)
            case "metrics":
                tracking.log_metrics(data)
            case "tags":
                tracking.log_tags({str(key): str(value) for key, value in data.items()})
            case "network":
                tracking.register_network(metadata["registered_model"], data)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        is_input = self._metadata.get(dataset_name, {}).get("tracking") == "data_set"
        if is_input and dataset_name not in self._logged_inputs:
            self._logged_inputs.add(dataset_name)
            source = self._context.config_loader["globals"].get("source", "unknown")
            tracking.log_data_set(f"{source} {dataset_name}", data, str(source), node.name)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        try:
            super().after_pipeline_run(run_params, pipeline, catalog)
        except Exception as error:
            tracking.give_up(error)

    @hook_impl
    def on_pipeline_error(
        self,
        error: Exception,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: DataCatalog,
    ) -> None:
        try:
            super().on_pipeline_error(error, run_params, pipeline, catalog)
        except Exception as trouble:
            tracking.give_up(trouble)


class ProjectHooks:
    """Where to look when a run is done, and what is not read before it."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        folder = Path(context.config_loader.conf_source) / "local"
        unread = sorted(path.name for path in folder.rglob("*.y*ml"))
        if context.env not in (None, "local") and unread:
            logger.warning(
                "conf/local is not read with --env=%s: %s would have to be in conf/%s",
                context.env,
                ", ".join(unread),
                context.env,
            )

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        places = []
        for name in (
            "photo_index",
            "scores",
            "comparison_panels",
            "champion",
            "exported",
            "tuned_parameters",
            "benchmark_tables",
            "benchmark_panels",
            "results_page",
        ):
            if name in pipeline.outputs() | pipeline.all_outputs() and name in catalog:
                path = getattr(catalog[name], "_filepath", None)
                # Some have nothing to save: no network, no panels.
                if path is not None and (_is_remote(catalog[name]) or Path(path).exists()):
                    places.append(f"  {name.replace('_', ' '):18} {path}")
                if name == "champion" and path is not None:
                    places += _how_to_use(Path(path))
        if "network" in pipeline.all_outputs() and not _is_champion(catalog, pipeline):
            places += _how_to_try(catalog["network"])
        if places:
            logger.info(
                "Where to look next:\n%s\n  %-18s make ui (or: kedro mlflow ui)\n"
                "  %-18s make viz (or: kedro viz run)",
                "\n".join(places),
                "runs",
                "pipelines",
            )


def _name_of_run(network: str, given: dict[str, Any]) -> str:
    """Tells runs apart in the UI: `subpixel recipe=small_x2`, `autoencoder epochs=2 peak=0.002`."""
    told = {key: value for key, value in given.items() if key not in FOLDERS}
    settings = [
        f"{key.rpartition('.')[2]}={value}"
        for key, value in tracking.flatten(told).items()
        if key != "train.network.name" and "/" not in str(value)
    ]
    return textwrap.shorten(" ".join([network, *settings]), 100, placeholder=" ...")


def _is_champion(catalog: DataCatalog, pipeline: Pipeline) -> bool:
    """Whether the run's network has become champion."""
    champion = catalog["champion"] if "champion" in pipeline.all_outputs() else None
    if not isinstance(champion, ChampionDataset):
        return False
    return bool(json.loads((champion._filepath / RECORD).read_text())["new"])


def _how_to_try(network: Any) -> list[str]:
    """The command that enlarges pictures with a run's network, if it can."""
    if not isinstance(network, KerasModelDataset) or scales_of(network.load())[0] == 1:
        return []  # the report's takes pictures that are as large as its result
    path, here = network._filepath, Path.cwd()
    typed = shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
    return [f"  {'this network':18} isr upscale <picture> --model {typed}"]


def _how_to_use(champion: Path) -> list[str]:
    """The command that enlarges pictures with a project's champion, if it can."""
    environment = champion.parent.name
    source = champion_of(champion.parents[3], environment)
    if source is None:
        return []
    lines = [f"  {'use it':18} isr upscale <picture> --model champion:{environment}"]
    beaten = [f"x{scale}" for scale in source.scales if better_shipped(source, scale)]
    if beaten:
        text = f"without --model: the package's own weights, which are better at {' '.join(beaten)}"
        lines.append(f"  {'':18} {text}")
    return lines


def _is_remote(entry: Any) -> bool:
    """Whether a catalog entry's file is elsewhere than on this machine's disks."""
    return getattr(entry, "_protocol", "file") != "file"


def _check_recipe(catalog: DataCatalog) -> None:
    """See before a training whether its pictures are those of the set that is to be shipped."""
    if catalog.exists("pairs"):
        check_recipe(catalog["pairs"].load(), catalog["params:pair"].load())


def _groups_of(pipeline: Pipeline) -> set[str]:
    """The groups of parameters that a pipeline's nodes read."""
    return {
        name.removeprefix("params:").split(".")[0]
        for name in pipeline.inputs()
        if name.startswith("params:")
    }


def _parameters_of_nodes() -> set[str]:
    return set().union(*(_groups_of(pipeline) for pipeline in pipelines.values()))


def _check_that_settings_are_read(loader: ConfigLoader, pipeline: Pipeline) -> None:
    """Refuse settings on the command line that would change nothing in this run."""
    given = loader.runtime_params or {}
    searches = "tuning_trials" in pipeline.all_outputs() and "network" not in pipeline.all_outputs()
    train = given.get("train")
    for key in train if searches and isinstance(train, dict) else ():
        if key in ITS_OWN:
            raise ProjectError(
                f"train.{key} changes nothing in a search: "
                + (f"{ITS_OWN[key]} is its own" if ITS_OWN[key] else "leave it out")
            )
    network = train.get("network") if isinstance(train, dict) and not searches else None
    for key in tracking.flatten({"network": network}) if isinstance(network, dict) else ():
        chosen = str(loader["parameters"]["train"]["network"]["name"])
        if idle_network(key, chosen):
            raise ProjectError(
                f"train.{key} changes nothing: train.network.name is {chosen}, set that too"
            )
    read = _groups_of(pipeline) | loader.read - {"initial_network"} | pipeline.inputs()
    for group, value in given.items():
        if group in read:
            continue
        name = f"{group}.{next(iter(value))}" if isinstance(value, dict) and value else group
        readers = [
            known
            for known, other in pipelines.items()
            if group in _groups_of(other) | other.inputs()
            and known not in ("__default__", "prepare")
        ]
        if len(readers) > 1 and "ship" in readers:  # which compares it with what was done
            readers.remove("ship")
        raise ProjectError(
            f"the parameter '{name}' changes nothing in this run: add a pipeline that reads it to "
            f"--pipelines ({', '.join(readers)}), or leave it out"
        )


def _unprepared(pipeline: Pipeline, catalog: DataCatalog) -> list[str]:
    """Inputs of the pipeline that should be on disk and are not."""
    inputs = (name for name in pipeline.inputs() if not name.startswith(("params:", "parameters")))
    return sorted(name for name in inputs if name in catalog and not _is_there(catalog, name))


def _is_there(catalog: DataCatalog, name: str) -> bool:
    return getattr(catalog[name], "optional", False) or catalog.exists(name)


def _how_to_prepare(missing: list[str], catalog: DataCatalog) -> str:
    """Which pipelines to run first: those that make what is missing, and what *they* miss."""
    makers = {n: p for n, p in pipelines.items() if not n.startswith("__") and n != "prepare"}
    needed, rooms = set(missing), set()
    for _ in makers:
        for name, pipeline in makers.items():
            if pipeline.all_outputs() & needed:
                rooms.add(name)
                needed |= set(_unprepared(pipeline, catalog))
    return (
        f"not prepared yet: {', '.join(missing)} missing. Run first: "
        f"kedro run --pipelines={','.join(name for name in makers if name in rooms)}"
    )


def _remember_options(run_params: dict[str, Any], loader: ConfigLoader) -> None:
    """Keep what a command must say beside its pipelines to work on what this run works on."""
    environment = run_params.get("env")
    _options.clear()
    if environment not in (None, "local", "base"):
        _options.append(f" --env={environment}")
    given = {key: value for key, value in (loader.runtime_params or {}).items() if key in READ_WITH}
    if environment in ("photos", "weights"):
        given = {"photos": "<folder>", **given}
    if given:
        option = "--params=" + ",".join(f"{key}={value}" for key, value in given.items())
        _options.append(f" {option if '<' in option else shlex.quote(option)}")


def _with_options(text: str) -> str:
    """A text whose commands have the options that this run has."""
    return re.sub(
        r"(kedro run --pipelines=[\w,]+)\b(?! --)", lambda m: m[1] + "".join(_options), text
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line_for_people(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """`sys.excepthook` that shows what a person can mend as one line, and else the traceback."""
    for link in _chain(error):
        if isinstance(link, ProjectError):
            print(f"Error: {_with_options(str(link))}", file=sys.stderr)
            return
        if isinstance(link, OSError) and link.errno in NO_PLACE:
            where = f": {link.filename}" if link.filename else ""
            print(f"Error: {os.strerror(link.errno).lower()}{where}", file=sys.stderr)
            return
        if isinstance(link, ParameterValidationError):
            print(f"Error: {wrong_parameters(str(link))}", file=sys.stderr)
            return
    if isinstance(error, ValueError) and _module_of(traceback) in NAMES_ARE_LOOKED_UP_IN:
        text = " ".join(str(error).split())
        if "find the pipeline" in text:
            known = ", ".join(sorted(name for name in pipelines if name != "__default__"))
            text = f"{text.partition('. ')[0]}: there are {known}"
        print(f"Error: {text}", file=sys.stderr)
        return
    sys.__excepthook__(kind, error, traceback)


def wrong_parameters(text: str) -> str:
    """What Kedro and pydantic say of wrong parameters, in one line with their whole names.

    Args:
        text: of a `ParameterValidationError`: a line for each group of parameters, below it a line
            for each of them that is wrong, and below that, indented, what is wrong with it.
    """
    found, group, name = [], "", ""
    for line in text.splitlines():
        heading = re.match(r"- Parameter '([^']+)':", line)
        if heading:
            group = name = heading[1]
        elif line.startswith("  ") and not line.lstrip().startswith("For further information"):
            wrong = line.strip().removeprefix("Value error, ").partition(" [type=")[0]
            found.append(f"{name}: {wrong[0].lower()}{wrong[1:]}")
        elif group and line and not line[0].isspace():
            name = f"{group}.{line}"
    return "; ".join(found) or text


def _module_of(traceback: TracebackType | None) -> str | None:
    """The module in which an error was raised."""
    frame = None
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
    return None if frame is None else frame.f_globals.get("__name__")
