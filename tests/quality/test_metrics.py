import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from skimage.metrics import structural_similarity

from isr_pipeline.imaging.colour import luma
from isr_pipeline.quality.metrics import (
    brightest_channel_agreement,
    mean_squared_error,
    psnr,
    ssim,
)


@pytest.fixture
def pair(photograph):
    truth = luma(photograph)
    noise = np.random.default_rng(1).normal(0, 12, truth.shape)
    return truth, np.clip(truth + noise, 0, 255)


def ssim_by_definition(reference, estimate):
    """Wang et al. 2004, window by window."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / np.outer(window, window).sum()

    def mean(values):
        return np.einsum("ijkl,kl->ij", sliding_window_view(values, (11, 11)), window)

    mean_x, mean_y = mean(reference), mean(estimate)
    var_x, var_y = mean(reference**2) - mean_x**2, mean(estimate**2) - mean_y**2
    covariance = mean(reference * estimate) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return np.mean(likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))


def test_mean_squared_error_by_hand():
    reference = np.array([[0, 10], [200, 255]], np.uint8)
    estimate = np.array([[3, 10], [196, 0]], np.uint8)
    assert mean_squared_error(reference, estimate) == (9 + 0 + 16 + 255**2) / 4


@pytest.mark.parametrize(
    ("difference", "decibels"),
    [(1, 48.130804), (5, 34.151404), (255, 0.0)],  # 20 log10(255 / difference)
)
def test_psnr_of_a_constant_difference(difference, decibels):
    reference = np.zeros((6, 7, 3), np.uint8)
    assert psnr(reference, reference + np.uint8(difference)) == pytest.approx(decibels, abs=1e-6)


def test_psnr_of_one_wrong_pixel_in_a_hundred():
    reference = np.full((10, 10), 50, np.uint8)
    estimate = reference.copy()
    estimate[3, 4] = 70
    # The mean of one 400 among a hundred is 4: 10 log10(65025 / 4).
    assert psnr(reference, estimate) == pytest.approx(42.110204, abs=1e-6)


def test_psnr_takes_another_peak():
    assert psnr(np.zeros(4), np.full(4, 0.1), peak=1.0) == pytest.approx(20.0, abs=1e-9)


def test_psnr_does_not_depend_on_the_side_and_bytes_do_not_wrap():
    dark, bright = np.full((4, 4), 10, np.uint8), np.full((4, 4), 250, np.uint8)
    assert psnr(dark, bright) == psnr(bright, dark) == pytest.approx(20 * np.log10(255 / 240))


def test_psnr_of_equal_pictures_is_infinite(photograph):
    assert psnr(photograph, photograph.copy()) == float("inf")


def test_ssim_of_equal_pictures_is_one(pair):
    assert ssim(pair[0], pair[0].copy()) == pytest.approx(1, abs=1e-12)


def test_ssim_is_the_definition_of_wang_and_others(pair):
    assert ssim(*pair) == pytest.approx(ssim_by_definition(*pair), abs=1e-9)
    assert 0.1 < ssim(*pair) < 0.95


def test_ssim_is_not_what_the_librarys_default_call_gives(pair):
    assert abs(ssim(*pair) - structural_similarity(*pair, data_range=255)) > 0.005


def test_ssim_of_two_flat_pictures_by_hand():
    # Without variance only the luminance term is left: (2xy + c1) / (x^2 + y^2 + c1).
    value = ssim(np.full((12, 15), 100.0), np.full((12, 15), 120.0))
    assert value == pytest.approx((2 * 100 * 120 + 6.5025) / (100**2 + 120**2 + 6.5025), abs=1e-9)


@pytest.mark.parametrize("shape", [(10, 50), (50, 10), (0, 0)])
def test_ssim_of_pictures_smaller_than_its_window_is_refused(shape):
    with pytest.raises(ValueError, match=f"at least 11x11.*not {shape[1]}x{shape[0]}"):
        ssim(np.zeros(shape), np.zeros(shape))


def test_ssim_takes_a_picture_of_just_one_window():
    truth, estimate = np.random.default_rng(2).uniform(0, 255, (2, 11, 11))
    assert ssim(truth, estimate) == pytest.approx(ssim_by_definition(truth, estimate), abs=1e-9)


def test_brightest_channel_agreement_by_hand_counts_ties_for_the_first_channel():
    truth = np.array([[[9, 1, 1], [1, 9, 1], [1, 1, 9], [5, 5, 5]]], np.uint8)
    estimate = np.array([[[3, 2, 1], [9, 1, 1], [0, 0, 1], [7, 7, 6]]], np.uint8)
    assert brightest_channel_agreement(truth, estimate) == 3 / 4


def test_brightest_channel_agreement_is_categorical_accuracy(photograph):
    estimate = np.random.default_rng(3).integers(0, 256, photograph.shape, np.uint8)
    agreeing = [
        max(range(3), key=a.__getitem__) == max(range(3), key=b.__getitem__)
        for a, b in zip(
            photograph.reshape(-1, 3).tolist(), estimate.reshape(-1, 3).tolist(), strict=True
        )
    ]
    expected = sum(agreeing) / len(agreeing)
    assert 0.2 < expected < 0.8
    assert brightest_channel_agreement(photograph, estimate) == pytest.approx(expected, abs=1e-12)


def test_brightest_channel_agreement_cannot_see_brightness(photograph):
    assert brightest_channel_agreement(photograph, photograph // 2 * 2) > 0.9
    assert brightest_channel_agreement(photograph // 2, photograph // 2) == 1
