"""Projects in temporary folders, driven through the command line like a person would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PROJECT

ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if not key.startswith(("KEDRO_", "MLFLOW_", "KAGGLE"))
}


class Project:
    """A copy of the project's files, without data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(PROJECT / name, folder / name)
        shutil.copytree(PROJECT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        (folder / "conf" / "local").mkdir()
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(PROJECT / "src", folder / "src", ignore=ignored)

    def kedro(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `kedro` with the arguments in the project's folder."""
        return self.python("-m", "kedro", *arguments, **environment)

    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**ENVIRONMENT, "HOME": str(self.folder), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )

    def path(self, layer: str, name: str, source: str = "test") -> Path:
        return self.folder / "data" / layer / source / name


@pytest.fixture
def empty_project(tmp_path):
    """A project as cloned."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def run_project(tmp_path_factory):
    """A project after `kedro run --env=test`, with the finished process as `run`."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.run = project.kedro("run", "--env=test")
    assert project.run.returncode == 0, project.run.stderr
    return project
