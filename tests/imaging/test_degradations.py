import io
from functools import partial

import cv2
import numpy as np
import pytest
from PIL import Image

from conftest import made_photograph
from isr_pipeline.imaging.arrays import to_uint8
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.degradations import (
    RECIPES,
    block_mean,
    cell_starts,
    degrade,
    encode_jpeg,
    pixelate,
)
from isr_pipeline.imaging.recipe_names import DEGRADATIONS
from isr_pipeline.imaging.resampling import imresize
from isr_pipeline.quality.metrics import psnr

SCALES = [2, 4, 6]
SIZES = [(96, 144), (53, 79), (79, 53), (100, 133), (7, 6)]


@pytest.fixture(scope="session")
def layout(unsplash_folder):
    return unsplash_folder / "Image Super Resolution - Unsplash"


def decoded(path):
    return decode_picture(path.read_bytes()).pixels


def enlarged(small, height, width):
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


@pytest.mark.parametrize("scale", SCALES)
def test_the_recipe_reproduces_every_file_of_the_data_set_bit_for_bit(layout, scale):
    different = []
    for number in range(1, 41):
        ours = encode_jpeg(pixelate(decoded(layout / "high res" / f"{number}.jpg"), scale))
        theirs = decoded(layout / "low res" / f"{number}_{scale}.jpg")
        if not np.array_equal(decode_picture(ours).pixels, theirs):
            different.append(number)
    assert different == []


@pytest.mark.parametrize("scale", SCALES)
def test_degrading_an_original_gives_what_its_real_partner_recovers_to(layout, scale):
    ours = degrade(decoded(layout / "high res" / "7.jpg"), scale, "unsplash")
    assert np.array_equal(ours, block_mean(decoded(layout / "low res" / f"7_{scale}.jpg"), scale))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("height", "width"), [*SIZES, (799, 1198)])
def test_block_mean_undoes_nearest_neighbour_enlarging(height, width, scale):
    generator = np.random.default_rng(height * width + scale)
    small = generator.integers(0, 256, (height // scale, width // scale, 3), np.uint8)
    assert np.array_equal(block_mean(enlarged(small, height, width), scale), small)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_block_mean_of_noisy_cells_is_the_rounded_mean_of_each(height, width, scale):
    noisy = np.random.default_rng(scale).integers(0, 256, (height, width, 3), np.uint8)
    rows, columns = height // scale, width // scale
    numbers = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    owner = enlarged(numbers, height, width).astype(int).ravel()
    counts = np.bincount(owner)
    means = [np.bincount(owner, noisy[..., c].ravel()) / counts for c in range(3)]
    expected = np.rint(np.stack(means, axis=-1)).reshape(rows, columns, 3)
    assert np.array_equal(block_mean(noisy, scale), expected)


@pytest.mark.parametrize(
    ("cell", "mean"),
    [((1, 2, 3, 5), 3), ((0, 1, 0, 1), 0), ((1, 2, 1, 2), 2), ((255, 255, 255, 254), 255)],
)
def test_block_mean_by_hand_rounds_half_to_even(cell, mean):
    picture = np.repeat(np.array(cell, np.uint8).reshape(2, 2, 1), 3, axis=2)
    assert block_mean(picture, 2).tolist() == [[[mean] * 3]]


@pytest.mark.parametrize(
    ("size", "cells", "starts"),
    [(6, 3, [0, 2, 4]), (7, 3, [0, 3, 5]), (5, 2, [0, 3]), (3, 3, [0, 1, 2]), (9, 1, [0])],
)
def test_cells_start_where_the_nearest_sample_changes(size, cells, starts):
    assert cell_starts(size, cells).tolist() == starts


def test_pixelating_by_two_is_the_mean_of_two_by_two(photograph):
    blocks = photograph.reshape(48, 2, 72, 2, 3).astype(int)
    means = (blocks.sum(axis=(1, 3)) + 2) // 4
    expected = np.repeat(np.repeat(means, 2, axis=0), 2, axis=1)
    assert np.array_equal(pixelate(photograph, 2), expected)


@pytest.mark.parametrize("scale", [4, 6])
def test_pixelating_by_more_looks_only_at_the_middle_of_each_cell(photograph, scale):
    middle = np.zeros((96, 144), bool)
    for dy in (scale // 2 - 1, scale // 2):
        for dx in (scale // 2 - 1, scale // 2):
            middle[dy::scale, dx::scale] = True
    changed = np.where(middle[..., None], photograph, 255 - photograph)
    assert np.array_equal(pixelate(changed, scale), pixelate(photograph, scale))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_pixelated_picture_keeps_its_size_and_is_constant_in_cells(height, width, scale):
    pixelated = pixelate(made_photograph(height, width, seed=1), scale)
    assert pixelated.shape == (height, width, 3)
    again = enlarged(block_mean(pixelated, scale), height, width)
    assert np.array_equal(pixelated, again)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40)])
def test_encoding_keeps_the_order_of_the_channels(colour):
    flat = np.full((16, 24, 3), colour, np.uint8)
    result = decode_picture(encode_jpeg(flat)).pixels
    assert np.abs(result.astype(int) - flat).max() <= 2


def test_encoding_is_quality_95_with_halved_chroma(photograph):
    image = Image.open(io.BytesIO(encode_jpeg(photograph)))
    # The standard's luminance table starts 16 11 10 16 24 40 51 61; quality 95 takes a tenth.
    assert list(image.quantization[0])[:8] == [2, 1, 1, 2, 2, 4, 5, 6]
    assert [(horizontal, vertical) for _, horizontal, vertical, _ in image.layer] == [
        (2, 2),
        (1, 1),
        (1, 1),
    ]


def test_a_picture_too_large_for_jpeg_is_refused_with_its_shape():
    with pytest.raises(ValueError, match="65501"):
        encode_jpeg(np.zeros((8, 65501, 3), np.uint8))


def test_every_name_has_a_recipe():
    assert set(RECIPES) == set(DEGRADATIONS)


@pytest.mark.parametrize("degradation", DEGRADATIONS)
@pytest.mark.parametrize("scale", [2, 3, 4, 6])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_degraded_pictures_have_the_whole_quotient_as_size(height, width, scale, degradation):
    small = degrade(made_photograph(height, width, seed=2), scale, degradation)
    assert small.shape == (height // scale, width // scale, 3)
    assert small.dtype == np.uint8


def test_bicubic_degradation_crops_to_a_multiple_and_is_imresize():
    picture = made_photograph(53, 79, seed=4)
    assert np.array_equal(degrade(picture, 4, "bicubic"), imresize(picture[:52, :76], 13, 19))


def test_the_degradations_differ(photograph):
    pixelated, antialiased = (degrade(photograph, 4, name) for name in ("unsplash", "bicubic"))
    assert np.abs(pixelated.astype(int) - antialiased).max() > 20


def test_an_unknown_degradation_is_refused_with_the_choices(photograph):
    with pytest.raises(ValueError, match=r"'blur'.*realistic, bicubic, unsplash"):
        degrade(photograph, 2, "blur")


@pytest.mark.parametrize(
    "reduce",
    [
        pixelate,
        block_mean,
        *[partial(degrade, degradation=degradation) for degradation in DEGRADATIONS],
    ],
)
@pytest.mark.parametrize(("height", "width"), [(3, 9), (9, 3)])
def test_pictures_smaller_than_the_scale_are_refused(reduce, height, width):
    with pytest.raises(ValueError, match=f"{width}x{height} is too small for scale 4"):
        reduce(np.zeros((height, width, 3), np.uint8), 4)


def test_realistic_is_the_same_again_and_another_for_another_seed_or_picture():
    picture = made_photograph(96, 120, seed=1)
    small = degrade(picture, 2, "realistic")
    assert small.shape == (48, 60, 3)
    assert small.dtype == np.uint8
    assert np.array_equal(small, degrade(picture, 2, "realistic"))
    assert not np.array_equal(small, degrade(picture, 2, "realistic", seed=1))


def test_realistic_keeps_the_scene_in_its_place_and_harms_it_within_bounds():
    picture = made_photograph(192, 240, seed=2)
    clean = degrade(picture, 4, "bicubic")
    likeness = [psnr(clean, degrade(picture, 4, "realistic", seed=n)) for n in range(40)]
    assert min(likeness) > 22
    assert max(likeness) > 38
    assert np.median(likeness) < 36
    # No draw shifts the picture: the mean of many is nearer to the clean one than any.
    mean = np.mean([degrade(picture, 4, "realistic", seed=n) for n in range(40)], axis=0)
    assert psnr(clean, to_uint8(mean.astype(np.float32))) > np.median(likeness) + 2


def test_realistic_keeps_the_mean_colour():
    picture = made_photograph(192, 240, seed=3)
    mean = picture.mean(axis=(0, 1))
    for seed in range(10):
        small = degrade(picture, 2, "realistic", seed=seed)
        assert np.abs(small.mean(axis=(0, 1)) - mean).max() < 1.0
