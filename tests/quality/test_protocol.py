import numpy as np
import pytest
from PIL import Image

from isr_pipeline.imaging.arrays import to_uint8
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.quality.protocol import CEILING, SCORES, score_picture

SET5 = ["baby", "bird", "butterfly", "head", "woman"]


def opened(path):
    return np.asarray(Image.open(path).convert("RGB"))


def border_mask(shape, width):
    mask = np.ones(shape, bool)
    mask[width:-width, width:-width] = False
    return mask


def bicubic_scores(folder, scale):
    scores = []
    for name in SET5:
        truth = opened(folder / "HR" / f"{name}.png")
        small = opened(folder / "LR_bicubic" / f"X{scale}" / f"{name}.png")
        height, width = small.shape[0] * scale, small.shape[1] * scale
        estimate = to_uint8(resize_bicubic(small, height, width))
        scores.append(score_picture(truth[:height, :width], estimate, scale))
    return {key: np.mean([score[key] for score in scores]) for key in SCORES}


def test_every_score_is_there_and_a_plain_float(photograph):
    scores = score_picture(photograph, 255 - photograph, 2)
    assert tuple(scores) == SCORES
    assert all(type(value) is float for value in scores.values())


def test_equal_pictures_have_perfect_scores(photograph):
    assert score_picture(photograph, photograph.copy(), 4) == {
        "mse": 0,
        "psnr_rgb": CEILING,
        "psnr_y": CEILING,
        "ssim_y": pytest.approx(1, abs=1e-12),
        "brightest_channel_agreement": 1,
    }


@pytest.mark.parametrize("scale", [2, 3, 4, 6])
def test_errors_in_the_border_count_for_rgb_alone(photograph, scale):
    border = border_mask(photograph.shape[:2], scale)
    estimate = photograph.copy()
    estimate[border] ^= 16  # every value there is off by 16
    scores = score_picture(photograph, estimate, scale)
    assert scores["psnr_y"] == CEILING
    assert scores["ssim_y"] == pytest.approx(1, abs=1e-12)
    error = 256 * border.mean()
    assert scores["mse"] == pytest.approx(error / 65025, rel=1e-9)
    assert scores["psnr_rgb"] == pytest.approx(10 * np.log10(65025 / error), abs=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4, 6])
@pytest.mark.parametrize("corner", ["first", "last"])
def test_an_error_just_inside_the_border_counts_for_luma(photograph, scale, corner):
    place = (scale, scale) if corner == "first" else (95 - scale, 143 - scale)
    estimate = photograph.copy()
    estimate[place] ^= 64
    assert score_picture(photograph, estimate, scale)["psnr_y"] < CEILING


def test_luma_psnr_by_hand():
    truth = np.full((20, 20, 3), 100, np.uint8)
    estimate = truth + np.array([0, 10, 0], np.uint8)
    # Ten levels of green are 128.553 * 10 / 255 = 5.0412941 of luma.
    assert score_picture(truth, estimate, 2)["psnr_y"] == pytest.approx(
        20 * np.log10(255 / 5.0412941176), abs=1e-6
    )


def test_scale_zero_crops_nothing(photograph):
    estimate = photograph.copy()
    estimate[0, 0] ^= 64
    assert score_picture(photograph, estimate, 0)["psnr_y"] < CEILING


@pytest.mark.parametrize("shape", [(95, 144, 3), (96, 143, 3), (96, 144, 1), (96, 144)])
def test_pictures_of_other_shapes_are_refused(photograph, shape):
    with pytest.raises(ValueError, match=r"shapes differ: truth \(96, 144, 3\)"):
        score_picture(photograph, np.zeros(shape, np.uint8), 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64, bool])
def test_pictures_that_are_no_bytes_are_refused_on_either_side(photograph, dtype):
    other = photograph.astype(dtype)
    for truth, estimate in [(photograph, other), (other, photograph), (other, other)]:
        with pytest.raises(ValueError, match="scores compare uint8 pictures"):
            score_picture(truth, estimate, 2)


@pytest.mark.parametrize(("size", "scale"), [(14, 2), (18, 4), (22, 6)])
def test_too_little_left_within_the_border_is_refused(size, scale):
    picture = np.zeros((size, size, 3), np.uint8)
    with pytest.raises(ValueError, match="after the border crop, not 10x10"):
        score_picture(picture, picture, scale)


@pytest.mark.parametrize(("scale", "decibels"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_set5_has_the_golden_psnr(set5_folder, scale, decibels):
    assert bicubic_scores(set5_folder, scale)["psnr_y"] == pytest.approx(decibels, abs=0.03)


@pytest.mark.parametrize(
    ("scale", "likeness", "tolerance"),
    [(2, 0.9299, 0.0008), (3, 0.8682, 0.0008), (4, 0.8104, 0.001)],
)
def test_bicubic_set5_has_the_golden_ssim(set5_folder, scale, likeness, tolerance):
    found = bicubic_scores(set5_folder, scale)["ssim_y"]
    assert found == pytest.approx(likeness, abs=tolerance)
