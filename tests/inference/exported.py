"""Networks that are small but not fresh, and their exported files."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np

from isr_pipeline.networks import build_network

SIZES = {"features": 8, "bottleneck_features": 12, "blocks": 1, "bottleneck_blocks": 1}


def shaken_network(name: str, scales: list[int], seed: int = 1):
    """A network whose correction is of a trained one's size: some grey levels."""
    keras.utils.set_random_seed(0)
    sizes = {
        "autoencoder": SIZES,
        "subpixel": {"size": "tiny", "branches": True},
        "report_residual": {"residual": True},
    }
    built = name.replace("report_residual", "report_autoencoder")
    network = build_network(built, scales, **sizes.get(name, {}))
    generator = np.random.default_rng(seed)
    network.set_weights([w + generator.normal(0, 0.01, w.shape) for w in network.get_weights()])
    return network


def export(folder: Path, name: str, scales: list[int], formats: list[str]) -> SimpleNamespace:
    """Export a network at all its scales; files are named like those of shipped weights."""
    from isr_pipeline.inference.export import EXPORTERS, SUFFIXES

    network = shaken_network(name, scales)
    network.save(folder / "network.keras")
    for scale in scales:
        for kind in formats:
            EXPORTERS[kind](network, scale, folder / f"x{scale}{SUFFIXES[kind]}")
    return SimpleNamespace(folder=folder, network=network, scales=scales)
