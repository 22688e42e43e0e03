from pathlib import Path

import numpy as np
import pytest

from conftest import made_photograph
from isr_pipeline.imaging.arrays import from_unit, to_uint8, to_unit
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.inference.predict import Predictor
from isr_pipeline.networks import build_network

CPU = Path("/proc/cpuinfo")
ONE_DNN = CPU.is_file() and "avx512f" in CPU.read_text()
SIZES = {"features": 8, "bottleneck_features": 8, "blocks": 1, "bottleneck_blocks": 1}


def randomised(name, scales, **sizes):
    network = build_network(name, scales, **sizes)
    generator = np.random.default_rng(1)
    network.set_weights([generator.normal(0, 0.1, w.shape) for w in network.get_weights()])
    return network


def test_a_fresh_network_gives_bicubic_as_uint8():
    picture = made_photograph(31, 45, seed=0)
    network = build_network("autoencoder", [3], **SIZES)
    expected = to_uint8(resize_bicubic(picture, 93, 135))
    difference = Predictor(network, 3)(picture).astype(int) - expected
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("name", "sizes", "scale"),
    [
        ("autoencoder", SIZES, 2),
        *[("report_autoencoder", {}, scale) for scale in (2, 3, 5, 6)],  # enlarges, then pools
    ],
)
@pytest.mark.parametrize("shape", [(150, 190), (151, 187)])
def test_parts_give_the_whole_pictures_result(name, sizes, scale, shape):
    network = randomised(name, [scale], **sizes)
    picture = made_photograph(*shape, seed=3)
    whole = Predictor(network, scale, window=512).predict(to_unit(picture))
    in_parts = Predictor(network, scale, window=88)
    assert whole.shape == (scale * shape[0], scale * shape[1], 3)
    # Where TensorFlow does without oneDNN (processors without AVX-512), the order in which it sums
    # depends on the size of the picture: the last bit differs.
    rounding = 0 if ONE_DNN else 1e-6 * np.abs(whole).max()
    assert np.abs(in_parts.predict(to_unit(picture)) - whole).max() <= rounding
    grey_levels = np.abs(in_parts(picture).astype(int) - from_unit(whole))
    assert grey_levels.max() <= (0 if ONE_DNN else 1)
    assert grey_levels.mean() < 1e-3


def test_a_size_that_is_no_multiple_is_reached_by_one_resize():
    network = randomised("autoencoder", [6], **SIZES)
    picture = made_photograph(20, 30, seed=1)
    predictor = Predictor(network, 6)
    assert predictor(picture, (122, 183)).shape == (122, 183, 3)
    expected = resize_bicubic(predictor.predict(to_unit(picture)), 122, 183)
    assert np.array_equal(predictor(picture, (122, 183)), to_uint8(expected * 255))


def test_the_mean_colour_stays():
    picture = made_photograph(40, 60, seed=2)
    network = build_network("autoencoder", [2], **SIZES)
    means = Predictor(network, 2)(picture).mean((0, 1)), picture.mean((0, 1))
    assert np.abs(means[0] - means[1]).max() < 0.5
