"""What is looked at before a run, so that what cannot succeed fails in seconds."""

from typing import Any

from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from isr_pipeline.configuration import ConfigLoader
from isr_pipeline.datasets.models import InitialNetworkDataset
from isr_pipeline.datasets.photographs import FolderDataset, KaggleDataset
from isr_pipeline.datasets.weights import check_can_ship
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.export import check_installed
from isr_pipeline.networks import check_backend
from isr_pipeline.pipelines.benchmark.nodes import named_sets
from isr_pipeline.pipelines.evaluate.nodes import scored_pairs
from isr_pipeline.pipelines.ship.nodes import check_recipe
from isr_pipeline.pipelines.together import check_together
from isr_pipeline.tracking import flatten
from isr_pipeline.training.parameters import idle_network
from isr_pipeline.training.search_space import ITS_OWN

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


def check_run(
    loader: ConfigLoader, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
) -> dict[str, Any]:
    """See whether a run can do what it is asked to.

    Args:
        loader: of the run's configuration.
        run_params: how the run was started, as Kedro gives it to hooks.
        pipeline: what will be run.
        catalog: what it reads and writes.

    Returns:
        The parameters of its rooms, as they are understood, by the name of the room.

    Raises:
        ProjectError: when it cannot, with what to do.
    """
    check_backend()
    loader.check_parameters(_parameters_of_nodes())
    if not any(run_params.get(part) for part in PARTS_OF_PIPELINES):
        check_that_settings_are_read(loader, pipeline)
    parameters = {
        name.removeprefix("params:"): catalog[name].load()
        for name in sorted(pipeline.inputs())
        if name.startswith("params:")
    }
    check_together(parameters)
    outputs = pipeline.all_outputs()
    if "weight_set" in outputs:
        check_can_ship()
        if "pairs" in pipeline.inputs() and catalog.exists("pairs"):  # made before, for any recipe
            check_recipe(catalog["pairs"].load(), parameters["pair"])
    for name in sorted(pipeline.inputs()):
        entry = catalog[name]
        if isinstance(entry, FolderDataset | KaggleDataset | InitialNetworkDataset):
            entry.check()
    missing = _unprepared(pipeline, catalog)
    if missing:
        raise ProjectError(_how_to_prepare(missing, catalog))
    if "picture_scores" in outputs and "pairs" in pipeline.inputs():
        scored_pairs(catalog["pairs"].load(), parameters["evaluate"].split)
    if "exported" in outputs:
        check_installed(parameters["export"].formats)
    if "benchmark_sets" in outputs:
        named_sets(parameters["benchmark"])
    if {"champion", "upscaled_pictures"} <= outputs:
        raise ProjectError(
            "upscale would enlarge with the champion of before this run: leave it out, and run it "
            "afterwards (kedro run --pipelines=upscale)"
        )
    return parameters


def _groups_of(pipeline: Pipeline) -> set[str]:
    """The groups of parameters that a pipeline's nodes read."""
    return {
        name.removeprefix("params:").split(".")[0]
        for name in pipeline.inputs()
        if name.startswith("params:")
    }


def _parameters_of_nodes() -> set[str]:
    return set().union(*(_groups_of(pipeline) for pipeline in pipelines.values()))


def check_that_settings_are_read(loader: ConfigLoader, pipeline: Pipeline) -> None:
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
    for key in flatten({"network": network}) if isinstance(network, dict) else ():
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
