import numpy as np
import pytest
from PIL import Image

from conftest import made_photograph
from isr_pipeline.imaging.resampling import cubic_taps, imresize, keys_cubic, resize_bicubic

SET5 = ["baby", "bird", "butterfly", "head", "woman"]


def opened(path):
    return np.asarray(Image.open(path).convert("RGB"))


def inside(source, target):
    """Target samples whose kernel stays on the source."""
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    reach = 2 * max(1.0, source / target)
    return (centre - reach >= 0) & (centre + reach <= source - 1)


@pytest.mark.parametrize(
    ("distance", "value"),
    [
        *[(0, 1), (0.25, 0.8671875), (0.5, 0.5625), (0.75, 0.2265625), (1, 0), (1.25, -0.0703125)],
        *[(1.5, -0.0625), (1.75, -0.0234375), (2, 0), (2.5, 0), (100, 0)],
    ],
)
def test_keys_kernel_by_hand_on_both_sides(distance, value):
    both = keys_cubic(np.array([distance, -distance], np.float64))
    assert both.tolist() == pytest.approx([value, value], abs=1e-12)


def test_keys_kernel_takes_another_parameter():
    # a = -0.75 at 0.5: 1.25 / 8 - 2.25 / 4 + 1
    assert keys_cubic(np.array([0.5]), a=-0.75)[0] == pytest.approx(0.59375, abs=1e-12)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    ("source", "target"),
    [(8, 4), (8, 16), (9, 4), (100, 33), (33, 100), (800, 133), (5, 5), (3, 1), (1, 7), (1, 1)],
)
def test_weights_sum_to_one_and_point_into_the_source(source, target, antialias):
    indices, weights = cubic_taps(source, target, antialias)
    assert indices.shape == weights.shape
    assert len(weights) == target
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert indices.min() >= 0
    assert indices.max() < source


def test_an_impulse_is_halved_with_the_widened_kernel_and_mirrored_at_the_border():
    # Half the kernel at 0.25, 0.75, 1.25, 1.75; the last enters the first sample mirrored.
    row = np.zeros((1, 8))
    row[0, 2] = 1
    expected = [0.11328125 - 0.01171875, 0.43359375, -0.03515625, 0]
    assert resize_bicubic(row, 1, 4)[0].tolist() == pytest.approx(expected, abs=1e-7)


def test_an_impulse_is_doubled_with_the_plain_kernel():
    row = np.zeros((1, 9))
    row[0, 4] = 1
    half = [-0.0234375, -0.0703125, 0.2265625, 0.8671875]
    expected = [0] * 5 + half + half[::-1] + [0] * 5
    assert resize_bicubic(row, 1, 18)[0].tolist() == pytest.approx(expected, abs=1e-7)


def test_without_antialias_the_kernel_keeps_its_width_on_reduction():
    indices, weights = cubic_taps(8, 4, antialias=False)
    assert indices[1].tolist() == [1, 2, 3, 4]
    assert weights[1].tolist() == pytest.approx([-0.0625, 0.5625, 0.5625, -0.0625], abs=1e-7)


@pytest.mark.parametrize("size", [(1, 1), (5, 60), (14, 7), (29, 41), (200, 3)])
def test_a_constant_picture_stays_constant(size):
    picture = np.full((14, 20, 3), 37, np.uint8)
    assert np.abs(resize_bicubic(picture, *size) - 37).max() < 1e-4
    assert np.array_equal(imresize(picture, *size), np.full((*size, 3), 37, np.uint8))


@pytest.mark.parametrize("scale", [2, 3, 4, 6])
def test_a_ramp_is_reproduced_inside_on_enlarging(scale):
    y, x = np.mgrid[:16, :20].astype(np.float64)
    enlarged = resize_bicubic(3 * x + 5 * y + 1, 16 * scale, 20 * scale)
    y, x = (np.mgrid[: 16 * scale, : 20 * scale] + 0.5) / scale - 0.5
    inner = np.ix_(inside(16, 16 * scale), inside(20, 20 * scale))
    assert np.abs(enlarged - (3 * x + 5 * y + 1))[inner].max() < 1e-4


def test_the_same_size_gives_the_same_picture(photograph):
    assert np.array_equal(resize_bicubic(photograph, 96, 144), photograph)
    assert np.array_equal(imresize(photograph, 96, 144), photograph)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
@pytest.mark.parametrize("resize", [resize_bicubic, imresize])
def test_sizes_below_one_are_refused(photograph, resize, size):
    with pytest.raises(ValueError, match="sizes start at 1"):
        resize(photograph, *size)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((48, 60), (24, 20)),
        ((20, 30), (40, 90)),
        ((31, 47), (77, 19)),
        ((50, 50), (33, 71)),
        ((60, 90), (10, 15)),
    ],
)
def test_inside_the_borders_it_is_pillows_bicubic(before, after):
    picture = made_photograph(*before, seed=3)[..., 1].astype(np.float32)
    height, width = after
    theirs = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    inner = np.ix_(inside(before[0], height), inside(before[1], width))
    assert theirs[inner].size > 0
    assert np.abs(resize_bicubic(picture, height, width) - theirs)[inner].max() < 1e-3


def test_channels_are_resized_on_their_own(photograph):
    together = resize_bicubic(photograph, 40, 50)
    for channel in range(3):
        alone = resize_bicubic(photograph[..., channel], 40, 50)
        assert np.array_equal(together[..., channel], alone)


def test_overshoot_is_kept_in_floats_and_clipped_in_bytes():
    step = np.zeros((12, 12), np.uint8)
    step[:, 6:] = 255
    floats = resize_bicubic(step, 24, 24)
    assert floats.dtype == np.float32
    assert floats.min() < -5
    assert floats.max() > 260
    bytes_ = imresize(step, 24, 24)
    assert bytes_.dtype == np.uint8
    assert np.array_equal(bytes_[0], np.clip(np.floor(floats[0] + 0.5), 0, 255))


@pytest.mark.parametrize(
    ("height", "width", "between"), [(12, 32, (12, 64)), (24, 16, (48, 16)), (96, 32, (48, 32))]
)
def test_the_axis_that_shrinks_most_is_rounded_first(height, width, between):
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    other = (48, width) if between[0] == height else (height, 64)
    right, wrong = (imresize(imresize(picture, *way), height, width) for way in (between, other))
    assert np.array_equal(imresize(picture, height, width), right)
    assert not np.array_equal(right, wrong)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", SET5)
def test_set5_is_reduced_exactly_as_matlab_did(set5_folder, name, scale):
    truth = opened(set5_folder / "HR" / f"{name}.png")
    matlab = opened(set5_folder / "LR_bicubic" / f"X{scale}" / f"{name}.png")
    height, width = truth.shape[0] // scale, truth.shape[1] // scale
    assert matlab.shape == (height, width, 3)
    ours = imresize(truth[: height * scale, : width * scale], height, width)
    assert np.abs(ours.astype(int) - matlab).max() == 0
