"""Optimisers: Adam, and Muon for convolutions."""

from typing import Any

import keras
from keras import ops

OPTIMIZERS = ("adam", "muon")


@keras.saving.register_keras_serializable(package="isr_pipeline")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon (Jordan et al. 2024) that also steps convolution kernels, not matrices alone.

    A kernel `(height, width, channels, filters)` is taken as the matrix of `height * width *
    channels` rows and `filters` columns whose product with the patches the convolution is. The step
    is the momentum with all its singular values brought near one (five Newton-Schulz iterations),
    scaled as in Moonlight (Liu et al. 2025) to the size of Adam's steps, so that the same learning
    rates suit both. Biases are stepped by Adam.

    Kernels of one shape go through the iterations together: one after the other, their small
    matrices leave a GPU idle.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) != 4

    def _backend_update_step(
        self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any
    ) -> None:
        by_shape: dict[tuple[int, ...], list[tuple[Any, Any]]] = {}
        others = []
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self._should_use_adamw(variable):
                others.append((gradient, variable))
            else:
                shape = tuple(variable.shape)
                by_shape.setdefault(shape, []).append((gradient, variable))
        for shape, members in by_shape.items():
            self._step_kernels(shape, members, learning_rate)
        if others:
            super()._backend_update_step(*map(list, zip(*others, strict=True)), learning_rate)

    def _step_kernels(
        self, shape: tuple[int, ...], members: list[tuple[Any, Any]], learning_rate: Any
    ) -> None:
        updates = []
        for gradient, variable in members:
            m = self.momentums[self._get_variable_index(variable)]
            self.assign(m, self.momentum * m + gradient)
            update = gradient + self.momentum * m if self.nesterov else m
            updates.append(ops.reshape(update, (-1, shape[-1])))
        steps = self.zeropower_via_newtonschulz5(ops.stack(updates), self.ns_steps)
        for number, (_, variable) in enumerate(members):
            lr = ops.cast(learning_rate, variable.dtype)
            step = lr * self.lr_adjust(steps[number])
            self.assign_sub(variable, ops.reshape(step, shape))


def make_optimizer(
    name: str, learning_rate: Any, average: float | None, accumulate_steps: int
) -> keras.optimizers.Optimizer:
    """An optimiser without weight decay.

    Args:
        name: one of `OPTIMIZERS`.
        learning_rate: a number or a schedule.
        average: momentum of the moving average of the weights, or None.
        accumulate_steps: batches whose mean gradient makes one step.
    """
    common: dict[str, Any] = {"learning_rate": learning_rate}
    if average is not None:
        common |= {"use_ema": True, "ema_momentum": average}
    if accumulate_steps > 1:
        common["gradient_accumulation_steps"] = accumulate_steps
    if name == "adam":
        return keras.optimizers.Adam(**common)
    if name == "muon":
        return ConvolutionMuon(
            **common, adam_beta_2=0.99, weight_decay=None, adam_weight_decay=None
        )
    raise ValueError(f"unknown optimiser '{name}': choose one of {', '.join(OPTIMIZERS)}")
