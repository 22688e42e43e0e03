"""Image super-resolution as a Kedro project: train, compare, choose."""

__version__ = "0.1.0"
