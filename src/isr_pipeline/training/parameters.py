"""Parameters of training. Imports neither Keras nor a backend."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from isr_pipeline.parameters import Parameters, listed

ITS_EPOCHS, EARLY_STOPPING = "its epochs", "early stopping"
TIME_LIMIT, DIVERGENCE = "its time limit", "divergence"
"""What ended a training: `train.epochs`, a callback, `train.maximum_minutes`, an infinite loss."""
WITHOUT_EFFECT = ("maximum_minutes", "resume", "feed")
"""Keys of `train` that do not change what a training step does."""


class AutoencoderSizes(Parameters):
    """Arguments of `networks.autoencoder`, which explains them."""

    features: int = Field(ge=1)
    bottleneck_features: int = Field(ge=1)
    blocks: int = Field(ge=0)
    bottleneck_blocks: int = Field(ge=0)


class SubpixelSizes(Parameters):
    """Arguments of `networks.subpixel`, which explains them."""

    size: Literal["tiny", "small", "medium"]
    branches: bool
    activation: Literal["auto", "relu", "leaky_relu"]
    """`auto` is the initial network's; without one, `relu`."""


class ReportAutoencoderSizes(Parameters):
    """Arguments of `networks.report_autoencoder`, which explains them."""

    residual: bool


class NetworkParameters(Parameters):
    """Which network, and the arguments of each; those of the one that is chosen are used.

    Attributes:
        name: the network that is trained.
        autoencoder: sizes.
        subpixel: size and form.
        report_autoencoder: form.
    """

    name: Literal["autoencoder", "report_autoencoder", "subpixel"]
    autoencoder: AutoencoderSizes
    subpixel: SubpixelSizes
    report_autoencoder: ReportAutoencoderSizes

    @property
    def label(self) -> str:
        """The network's name, with its size where it has sizes: `subpixel-small`."""
        return f"{self.name}-{self.subpixel.size}" if self.name == "subpixel" else self.name

    @property
    def sizes(self) -> dict[str, Any]:
        """Arguments of the chosen network."""
        chosen: Parameters = getattr(self, self.name)
        return chosen.model_dump()


def idle_network(key: str, chosen: str) -> bool:
    """Whether a dotted key of `train` is of a network that is not the chosen one."""
    group, _, rest = key.partition(".")
    network = rest.partition(".")[0]
    return group == "network" and network not in ("name", chosen) and "." in rest


class LearningRateParameters(Parameters):
    """The optimiser's learning rate.

    Attributes:
        peak: the (largest) learning rate.
        schedule: `constant`, or `cosine` from `peak` to `final_fraction` of it over all epochs.
        warmup_steps: steps of linear warm-up.
        final_fraction: where the cosine ends, as a fraction of the peak.
    """

    peak: float = Field(gt=0)
    schedule: Literal["constant", "cosine"]
    warmup_steps: int = Field(ge=0)
    final_fraction: float = Field(ge=0, le=1)


class EarlyStoppingParameters(Parameters):
    """Stop when the monitored figure has not improved for `patience` epochs."""

    monitor: Literal["val_loss", "loss"]
    patience: int = Field(ge=1)


class CheckpointParameters(Parameters):
    """Keep the weights of the epoch with the best (lowest) monitored figure."""

    monitor: Literal["val_loss", "loss"]


class ReduceLearningRateParameters(Parameters):
    """Multiply the learning rate by `factor` after `patience` epochs without improvement."""

    monitor: Literal["val_loss", "loss"]
    patience: int = Field(ge=1)
    factor: float = Field(gt=0, lt=1)
    minimum: float = Field(ge=0)


class CallbackParameters(Parameters):
    """The callbacks; null switches one off, but there is always a checkpoint."""

    checkpoint: CheckpointParameters
    early_stopping: EarlyStoppingParameters | None
    reduce_learning_rate: ReduceLearningRateParameters | None


class TrainParameters(Parameters):
    """How a network is trained.

    Attributes:
        seed: of the weights, the order of the tiles and their flips; the same seed on the same
            machine gives the same network.
        network: what is trained.
        precision: `float32`, `mixed_bfloat16`, or `auto` for the latter where processor or GPU
            have it.
        optimizer: `adam`, or `muon` (see `training.optimizers.ConvolutionMuon`).
        loss: on pixels in [0, 1].
        fourier_weight: of the mean modulus of the error's spectrum, which is added to the loss;
            0 for none.
        metrics: shown and logged by epoch: `psnr` in dB; `accuracy` is the report's.
        learning_rate: the optimiser's.
        average: momentum of the exponential moving average of the weights, which is what is then
            validated and kept; null for none.
        batch_size: tiles of each scale in a step.
        accumulate_steps: batches whose mean gradient makes one step: a larger batch than memory
            has room for.
        augment: mirror and transpose tiles at random.
        feed: where tiles are cut: by the processor (`host`), or by the GPU out of a copy of the
            whole picture store in its memory, 3 bytes a pixel (`device`); `auto` is `device` with
            JAX or PyTorch on a GPU when the store is below 4 GB.
        epochs: at most this many.
        steps_per_epoch: or null for as many as it takes to see each tile once.
        validation_tiles: at most this many of each scale, spread evenly; null for all.
        maximum_minutes: end after the epoch in which this time is over; null for no limit.
        callbacks: checkpoint, early stopping, learning-rate reduction.
        resume: go on from an interrupted training with the same parameters and tiles.
    """

    seed: int = Field(ge=0)
    network: NetworkParameters
    precision: Literal["auto", "float32", "mixed_bfloat16"]
    optimizer: Literal["adam", "muon"]
    loss: Literal["mean_absolute_error", "mean_squared_error", "charbonnier", "luma_absolute_error"]
    fourier_weight: float = Field(ge=0)
    metrics: Annotated[list[Literal["psnr", "accuracy"]], BeforeValidator(listed)]
    learning_rate: LearningRateParameters
    average: float | None = Field(gt=0, lt=1)
    batch_size: int = Field(ge=1)
    accumulate_steps: int = Field(ge=1)
    augment: bool
    feed: Literal["auto", "host", "device"]
    epochs: int = Field(ge=1)
    steps_per_epoch: int | None = Field(ge=1)
    validation_tiles: int | None = Field(ge=1)
    maximum_minutes: float | None = Field(gt=0)
    callbacks: CallbackParameters
    resume: bool

    @model_validator(mode="after")
    def _has_one_learning_rate_policy(self) -> Self:
        scheduled = self.learning_rate.schedule != "constant" or self.learning_rate.warmup_steps > 0
        if scheduled and self.callbacks.reduce_learning_rate is not None:
            raise ValueError(
                "callbacks.reduce_learning_rate needs learning_rate.schedule 'constant' "
                "without warmup_steps: two policies cannot steer one learning rate"
            )
        return self
