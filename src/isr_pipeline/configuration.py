"""Kedro's configuration, with one line where a name in it is wrong."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from isr_pipeline.errors import ProjectError

READ_WITH = {
    "photos": "--env=photos or --env=weights",
    "unsplash": "--env=unsplash or --env=report",
    "recipe": "--env=weights",
    "weights_folder": "--env=weights",
}
"""Environments whose files read a parameter that no node reads."""
FOLDERS = ("photos", "unsplash", "weights_folder")
"""Parameters that name a folder."""


class ConfigLoader(OmegaConfigLoader):
    """Kedro's loader; it knows which of the run's parameters its files read.

    Attributes:
        read: names of the parameters that a `${runtime_params:...}` has asked for.

    Raises:
        ProjectError: when the environment has no folder, and, when files are read, for parameters
            and globals that they need and do not have, for files that are no YAML, and for keys
            that stand in two of them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.read: set[str] = set()
        super().__init__(*args, **kwargs)
        folder = Path(self.conf_source)
        if self.env and folder.is_dir() and not (folder / self.env).is_dir():
            known = sorted(path.name for path in folder.iterdir() if path.is_dir())
            raise ProjectError(
                f"--env={self.env}: there is no {folder / self.env}; there are {', '.join(known)}"
            )

    def __getitem__(self, key: str) -> Any:
        try:
            return super().__getitem__(key)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ProjectError(self._what_is_no_yaml() or " ".join(str(error).split())) from None
        except ValueError as error:
            if "Duplicate keys" not in str(error):
                raise
            raise ProjectError(
                f"{str(error).splitlines()[0]}: keep each in one of them alone"
            ) from None

    def _what_is_no_yaml(self) -> str:
        """The first file of the environments that are read that is no YAML, and what is wrong."""
        for environment in (self.base_env, self.env or self.default_run_env):
            for path in sorted((Path(self.conf_source) / environment).rglob("*.y*ml")):
                try:
                    OmegaConf.load(path)
                except yaml.MarkedYAMLError as error:
                    mark = error.problem_mark
                    place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
                    return f"{path}{place}: {error.problem}"
                except (yaml.YAMLError, UnicodeDecodeError) as error:
                    return f"{path}: {' '.join(str(error).split())}"
        return ""

    def check_parameters(self, of_nodes: set[str]) -> None:
        """Refuse what nothing reads: a slip of the hand, such as `epochs` for `train.epochs`.

        Args:
            of_nodes: names of the parameters that the project's nodes read.

        Raises:
            ProjectError: naming the parameter.
        """
        self["catalog"]  # which is where the others are read
        for key in [*self["parameters"], *(self.runtime_params or {})]:
            if key in of_nodes | self.read:
                continue
            if key in READ_WITH:
                raise ProjectError(f"the parameter '{key}' is read with {READ_WITH[key]} alone")
            found = [path for path in self._paths(of_nodes) if path.split(".")[-1] == key]
            least = min((path.count(".") for path in found), default=0)
            meant = sorted(path for path in found if path.count(".") == least)
            near = meant or get_close_matches(key, {*of_nodes, *READ_WITH, *self.read}, 1)
            raise ProjectError(
                f"unknown parameter '{key}': is it {' or '.join(near)}?"
                if near
                else f"unknown parameter '{key}': there are {', '.join(sorted(of_nodes))}, and for "
                f"the catalog {', '.join(sorted({*READ_WITH, *self.read}))}"
            )

    def _paths(self, of_nodes: set[str]) -> Iterator[str]:
        """Dotted names of all parameters: `train.learning_rate.peak`."""

        def below(prefix: str, value: Any) -> Iterator[str]:
            yield prefix
            for key in value if isinstance(value, dict) else ():
                yield from below(f"{prefix}.{key}", value[key])

        for key, value in self["parameters"].items():
            if key in of_nodes:
                yield from below(key, value)

    def _get_runtime_value(self, variable: str, *default: Any) -> Any:
        self.read.add(variable.split(".")[0])
        try:
            value = super()._get_runtime_value(variable, *default)
        except InterpolationResolutionError:
            raise ProjectError(
                f"--env={self.env or self.default_run_env} needs the parameter '{variable}': "
                f"--params={variable}=<value>"
            ) from None
        if variable in FOLDERS and isinstance(value, int | float):
            raise ProjectError(
                f"--params={variable}={value} is a number: write {variable}=./{value} for a folder "
                "of that name"
            )
        return value

    def _get_globals_value(self, variable: str, *default: Any) -> Any:
        try:
            return super()._get_globals_value(variable, *default)
        except InterpolationResolutionError:
            known, found = self._globals, ""
            for part in variable.split("."):
                if not isinstance(known, dict) or part not in known:
                    there = ", ".join(known) if isinstance(known, dict) else "nothing"
                    raise ProjectError(
                        f"globals.yml has no {found}{part}: there are {there}"
                    ) from None
                known, found = known[part], f"{found}{part}."
            raise
