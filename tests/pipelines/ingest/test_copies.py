import io

import numpy as np
import pytest
from PIL import Image

from conftest import made_photograph, shared_pictures
from isr_pipeline.pipelines.ingest import copies
from isr_pipeline.pipelines.ingest.copies import Thumbnail, find_copies
from isr_pipeline.pipelines.ingest.nodes import _mark_copies, _mark_duplicates


def copy_of(pixels, width=None, **options):
    image, file = Image.fromarray(pixels), io.BytesIO()
    if width is not None:
        height = round(width * image.height / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.save(file, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def found(pictures, first=None):
    thumbnails = [Thumbnail.of(picture) for picture in pictures]
    return find_copies(thumbnails, first or [False] * len(pictures))


@pytest.mark.parametrize("block", [1, 1024])
def test_copies_are_those_of_the_largest_of_them(block, monkeypatch):
    monkeypatch.setattr(copies, "BLOCK", block)
    one, other = (made_photograph(480, 720, seed=seed) for seed in (1, 2))
    pictures = [
        copy_of(one, 240, format="JPEG", quality=80),
        other,
        one,
        copy_of(other, format="WEBP", quality=50),
        copy_of(one, 360, format="PNG"),
    ]
    assert found(pictures) == {0: 2, 4: 2, 3: 1}
    small = [number == 0 for number in range(len(pictures))]
    assert found(pictures, small) == {2: 0, 4: 0, 3: 1}


def page(seed):
    """A page of words of light and dark, as alike from afar as pages are."""
    generator = np.random.default_rng(seed)
    words = np.repeat(generator.random((100, 60)) < 0.4, 6, axis=1) * 200
    lines = np.zeros((900, 360), np.uint8)
    for row in range(4):
        lines[row::9] = words
    return np.repeat(240 - lines[..., None], 3, axis=2)


def grain(seed):
    """Noise under one and the same light."""
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    light = 200 * np.exp(-(x**2) - y**2)[..., None]
    noise = np.random.default_rng(seed).normal(0, 25, (300, 400, 1))
    return np.clip(light + noise, 0, 255).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("made", [page, grain])
def test_pictures_that_are_alike_from_afar_are_no_copies(made):
    pictures = [made(seed) for seed in range(6)]
    assert found(pictures) == {}
    copies_of_them = [copy_of(picture, format="JPEG", quality=75) for picture in pictures]
    assert found(pictures + copies_of_them) == {6 + number: number for number in range(6)}


def test_recoloured_pictures_are_no_copies():
    picture = made_photograph(200, 300, seed=1)
    assert found([picture, picture[..., ::-1]]) == {}


def test_different_pictures_are_no_copies():
    pictures = [made_photograph(200, 300, seed=seed) for seed in range(20)]
    light = np.clip(pictures[0].astype(int) + 10, 0, 255).astype(np.uint8)
    assert found([*pictures, light, pictures[1][:, ::-1], pictures[2][:, :250]]) == {}


def test_pictures_without_details_are_no_copies():
    flat = np.full((100, 100, 3), 10, np.uint8)
    left, right = flat.copy(), flat.copy()
    left[:, :50] += 1
    right[:, 50:] += 1
    assert found([left, right]) == {}
    assert found([left, np.repeat(np.repeat(left, 2, 0), 2, 1)]) == {}


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


def test_an_original_with_low_resolution_files_stays_before_a_larger_copy():
    large = made_photograph(480, 720, seed=1)
    small = copy_of(large, 360, format="PNG")
    rows = [
        {"photograph": "1", "scale": 1, "path": "1.jpg", "thumbnail": Thumbnail.of(small)},
        {"photograph": "1", "scale": 2, "path": "1_2.jpg"},
        {"photograph": "2", "scale": 1, "path": "2.jpg", "thumbnail": Thumbnail.of(large)},
    ]
    rows = [{**row, "status": "ok"} for row in rows]
    _mark_copies(rows)
    assert [row["status"] for row in rows] == ["ok", "ok", "duplicate"]
    assert rows[2]["reason"] == "shows the same as 1.jpg"


def test_of_equal_originals_the_one_with_low_resolution_files_stays():
    original = {"scale": 1, "status": "ok", "pixels_sha256": "a"}
    rows = [
        {**original, "photograph": "1", "path": "1.jpg"},
        {**original, "photograph": "7", "path": "7.jpg"},
        {"photograph": "7", "scale": 2, "path": "7_2.jpg", "status": "ok"},
    ]
    _mark_duplicates(rows)
    assert [row["status"] for row in rows] == ["duplicate", "ok", "ok"]
    assert rows[0]["reason"] == "the same picture as 7.jpg"
