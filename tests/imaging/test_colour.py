import numpy as np
import pytest

from isr_pipeline.imaging.colour import luma


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((0, 0, 0), 16.0),
        ((255, 255, 255), 235.0),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
        # (65.481 * 100 + 128.553 * 150 + 24.966 * 200) / 255 + 16 = 30824.25 / 255 + 16
        ((100, 150, 200), 136.8794117647),
    ],
)
def test_luma_of_single_colours(rgb, expected):
    assert luma(np.array(rgb, np.uint8)) == pytest.approx(expected, abs=1e-9)


def test_luma_of_a_picture_is_float64_and_not_rounded(photograph):
    y = luma(photograph)
    assert y.shape == photograph.shape[:2]
    assert y.dtype == np.float64
    red, green, blue = (photograph[5, 7, channel].item() for channel in range(3))
    by_hand = (65.481 * red + 128.553 * green + 24.966 * blue) / 255 + 16
    assert y[5, 7] == pytest.approx(by_hand, abs=1e-9)


def test_a_grey_level_maps_linearly_onto_the_studio_range():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    assert np.allclose(luma(grey), 16 + 219 * np.arange(256) / 255, atol=1e-9)
