"""Which floating-point precision suits the machine."""

from pathlib import Path


def choose_precision(precision: str) -> str:
    """Resolve `auto` to `mixed_bfloat16` where the hardware multiplies bfloat16, else `float32`.

    Args:
        precision: `auto`, or anything else, which is returned as it is.
    """
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if has_gpu() or _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    """Whether it pays: oneDNN, which TensorFlow and PyTorch use, is faster with it; XLA slower."""
    import keras

    if keras.backend.backend() == "jax":
        return False
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return False
    flags = cpuinfo.read_text(errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def has_gpu() -> bool:
    """Whether the Keras backend computes on a GPU."""
    import keras

    if keras.backend.backend() == "torch":  # Keras lists no devices for it
        import torch

        return bool(torch.cuda.is_available())
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX's way to say that there is none
        return False
