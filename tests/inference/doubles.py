"""Engines and shipped weights that take no time to make."""

import hashlib
import json

import numpy as np

from isr_pipeline import weights
from isr_pipeline.inference.back_projection import _enlarge


def bicubic(lr, scale):
    return _enlarge(_enlarge(lr, scale, 1), scale, 2)


class LocalEngine:
    """Bicubic interpolation and what a 5x5 neighbourhood, with zeros outside, adds to it."""

    name, precision, halo, alignment = "double", "float32", 2, 1

    def __init__(self, scale=2, strength=0.3):
        self.scale, self.strength = scale, strength
        self.shapes = []

    def __call__(self, lr):
        self.shapes.append(lr.shape)
        padded = np.pad(lr, [(0, 0), (2, 2), (2, 2), (0, 0)])
        height, width = lr.shape[1:3]
        corners = [padded[:, y : y + height, x : x + width] for y in (0, 4) for x in (0, 4)]
        detail = np.tanh(lr - np.float32(0.25) * sum(corners)) * np.float32(self.strength)
        return bicubic(lr, self.scale) + np.repeat(
            np.repeat(detail, self.scale, axis=1), self.scale, axis=2
        )


class PooledEngine(LocalEngine):
    """Looks at the picture in blocks of 4x4, as poolings do."""

    halo, alignment = 4, 4

    def __call__(self, lr):
        height, width = lr.shape[1:3]
        rest = [(0, 0), (0, -height % 4), (0, -width % 4), (0, 0)]
        padded = np.pad(lr, rest, constant_values=-1)
        blocks = padded.reshape(
            lr.shape[0], padded.shape[1] // 4, 4, padded.shape[2] // 4, 4, 3
        ).max(axis=(2, 4))
        side = 4 * self.scale
        spread = np.repeat(np.repeat(blocks, side, axis=1), side, axis=2)
        spread = spread[:, : height * self.scale, : width * self.scale]
        return bicubic(lr, self.scale) + np.float32(0.1) * spread


def write_card(folder, name, degradation, scales, **facts):
    """A folder of shipped weights, whose network is only a few bytes."""
    place = folder / f"{name}_{degradation}_{'_'.join(f'x{scale}' for scale in scales)}"
    place.mkdir(parents=True)
    (place / "network.keras").write_bytes(b"weights")
    card = {
        "name": name,
        "degradation": degradation,
        "scales": scales,
        "parameters": 12345,
        "files": {"network.keras": hashlib.sha256(b"weights").hexdigest()},
        **facts,
    }
    (place / "card.json").write_text(json.dumps(card))
    weights._cards.cache_clear()
    return place


def write_champion(folder, source, degradation, scales, **more):
    """A champion as a run leaves it, without a network that works."""
    place = folder / "data" / "06_models" / source / "champion"
    place.mkdir(parents=True)
    (place / "network.keras").write_bytes(b"champion")
    record = {
        "network": "autoencoder",
        "parameters": 777,
        "psnr_rgb": {f"x{scale}": 30.0 + scale for scale in scales},
        "protocol": degradation,
        **more,
    }
    (place / "record.json").write_text(json.dumps(record))
    return place
