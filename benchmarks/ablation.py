"""What each part of the training recipe is worth: short trainings that differ in one thing.

    .venv/bin/python benchmarks/ablation.py --photos FOLDER    # 15 minutes
    .venv/bin/kedro run --pipelines=results                    # into docs/results.md

FOLDER holds the photographs that `src/isr_pipeline/weights/ATTRIBUTION.md` lists. Every row is a
`kedro run` of its own that anybody can repeat, `subpixel-small` at x2 for 1,000 steps, scored on
the luma of the photographs that were held back, whole. Rows that are there already are kept, so
that an interrupted series goes on with the same command.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from isr_pipeline.machine import describe_machine
from isr_pipeline.pipelines.results.nodes import ABLATION_COLUMNS

PROJECT = Path(__file__).resolve().parents[1]
TABLE = PROJECT / "docs" / "results" / "ablation.csv"
REPORTING = PROJECT / "data" / "08_reporting" / "weights"
# A short training wants a short memory: 0.999 would average over all of it.
BASE = {"recipe": "ablation", "train.average": "0.99", "evaluate.split": "val"}
VARIANTS: dict[str, dict[str, str]] = {
    "the recipe: Muon, L1, average of the weights, plain convolutions": {},
    "branches (RepConv2D), folded": {"train.network.subpixel.branches": "true"},
    "leaky ReLU": {"train.network.subpixel.activation": "leaky_relu"},
    "Adam, 1e-3": {"train.optimizer": "adam", "train.learning_rate.peak": "0.001"},
    "Adam, 1e-3, branches": {
        "train.optimizer": "adam",
        "train.learning_rate.peak": "0.001",
        "train.network.subpixel.branches": "true",
    },
    "Adam, 2e-3": {"train.optimizer": "adam"},
    "Adam, 2e-3, leaky ReLU": {
        "train.optimizer": "adam",
        "train.network.subpixel.activation": "leaky_relu",
    },
    "Charbonnier": {"train.loss": "charbonnier"},
    "L1, nine tenths of luma": {"train.loss": "luma_absolute_error"},
    "mean squared error": {"train.loss": "mean_squared_error"},
    "a learning rate of 0.001": {"train.learning_rate.peak": "0.001"},
    "L1 and 0.05 of the spectrum": {"train.fourier_weight": "0.05"},
    "average of the weights, 0.999": {"train.average": "0.999"},
    "no average of the weights": {"train.average": "null"},
    "no flips and rotations": {"train.augment": "false"},
    "constant learning rate": {"train.learning_rate.schedule": "constant"},
    "batches of 32, half as many steps": {
        "train.batch_size": "32",
        "train.steps_per_epoch": "250",
    },
    "float32": {"train.precision": "float32"},
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", required=True, help="folder of the training photographs")
    photos = str(Path(options.parse_args().photos).resolve())
    table = pd.read_csv(TABLE) if TABLE.is_file() else pd.DataFrame(columns=ABLATION_COLUMNS)
    rows = {row["variant"]: row for row in table.to_dict("records")}
    for variant, changes in VARIANTS.items():
        if variant in rows:
            continue
        row = rows[variant] = measure(variant, changes, photos)
        in_order = [rows[name] for name in VARIANTS if name in rows]
        pd.DataFrame(in_order, columns=ABLATION_COLUMNS).to_csv(TABLE, index=False)
        print(f"{row['val_psnr_db']:.3f} dB  {row['seconds']:4.0f} s  {variant}", flush=True)


def measure(variant: str, changes: dict[str, str], photos: str) -> dict[str, object]:
    """Train one variant; its row of the table, with the command as one would type it."""

    def arguments(folder: str) -> list[str]:
        settings = {"photos": folder, **BASE, **changes}
        joined = ",".join(f"{name}={value}" for name, value in settings.items())
        return ["--env=weights", "--pipelines=prepare,train,evaluate", f"--params={joined}"]

    kedro = shutil.which("kedro", path=str(Path(sys.executable).parent)) or "kedro"
    run = subprocess.run(
        [kedro, "run", *arguments(photos)], cwd=PROJECT, capture_output=True, text=True
    )
    if run.returncode:
        sys.exit(f"{variant}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    facts = json.loads((REPORTING / "training_facts.json").read_text())
    scores = pd.read_csv(REPORTING / "scores.csv").set_index("method")
    return {
        "variant": variant,
        "command": f"kedro run {' '.join(arguments('<folder>'))}",
        "seconds": round(facts["seconds"]),
        "machine": describe_machine(),
        "val_psnr_db": round(float(scores.loc["network", "psnr_y"]), 3),
    }


if __name__ == "__main__":
    main()
