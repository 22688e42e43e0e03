"""Image super-resolution as a Kedro project: train, compare, choose."""

import os

# TensorFlow's C++ side writes pages of start-up messages; problems still come as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
