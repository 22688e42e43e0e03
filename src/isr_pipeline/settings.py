"""Kedro's settings: configuration, resolvers, hooks."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.project import configure_logging

from isr_pipeline import tracking
from isr_pipeline.configuration import ConfigLoader

tracking.configure_environment()
with warnings.catch_warnings(record=True):  # MLflow warns of its own code while it is imported
    from isr_pipeline.hooks import ProjectHooks, TrackingHooks
    from isr_pipeline.messages import one_line_for_people

sys.excepthook = one_line_for_people
# Both spellings are supported here; the notice is for those who write pipelines, not who run them.
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def _project_root() -> str:
    """The project that runs: the working folder's, if it is one, else this source tree's.

    An installed package has no source tree: then it is the working folder, as for `data`.
    """
    working = Path.cwd()
    for folder in (working, *working.parents, PROJECT_ROOT):
        if (folder / "pyproject.toml").is_file() and (folder / "conf" / "base").is_dir():
            return folder.as_posix()
    return working.as_posix()


def _tracking_uri(configured: str | None = None) -> str:
    return tracking.tracking_uri(configured, Path(_project_root()))


def _artifact_location(uri: str) -> str | None:
    return tracking.artifact_location(uri, Path(_project_root()))


def _configure_logging() -> None:
    """Log as the project says from any folder: Kedro looks into the working folder alone."""
    configured = Path(_project_root()) / "conf" / "logging.yml"
    if "KEDRO_LOGGING_CONFIG" not in os.environ and configured.is_file():
        configure_logging(yaml.safe_load(configured.read_text(encoding="utf-8")))


_configure_logging()

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "catalog": "soft", "mlflow": "soft"},
    "custom_resolvers": {
        "project_root": _project_root,
        "tracking_uri": _tracking_uri,
        "artifact_location": _artifact_location,
    },
}

HOOKS = (TrackingHooks(), ProjectHooks())
# kedro-mlflow's own hook is replaced by TrackingHooks, which extends it.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow", "kedro_mlflow")
