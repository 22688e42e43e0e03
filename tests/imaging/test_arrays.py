import numpy as np
import pytest

from isr_pipeline.imaging.arrays import from_unit, to_uint8, to_unit


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (-np.inf, 0),
        (-1000.0, 0),
        (-0.6, 0),
        (0.5, 0),
        (0.51, 1),
        (1.5, 2),
        (2.5, 2),
        (126.5, 126),
        (127.5, 128),
        (254.5, 254),
        (254.6, 255),
        (255.5, 255),
        (1e9, 255),
        (np.inf, 255),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grey_levels_are_clipped_and_halves_go_to_the_even_level(value, level, dtype):
    result = to_uint8(np.array([[value]], dtype))
    assert result.dtype == np.uint8
    assert result.tolist() == [[level]]


@pytest.mark.parametrize("shape", [(), (3,), (2, 5, 3), (2, 4, 4, 3)])
def test_clipping_keeps_the_shape(shape):
    assert to_uint8(np.full(shape, 7.2)).shape == shape


def test_every_grey_level_survives_the_round_trip_through_unit_floats():
    levels = np.arange(256, dtype=np.uint8)
    unit = to_unit(levels)
    assert unit.dtype == np.float32
    assert unit[0] == 0
    assert unit[255] == 1
    assert unit[51] == np.float32(0.2)
    assert np.array_equal(from_unit(unit), levels)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_unit_values_of_any_precision_become_grey_levels(dtype):
    values = np.array([-0.2, 0.0, 0.25, 0.5, 1.0, 1.7], dtype)
    assert from_unit(values).tolist() == [0, 0, 64, 128, 255, 255]


def test_unit_floats_do_not_touch_the_picture_they_came_from(photograph):
    before = photograph.copy()
    to_unit(photograph)[:] = 0
    assert np.array_equal(photograph, before)
