"""Measures of likeness between two pictures, each from its definition or a well-kept library."""

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from isr_pipeline.imaging.arrays import Picture

SSIM_SIDE = 11
"""Pixels along a side of the window that structural similarity is measured in."""


def mean_squared_error(reference: NDArray[np.generic], estimate: NDArray[np.generic]) -> float:
    """Mean of the squared differences, in the units of the inputs squared."""
    difference = np.asarray(reference, np.float64) - np.asarray(estimate, np.float64)
    return float(np.mean(difference**2))


def psnr(
    reference: NDArray[np.generic], estimate: NDArray[np.generic], peak: float = 255.0
) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    error = mean_squared_error(reference, estimate)
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim(reference: NDArray[np.floating], estimate: NDArray[np.floating]) -> float:
    """Structural similarity of two single-channel pictures with a peak of 255.

    Wang, Bovik, Sheikh & Simoncelli 2004: 11x11 Gaussian window of sigma 1.5, K1 = .01,
    K2 = .03, population covariance, mean over the region where the window fits.

    Args:
        reference: `(height, width)`, both sides at least `SSIM_SIDE`.
        estimate: the same shape.
    """
    if min(reference.shape) < SSIM_SIDE:
        raise ValueError(
            f"SSIM needs at least {SSIM_SIDE}x{SSIM_SIDE} pixels after the border crop, not "
            f"{reference.shape[1]}x{reference.shape[0]}"
        )
    value: float = structural_similarity(
        reference,
        estimate,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    return float(value)


def brightest_channel_agreement(reference: Picture, estimate: Picture) -> float:
    """Share of pixels whose brightest channel agrees, in [0, 1].

    This is what Keras' `accuracy` computes on three-channel outputs (categorical accuracy), and
    what the report calls accuracy. It cannot see sharpness.
    """
    return float(np.mean(np.argmax(reference, axis=-1) == np.argmax(estimate, axis=-1)))
