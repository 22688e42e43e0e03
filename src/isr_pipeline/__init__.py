"""Image super-resolution as a Kedro project: train, compare, choose, upscale.

from isr_pipeline import Upscaler, load_network

network = load_network("subpixel-small", scale=2, degradation="bicubic")
larger = Upscaler("subpixel-small", scale=2, degradation="realistic")(image)
"""

import os
from typing import Any

# TensorFlow's C++ side writes pages of start-up messages; problems still come as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
__all__ = ["Upscaler", "load_network"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then."""
    if name == "load_network":
        from isr_pipeline.weights import load_network

        return load_network
    if name == "Upscaler":
        from isr_pipeline.inference.upscaler import Upscaler

        return Upscaler
    raise AttributeError(f"module 'isr_pipeline' has no attribute '{name}'")
