import numpy as np
import pytest

from conftest import made_photograph
from isr_pipeline.inference import colour
from isr_pipeline.inference.colour import REACH, hold_mean


def enlarged_wrongly(low_res, scale, tint, contrast):
    """Nearest neighbours with a tint and an overshoot at every edge."""
    sr = np.repeat(np.repeat(low_res, scale, 0), scale, 1) + np.float32(tint)
    generator = np.random.default_rng(0)
    return sr + (contrast * generator.normal(size=sr.shape)).astype(np.float32)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_tint_is_taken_out_and_detail_stays(scale):
    low_res = made_photograph(60, 70, seed=1).astype(np.float32) / 255
    sr = enlarged_wrongly(low_res, scale, 3 / 255, 0.05)
    held = hold_mean(sr, low_res)
    assert np.abs(held.mean((0, 1)) - low_res.mean((0, 1))).max() < 0.1 / 255
    detail, kept = np.diff(np.clip(sr, 0, 1), axis=0), np.diff(held, axis=0)
    assert np.abs(detail - kept).max() < 6 / 255


def test_what_overshot_white_does_not_darken_the_picture():
    low_res = np.ones((40, 50, 3), np.float32)
    low_res[::4] = 0.3
    sr = enlarged_wrongly(low_res, 2, 0, 0.1)
    cut = np.clip(sr, 0, 1).mean((0, 1)) - low_res.mean((0, 1))
    held = hold_mean(sr, low_res).mean((0, 1)) - low_res.mean((0, 1))
    assert cut.max() < -5 / 255
    assert np.abs(held).max() < np.abs(cut).min() / 3


def test_a_picture_that_is_right_is_hardly_touched():
    low_res = made_photograph(60, 70, seed=2).astype(np.float32) / 255
    sr = np.repeat(np.repeat(low_res, 2, 0), 2, 1)
    assert np.abs(hold_mean(sr, low_res) - sr).max() < 1e-6


def test_all_samples_stay_in_range_and_the_order_of_tones_too():
    generator = np.random.default_rng(1)
    low_res = np.rint(generator.random((30, 30, 3))).astype(np.float32)
    sr = generator.normal(0.5, 1, (60, 60, 3)).astype(np.float32)
    held = hold_mean(sr, low_res)
    assert held.min() >= 0
    assert held.max() <= 1
    # What is done to a small pixel's samples is monotone: they are moved, then put through a curve.
    cells = np.clip(sr, 0, 1).reshape(30, 2, 30, 2, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 4)
    after = held.reshape(30, 2, 30, 2, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 4)
    ordered = np.take_along_axis(after, np.argsort(cells, axis=1), 1)
    assert (np.diff(ordered, axis=1) >= -1e-6).all()


def test_edges_give_what_black_and_white_cannot():
    """Bars whose overshoot was cut off: the mean comes back, black and white stay."""
    low_res = np.repeat(np.tile([1.0, 1.0, 0.9, 0.0, 0.1], 12)[None], 40, 0)[..., None]
    low_res = np.repeat(low_res, 3, axis=2).astype(np.float32)
    sr = np.repeat(np.repeat(low_res, 2, 0), 2, 1)
    sr[:, 3::10] = 0.7  # darker than it was, at an edge
    sr[:, 6::10] = 0.0
    held = hold_mean(sr, low_res)
    assert abs(held.mean(dtype=np.float64) - low_res.mean(dtype=np.float64)) < 0.5 / 255


def test_a_part_with_its_reach_gives_what_the_whole_gives_bit_for_bit():
    generator = np.random.default_rng(2)
    low_res = generator.random((61, 53, 3), np.float32)
    sr = generator.normal(0.5, 0.5, (122, 106, 3)).astype(np.float32)
    whole = hold_mean(sr, low_res)
    top, left, bottom, right = 20, 17, 33, 40
    rows, columns = slice(top - REACH, bottom + REACH), slice(left - REACH, right + REACH)
    part = hold_mean(
        sr[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop],
        low_res[rows, columns],
    )
    inside = part[2 * REACH : -2 * REACH, 2 * REACH : -2 * REACH]
    assert np.array_equal(inside, whole[2 * top : 2 * bottom, 2 * left : 2 * right])


@pytest.mark.parametrize("scale", [2, 3])
def test_strips_of_any_height_give_the_same_bit_for_bit(scale, monkeypatch):
    generator = np.random.default_rng(3)
    low_res = generator.random((70, 21, 3), np.float32)
    low_res[30:] = low_res[30:].round()  # full samples, whose lack goes to others
    sr = np.repeat(np.repeat(low_res, scale, 0), scale, 1)
    sr += generator.normal(0, 0.3, sr.shape).astype(np.float32)
    results = []
    for height in (20, 33, 70):
        monkeypatch.setattr(colour, "STRIP", height)
        results.append(hold_mean(sr, low_res))
    assert not np.array_equal(results[0], np.clip(sr, 0, 1))
    for result in results[1:]:
        assert np.array_equal(result, results[0])
