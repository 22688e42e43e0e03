"""What all typed parameters share."""

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """A group of parameters: unknown keys, wrong types and wrong ranges are errors.

    No field has a default: the one place for defaults is `conf/base/parameters_*.yml`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
