from types import SimpleNamespace

import numpy as np
import pytest

from isr_pipeline.inference.tiling import LARGEST_WINDOW, bands, spans, window_for


@pytest.mark.parametrize("length", [1, 7, 64, 65, 97, 128, 333, 1000])
@pytest.mark.parametrize(("window", "halo", "alignment"), [(64, 10, 1), (64, 16, 8), (33, 16, 1)])
def test_windows_keep_every_pixel_once_and_see_a_halo_around_it(length, window, halo, alignment):
    found = spans(length, window, halo, alignment)
    kept = [n for span in found for n in range(span.start, span.stop)]
    assert kept == list(range(length))
    for span in found:
        assert span.last - span.first <= window
        assert span.first % alignment == 0
        assert span.first <= max(span.start - halo, 0)
        assert span.last >= min(span.stop + halo, length)


def test_windows_are_of_nearly_one_size():
    sizes = [span.last - span.first for span in spans(1000, 512, 10)]
    assert len(sizes) == 2
    assert max(sizes) - min(sizes) <= 30


@pytest.mark.parametrize("budget", [10**7, 10**8, 10**9, 10**12])
def test_windows_fit_into_their_budget(budget):
    side = window_for(budget, 16, 8, 2000)
    assert 64 <= side <= LARGEST_WINDOW
    assert side**2 * 2000 <= budget
    assert side == min(LARGEST_WINDOW, int((budget / 2000) ** 0.5))


def test_too_small_a_budget_has_no_window():
    assert window_for(64**2 * 2000 - 1, 16, 8, 2000) == 0
    assert window_for(-5, 16, 8, 2000) == 0


@pytest.mark.parametrize(
    ("size", "windows"),
    [((50, 128), 1), ((128, 50), 1), ((50, 129), 2), ((80, 80), 1), ((81, 81), 4)],
)
def test_narrow_pictures_have_longer_windows_of_the_same_area(size, windows):
    seen = []

    def work(top, bottom, left, right):
        seen.append((bottom - top) * (right - left))
        return np.zeros((bottom - top, right - left, 1))

    reach = SimpleNamespace(scale=1, halo=8, alignment=1)
    assert sum(len(band) for band in bands(work, size, 80, reach)) == size[0]
    assert len(seen) == windows
    assert max(seen) <= 80**2
