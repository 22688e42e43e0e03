"""What all typed parameters share."""

import re
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


def listed(value: Any) -> Any:
    """One value, or several with spaces between, as the list that it means; each once.

    A comma on the command line begins the next parameter, so that lists cannot be written there.
    Nothing after the equals sign is an empty list.
    """
    if value is None:
        return []
    if isinstance(value, str):
        value = [_meant(word) for word in value.split()]
    if isinstance(value, list):
        kinds = [(type(item), item) for item in value]
        return [item for n, item in enumerate(value) if kinds[n] not in kinds[:n]]
    return [value] if isinstance(value, int | float) else value


_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


def _meant(word: str) -> bool | int | float | str | None:
    """A word as Kedro reads one that stands alone."""
    if word in _WORDS:
        return _WORDS[word]
    if re.fullmatch(r"[+-]?\d+", word):
        return int(word)
    is_real = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", word.lower())
    return float(word) if is_real else word


class Parameters(BaseModel):
    """A group of parameters: unknown keys, wrong types and wrong ranges are errors.

    No field has a default: the one place for defaults is `conf/base/parameters_*.yml`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, values: Any) -> Any:
        if not isinstance(values, dict | cls):
            raise ValueError(f"it is a group: set {', '.join(cls.model_fields)} in it")
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                near = get_close_matches(str(key), cls.model_fields, 1)
                hint = f"is it {near[0]}?" if near else f"there are {', '.join(cls.model_fields)}"
                raise ValueError(f"there is no '{key}': {hint}")
        return values
