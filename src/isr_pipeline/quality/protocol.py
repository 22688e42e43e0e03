"""The field's evaluation protocol, in one place.

Compare uint8 pictures. RGB PSNR and MSE over the whole picture. Luma PSNR and SSIM (BT.601
studio-range Y) after cropping a border of `scale` pixels. Report the mean of the per-picture
values, never the PSNR of a mean error.
"""

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.colour import luma
from isr_pipeline.quality.metrics import (
    brightest_channel_agreement,
    mean_squared_error,
    psnr,
    ssim,
)

CEILING = 100.0
"""PSNR in dB of equal pictures, so that one flat picture does not make every mean infinite."""
BYTES_A_PIXEL = 130
"""Memory that scoring a picture takes, for each of its pixels (measured)."""
SCORES = ("mse", "psnr_rgb", "psnr_y", "ssim_y", "brightest_channel_agreement")


def score_picture(truth: Picture, estimate: Picture, scale: int) -> dict[str, float]:
    """Score a super-resolved picture against the truth.

    Args:
        truth: `(height, width, 3)`, uint8.
        estimate: the same shape, uint8 (already clipped and rounded).
        scale: the factor, which is also the border cropped for the luma scores.

    Returns:
        `mse` (of values in [0, 1], as the report's loss), `psnr_rgb` and `psnr_y` in dB (at most
        `CEILING`), `ssim_y` and `brightest_channel_agreement` in [0, 1].

    Raises:
        ValueError: when the shapes differ or a picture is not uint8.
    """
    if truth.shape != estimate.shape:
        raise ValueError(f"shapes differ: truth {truth.shape}, estimate {estimate.shape}")
    if truth.dtype != "uint8" or estimate.dtype != "uint8":
        raise ValueError(
            f"scores compare uint8 pictures, not {truth.dtype} with {estimate.dtype}: "
            "clip, round and cast first (imaging.arrays.to_uint8)"
        )
    inner = (slice(scale, -scale), slice(scale, -scale)) if scale else (slice(None),) * 2
    truth_y, estimate_y = luma(truth[inner]), luma(estimate[inner])
    return {
        "mse": mean_squared_error(truth, estimate) / 255**2,
        "psnr_rgb": min(psnr(truth, estimate), CEILING),
        "psnr_y": min(psnr(truth_y, estimate_y), CEILING),
        "ssim_y": ssim(truth_y, estimate_y),
        "brightest_channel_agreement": brightest_channel_agreement(truth, estimate),
    }
