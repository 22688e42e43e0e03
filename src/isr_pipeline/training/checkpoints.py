"""Where a training keeps its best weights and its state between epochs."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isr_pipeline.errors import ProjectError
from isr_pipeline.storage.atomic import only_one, recover_folder, replace_file, replace_folder

if TYPE_CHECKING:
    import keras

_WEIGHTS, _BEST = "state.weights.h5", "best.weights.h5"
_STATE = "state.json"


class Checkpoints:
    """Files of one training, or a folder of several; every write is seen whole or not at all.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, digest: str) -> "Checkpoints":
        """Those of the training with this digest, in a folder of their own below this one."""
        return Checkpoints(self.folder / digest[:16])

    def unfinished(self) -> int:
        """How many trainings below this folder have a state to go on from."""
        return sum(1 for _ in self.folder.glob(f"*/state/{_STATE}"))

    @property
    def best(self) -> Path:
        """Weights of the best epoch so far, as `network.save_weights` wrote them."""
        return self.folder / "state" / _BEST

    def save(self, model: "keras.Model", state: dict[str, Any], best: "keras.Model | None") -> None:
        """Replace the state: weights, optimiser and random seeds of the fitted model, and `state`.

        The best weights stand with it, so that one is never of a later epoch than the other.

        Args:
            model: built and compiled.
            state: whatever JSON holds.
            best: the network whose weights are the best from now on; None leaves those that were.
        """
        with replace_folder(self.folder / "state") as partial:
            model.save_weights(partial / _WEIGHTS)
            if best is not None:
                best.save_weights(partial / _BEST)
            elif self.best.is_file():
                shutil.copyfile(self.best, partial / _BEST)
            seeds = [seed.numpy().tolist() for seed in _seeds(model)]
            (partial / _STATE).write_text(json.dumps({**state, "seeds": seeds}))

    def end(self, by: str) -> None:
        """Note in the state, if there is one, what ended the training."""
        state = self.load_state()
        if state is not None:
            with replace_file(self.folder / "state" / _STATE) as partial:
                partial.write_text(json.dumps({**state, "ended": by}))

    def load_state(self) -> dict[str, Any] | None:
        """The saved state, or None when there is none."""
        recover_folder(self.folder / "state")
        if not self.best.is_file():
            return None
        try:
            state: dict[str, Any] = json.loads((self.folder / "state" / _STATE).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return state

    def restore(self, model: "keras.Model") -> dict[str, Any] | None:
        """Bring a built and compiled model to where it was saved; the saved state, if there is."""
        state = self.load_state()
        if state is not None:
            model.load_weights(self.folder / "state" / _WEIGHTS)
            for seed, value in zip(_seeds(model), state["seeds"], strict=True):
                seed.assign(value)
        return state

    @contextmanager
    def claimed(self, work: str = "training") -> Iterator[None]:
        """Keep other processes of this machine away from them for a block.

        A claim ends with its process, however that ends.

        Args:
            work: what is done meanwhile, in a word.

        Raises:
            ProjectError: when another process has them.
        """
        with only_one(self.folder.with_name(f"{self.folder.name}.lock")) as owner:
            if owner is not None:
                raise ProjectError(
                    f"process {owner} is at this very {work}, in {self.folder}: wait for it or end "
                    "it, then the same command goes on"
                )
            yield

    def forget(self) -> None:
        """Delete them: the training's results are saved, or it begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _seeds(model: "keras.Model") -> list[Any]:
    """What Keras keeps out of a model's weights and its files: random states, as of dropout."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
