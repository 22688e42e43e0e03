"""What happens around every run: tracking, and where to look next."""

import json
import logging
import os
import shlex
import sys
import textwrap
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, cast

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from pydantic import BaseModel, ValidationError

from isr_pipeline import tracking
from isr_pipeline.before_run import check_run
from isr_pipeline.configuration import FOLDERS, ConfigLoader
from isr_pipeline.datasets.models import RECORD, ChampionDataset, KerasModelDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.models import better_shipped, champion_of
from isr_pipeline.machine import command_line
from isr_pipeline.messages import one_line_for_people, remember_options
from isr_pipeline.networks import scales_of
from isr_pipeline.storage.atomic import only_one

logger = logging.getLogger(__name__)
logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)  # it sets INFO while it is imported


class TrackingHooks(MlflowHook):
    """kedro-mlflow's hook, made to survive a tracking server that goes away.

    Runs are opened and closed by kedro-mlflow, by `mlflow.yml`. Parameters are logged flattened
    before the first node. What a catalog entry's `metadata.tracking` names is logged as it is
    saved: `figure`, `table`, `text`, `files`, `metrics`, `tags` or `network` (with
    `registered_model`); what it calls `data_set` is logged as input when it is first loaded, and
    `tags` that an earlier run has saved are set then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._metadata: dict[str, dict[str, Any]] = {}
        self._logged: set[str] = set()
        self._already_active_mlflow = False
        self._claim = ExitStack()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        sys.excepthook = one_line_for_people  # rich may have put its own in its place
        self._claim.close()  # a notebook's, that a person stopped
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
        except ModuleNotFoundError as error:  # a database's driver
            raise ProjectError(
                f"the tracking database needs {error.name}: pip install it, or set another "
                "tracking_uri (conf/base/globals.yml, MLFLOW_TRACKING_URI)"
            ) from None
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, problem["loc"]))
            raise ProjectError(f"mlflow.yml: {key}: {problem['msg']}") from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("mlflow", "requests", "sqlalchemy"):
                raise  # a mistake of ours
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
        self._logged.clear()

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        loader = cast(ConfigLoader, self._context.config_loader)
        remember_options(run_params, loader)
        # Before a run is opened: a run that cannot start is not worth recording.
        given = check_run(loader, run_params, pipeline, catalog)
        self._claim_networks(pipeline, catalog)
        is_named = self._is_named()
        wanted = os.environ.get("MLFLOW_RUN_ID")  # which MLflow takes away as it reads it
        try:
            super().before_pipeline_run(run_params, pipeline, catalog)
        except Exception as error:  # whatever the server's trouble raises
            if wanted and getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                raise ProjectError(f"MLFLOW_RUN_ID={wanted}: there is no such run") from None
            tracking.give_up(error)
        if not self._already_active_mlflow:
            tracking.own_active_run()
        tracking.see_where_files_go(self._context.project_path)
        # As they are understood: `2 4` and `[2, 4]` are one value.
        read = {k: v.model_dump() if isinstance(v, BaseModel) else v for k, v in given.items()}
        tracking.log_parameters(read)
        tags = {"environment": str(run_params.get("env") or "base")}
        tags["kedro_command"] = command_line()  # kedro-mlflow's own has neither --env nor --params
        whole = not run_params.get("only_missing_outputs")  # which may leave out the training
        if "train" in read and "tune" not in read and whole and not is_named:
            network = read["train"]["network"]["name"]
            tags["mlflow.runName"] = _name_of_run(network, loader.runtime_params or {})
        tracking.log_tags(tags)

    def _claim_networks(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Keep the folder of a source's networks to this run, if it writes there.

        Rooms hand the network on by its file: beside another run they would score that one's.

        Raises:
            ProjectError: when another process is at a run that writes there.
        """
        self._claim.close()
        path = getattr(catalog["network"], "_filepath", None) if "network" in catalog else None
        if path is None or not {"network", "champion"} & pipeline.all_outputs():
            return
        folder = Path(path).parent
        with suppress(OSError):  # a folder that nobody may write to: whoever writes there says so
            owner = self._claim.enter_context(only_one(folder.with_name(f"{folder.name}.lock")))
            if owner is not None:
                self._claim.close()
                raise ProjectError(
                    f"process {owner} is training or evaluating with {folder}: wait for it or end "
                    "it; beside it a run needs a source of its own (conf/<environment>/globals.yml)"
                )

    def _is_named(self) -> bool:
        """Whether the run that is about to be opened, or is open, has a name that somebody gave."""
        if self._already_active_mlflow or os.environ.get("MLFLOW_RUN_ID"):
            return True
        config = getattr(self, "mlflow_config", None)  # none where the server is away
        return config is not None and bool(config.tracking.run.name or config.tracking.run.id)

    @hook_impl
    def before_node_run(
        self, node: Node, catalog: DataCatalog, inputs: dict[str, Any], is_async: bool
    ) -> None:
        if tracking.is_lost() or tracking.is_open(self.run_id):
            return  # kedro-mlflow would open the run once more, or refuse to within another
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
                self._logged.add(dataset_name)
                tracking.log_tags({str(key): str(value) for key, value in data.items()})
            case "network":
                tracking.register_network(metadata["registered_model"], data)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        kind = self._metadata.get(dataset_name, {}).get("tracking")
        if kind not in ("data_set", "tags") or dataset_name in self._logged:
            return
        if kind == "tags":  # of the training whose network this run works on
            self.after_dataset_saved(dataset_name, data, node)
            return
        self._logged.add(dataset_name)
        source = self._context.config_loader["globals"].get("source", "unknown")
        tracking.log_data_set(f"{source} {dataset_name}", data, str(source), node.name)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        self._claim.close()
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
        self._claim.close()
        try:
            super().on_pipeline_error(error, run_params, pipeline, catalog)
        except Exception as trouble:
            tracking.give_up(trouble)


class ProjectHooks:
    """Where to look when a run is done, and what is not read before it."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._project = context.project_path
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
        if not places:
            return
        if (self._project / "pyproject.toml").is_file():
            places.append(f"  {'runs':18} make ui (or: kedro mlflow ui)")
            places.append(f"  {'pipelines':18} make viz (or: kedro viz run)")
        else:  # an installed package, without a project's folder
            places.append(f"  {'runs':18} {tracking.how_to_see_runs()}")
        logger.info("Where to look next:\n%s", "\n".join(places))


def _name_of_run(network: str, given: dict[str, Any]) -> str:
    """Tells runs apart in the UI: `subpixel recipe=small_x2`, `autoencoder epochs=2 peak=0.002`."""
    told = {key: value for key, value in given.items() if key not in FOLDERS}
    settings = [
        f"{key.rpartition('.')[2]}={'/'.join(str(value).split('/')[-2:])}"  # the end of a path
        for key, value in tracking.flatten(told).items()
        if key != "train.network.name"
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
