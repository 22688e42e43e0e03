import io

import numpy as np
import pytest
from PIL import Image

from conftest import made_photograph, shared_pictures
from isr_pipeline.pipelines.ingest import copies
from isr_pipeline.pipelines.ingest.copies import find_copies, thumbnail


def copy_of(pixels, width=None, **options):
    image, file = Image.fromarray(pixels), io.BytesIO()
    if width is not None:
        height = round(width * image.height / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.save(file, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def found(pictures):
    sizes = [(picture.shape[1], picture.shape[0]) for picture in pictures]
    return find_copies([thumbnail(picture) for picture in pictures], sizes)


@pytest.mark.parametrize("block", [1, 1024])
def test_copies_are_those_of_the_largest_of_them(block, monkeypatch):
    monkeypatch.setattr(copies, "BLOCK", block)
    one, other = (made_photograph(200, 300, seed=seed) for seed in (1, 2))
    pictures = [
        copy_of(one, 100, format="JPEG", quality=40),
        other,
        one,
        copy_of(other, format="WEBP", quality=50),
        copy_of(one, 150, format="PNG"),
    ]
    assert found(pictures) == {0: 2, 4: 2, 3: 1}


def test_different_pictures_are_no_copies():
    pictures = [made_photograph(200, 300, seed=seed) for seed in range(20)]
    light = np.clip(pictures[0].astype(int) + 10, 0, 255).astype(np.uint8)
    assert found([*pictures, light, pictures[1][:, ::-1], pictures[2][:, :250]]) == {}


def test_nearly_flat_pictures_are_compared_by_their_own_contrast():
    flat = np.full((100, 100, 3), 10, np.uint8)
    left, right = flat.copy(), flat.copy()
    left[:, :50] += 1
    right[:, 50:] += 1
    assert found([left, right]) == {}
    assert found([left, np.repeat(np.repeat(left, 2, 0), 2, 1)]) == {0: 1}


def test_no_photographs_have_no_copies():
    assert find_copies([], []) == {}


def test_real_photographs_copies_are_found_and_nothing_else():
    folder = shared_pictures() / "benchmarks" / "BSD100" / "HR"
    if not folder.is_dir():
        pytest.skip(f"no BSD100 in {folder} (set ISR_SHARED_DATA)")
    originals = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())]
    changed = [
        copy_of(picture, width, format="JPEG", quality=quality)
        for picture in originals
        for width, quality in ((None, 30), (picture.shape[1] // 3, 75))
    ]
    copies_found = found(originals + changed)
    expected = {len(originals) + number: number // 2 for number in range(len(changed))}
    wrong = [copy for copy, original in copies_found.items() if expected.get(copy) != original]
    assert not wrong
    assert len(copies_found) > 0.98 * len(expected)
