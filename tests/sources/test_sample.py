import numpy as np
import pytest

from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.degradations import block_mean, degrade
from isr_pipeline.sources.kaggle_layout import CSV_NAME, FOLDER, list_kaggle_layout
from isr_pipeline.sources.sample import ensure_sample, sample_photographs

SIZES = {
    "astronaut": (512, 512),
    "chelsea": (300, 451),
    "china": (427, 640),
    "coffee": (400, 600),
    "flower": (427, 640),
    "grace_hopper": (600, 512),
    "rocket": (427, 640),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "sample"
    assert ensure_sample(folder) is True
    return folder


def test_the_sample_is_seven_colour_photographs_of_known_sizes():
    photographs = dict(sample_photographs())
    assert {name: pixels.shape for name, pixels in photographs.items()} == {
        name: (*size, 3) for name, size in SIZES.items()
    }
    for pixels in photographs.values():
        assert pixels.dtype == np.uint8
        assert np.ptp(pixels.astype(int), axis=2).mean() > 5


def test_the_written_sample_holds_each_photograph_with_three_partners(written):
    collection = list_kaggle_layout(written)
    assert collection.root == written / FOLDER
    by_scale = collection.files.groupby("scale")["photograph"].apply(list).to_dict()
    assert by_scale == {scale: list(SIZES) for scale in (1, 2, 4, 6)}
    assert all((collection.root / path).is_file() for path in collection.files["path"])


@pytest.mark.parametrize("scale", [2, 4, 6])
def test_partners_of_the_sample_recover_to_the_degraded_original(written, scale):
    collection = list_kaggle_layout(written)
    original = decode_picture(collection.read("high res/chelsea.jpg")).pixels
    partner = decode_picture(collection.read(f"low res/chelsea_{scale}.jpg")).pixels
    assert partner.shape == original.shape
    assert np.array_equal(block_mean(partner, scale), degrade(original, scale, "unsplash"))


def test_a_second_call_writes_nothing(written):
    files = sorted(path for path in written.rglob("*") if path.is_file())
    before = [(path, path.stat().st_mtime_ns, path.stat().st_ino) for path in files]
    assert len(files) == 7 * 4 + 1
    assert ensure_sample(written) is False
    assert [(path, path.stat().st_mtime_ns, path.stat().st_ino) for path in files] == before


def test_a_layout_that_is_there_is_not_replaced(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / CSV_NAME).write_text("mine")
    assert ensure_sample(tmp_path) is False
    assert (tmp_path / FOLDER / CSV_NAME).read_text() == "mine"
