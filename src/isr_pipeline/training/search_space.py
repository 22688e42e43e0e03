"""What a hyper-parameter search varies: dotted keys of `train`, each with its values."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import check_scales
from isr_pipeline.parameters import Parameters, listed
from isr_pipeline.training.parameters import WITHOUT_EFFECT, TrainParameters, idle_network

OF_DIMENSIONS = frozenset({"low", "high", "log", "step", "choices"})
Value = bool | int | float | str | None
FIXED = ("seed", "metrics", "epochs", "validation_tiles", *WITHOUT_EFFECT)
"""Keys of `train` that the search sets itself, or that would make its trials incomparable."""
ITS_OWN = {"epochs": "tune.epochs", "maximum_minutes": "tune.minutes", "resume": ""}
"""Keys of `train` that it sets itself, and by which of its own keys."""


class RealRange(Parameters):
    """Real numbers from `low` to `high`, drawn on a logarithmic scale with `log`."""

    low: float
    high: float
    log: bool

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError("low must lie below high, and above 0 with log")
        return self

    @property
    def ends(self) -> list[Value]:
        """Values whose validity stands for that of all."""
        return [self.low, self.high]

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high


class WholeRange(Parameters):
    """Whole numbers `low`, `low + step`, ... up to `high`."""

    low: int
    high: int
    step: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high or (self.high - self.low) % self.step:
            raise ValueError("low must lie below high, a whole number of steps away")
        return self

    @property
    def ends(self) -> list[Value]:
        """Values whose validity stands for that of all."""
        return [self.low, self.high]

    def holds(self, value: Any) -> bool:
        """Whether a value is one of the numbers."""
        return type(value) is int and value in range(self.low, self.high + 1, self.step)


class Choices(Parameters):
    """One of several values without order."""

    choices: Annotated[list[Value], BeforeValidator(listed), Field(min_length=1)]

    @property
    def ends(self) -> list[Value]:
        """Values whose validity stands for that of all."""
        return self.choices

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return any(type(value) is type(choice) and value == choice for choice in self.choices)


def _dotted(space: Any) -> Any:
    """Nested groups as dotted keys: on the command line every dot begins one."""
    flat: dict[str, Any] = {}

    def add(key: str, value: Any) -> None:
        is_dimension = not isinstance(value, dict) or bool(value.keys() & OF_DIMENSIONS)
        former = flat.get(key)
        if not is_dimension:
            for name, inner in value.items():
                add(f"{key}.{name}", inner)
        elif isinstance(value, dict) and isinstance(former, dict):
            flat[key] = {**former, **value}
        else:
            flat[key] = value

    if not isinstance(space, dict):
        return space
    for key, value in space.items():
        add(str(key), value)
    for key, value in flat.items():
        if value is not None and (not isinstance(value, dict) or not _is_whole(value)):
            raise ValueError(
                f"'{key}' needs low, high and log, or low, high and step, or choices; "
                "null takes it out"
            )
    return flat


def _is_whole(values: dict[str, Any]) -> bool:
    return any(key in values for key in ("log", "step", "choices"))


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
    return next((key for key in ("choices", "step") if key in keys), "log")


Dimension = Annotated[
    Annotated[Choices, Tag("choices")]
    | Annotated[WholeRange, Tag("step")]
    | Annotated[RealRange, Tag("log")],
    Discriminator(_kind),
]


class TuneParameters(Parameters):
    """How the parameters of training are searched.

    Attributes:
        seed: of the search; training's own seed is the same in every trial.
        trials: as many in all, those of interrupted runs included.
        epochs: of each trial.
        minutes: begin no trial after this time; the next run goes on. Null for no limit.
        pruner: ends trials that lag behind: `median` of the trials before at the same epoch,
            successive `halving` (Li et al. 2018, ASHA), `hyperband` (Li et al. 2018), or `none`.
        startup_trials: the median is not asked before as many trials are complete.
        warmup_epochs: no trial ends before as many epochs.
        space: dotted keys of `train`, such as `learning_rate.peak`, each with `{low, high, log}`,
            `{low, high, step}` for whole numbers, or `{choices}`; null leaves a key alone.
    """

    seed: int = Field(ge=0)
    trials: int = Field(ge=1)
    epochs: int = Field(ge=1)
    minutes: float | None = Field(gt=0)
    pruner: Literal["median", "halving", "hyperband", "none"]
    startup_trials: int = Field(ge=1)
    warmup_epochs: int = Field(ge=1)
    space: Annotated[dict[str, Dimension | None], BeforeValidator(_dotted)]

    @property
    def dimensions(self) -> dict[str, RealRange | WholeRange | Choices]:
        """The keys that are varied."""
        return {key: values for key, values in self.space.items() if values is not None}


def check_space(tune: TuneParameters, train: TrainParameters) -> None:
    """Refuse a search space that no training would accept.

    Raises:
        ProjectError: for nothing to search, keys that `train` does not have or that must not
            vary, and values that it refuses.
    """
    if not tune.dimensions:
        raise ProjectError("tune.space varies nothing: give it at least one key of train")
    for key, dimension in tune.dimensions.items():
        if key in FIXED:
            raise ProjectError(f"tune.space: '{key}' must be the same in every trial; take it out")
        known = sorted(set(_leaves(train.model_dump())) - set(FIXED))
        idle = idle_network(key, train.network.name)
        if idle and "network.name" not in tune.dimensions:
            raise ProjectError(
                f"tune.space: '{key}' changes nothing: train.network.name is {train.network.name}"
            )
        if key not in known:
            near = get_close_matches(key, known) or known
            raise ProjectError(
                f"tune.space: '{key}' is no value of train now; is it {' or '.join(near)}?"
            )
        for value in dimension.ends:
            try:
                trial_parameters(train, tune, {key: value})
            except ValidationError as error:
                path = tuple(key.split("."))
                for problem in error.errors():  # others may vanish beside other values
                    if problem["loc"][: len(path)] == path:
                        raise ProjectError(
                            f"tune.space: train.{key} cannot be {value!r}: {problem['msg']}"
                        ) from None


def possible_values(train: TrainParameters, tune: TuneParameters | None, key: str) -> list[Value]:
    """What a dotted key of `train` can be: its value, or, where a search varies it, those."""
    if tune is None or key not in tune.dimensions:
        return [_leaves(train.model_dump())[key]]
    return tune.dimensions[key].ends


def check_networks(
    train: TrainParameters, tune: TuneParameters | None, scales: Collection[int]
) -> None:
    """See whether each network that can be trained can be built for factors.

    Raises:
        ProjectError: when one cannot.
    """
    for name in possible_values(train, tune, "network.name"):
        try:
            check_scales(str(name), scales)
        except ValueError as error:
            raise ProjectError(f"train.network: {error}") from None


def trial_parameters(
    train: TrainParameters, tune: TuneParameters, chosen: dict[str, Any]
) -> TrainParameters:
    """The parameters of one trial's training.

    Args:
        train: what does not vary.
        tune: the search.
        chosen: value by dotted key.

    Raises:
        pydantic.ValidationError: when the values do not go together.
    """
    values = train.model_dump()
    for key, value in chosen.items():
        *groups, last = key.split(".")
        target = values
        for group in groups:
            target = target[group]
        target[last] = value
    metrics = [*train.metrics, *([] if "psnr" in train.metrics else ["psnr"])]
    fixed = {"epochs": tune.epochs, "metrics": metrics, "maximum_minutes": None, "resume": True}
    return TrainParameters(**{**values, **fixed})


def present_values(train: TrainParameters, tune: TuneParameters) -> dict[str, Any] | None:
    """What `train` has for the varied keys, or None when some of it lies outside the space."""
    leaves = _leaves(train.model_dump())
    values = {key: leaves[key] for key in tune.dimensions}
    inside = all(tune.dimensions[key].holds(value) for key, value in values.items())
    return values if inside else None


def common_values(train: TrainParameters, tune: TuneParameters) -> dict[str, Any]:
    """What all trials of a search share, by dotted key: searches with other values are others."""
    left_out = {*tune.dimensions, "metrics", *WITHOUT_EFFECT}
    leaves = {**_leaves(train.model_dump()), "epochs": tune.epochs}
    return {key: value for key, value in leaves.items() if key not in left_out}


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= (
            _leaves(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return leaves
