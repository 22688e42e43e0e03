import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import made_photograph
from inference.doubles import LocalEngine
from isr_pipeline import memory
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference import panel
from isr_pipeline.inference.panel import COLUMN, TALLEST, compare_file, most_different
from isr_pipeline.inference.upscaler import Upscaler


def compare(picture, output, **options):
    compare_file(picture, output, Upscaler(LocalEngine(), 2), **options)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(made_photograph(60, 90, seed=2)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_grey_picture_stays_grey_as_it_does_when_it_is_enlarged(tmp_path):
    class Colourful(LocalEngine):
        def __call__(self, lr):
            return super().__call__(lr) * np.float32([1, 0.8, 0.6])

    Image.fromarray(made_photograph(60, 90, seed=2)).convert("L").save(tmp_path / "grey.png")
    compare_file(tmp_path / "grey.png", tmp_path / "panel.png", Upscaler(Colourful(), 2))
    panel = np.asarray(Image.open(tmp_path / "panel.png"))
    zoomed = panel[-COLUMN:-20, -COLUMN:-20].astype(int)
    assert np.ptp(zoomed, axis=2).max() == 0


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_picture_is_never_replaced_by_its_panel(picture, overwrite):
    before = picture.read_bytes()
    link = picture.with_name("link.png")
    link.hardlink_to(picture)
    for output in (picture, link):
        with pytest.raises(ProjectError, match=r"would replace .*a\.png itself"):
            compare(picture, output, overwrite=overwrite)
    assert picture.read_bytes() == before


def test_a_file_that_is_there_is_replaced_on_demand_only(picture):
    output = picture.with_name("other.png")
    output.write_text("dear")
    with pytest.raises(ProjectError, match=r"other\.png is there already: --overwrite"):
        compare(picture, output)
    assert output.read_text() == "dear"
    compare(picture, output, overwrite=True)
    assert Image.open(output).width > COLUMN


def test_a_panel_needs_a_name_that_can_be_written(picture):
    folder = picture.with_name("folder.png")
    folder.mkdir()
    for output, words in (
        (picture.with_name("p.xyz"), r"p\.xyz is no name of a picture: end it in one of .*\.png"),
        (folder, "folder.png is no file that can be replaced"),
        (picture / "p.png", "p.png cannot be written: .*a.png is no folder"),
    ):
        with pytest.raises(ProjectError, match=words):
            compare(picture, output, overwrite=True)


def test_what_is_no_file_of_a_size_that_can_be_read_is_refused(tmp_path, picture):
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.write(picture.read_bytes())
        file.truncate(2**41)
    for name, words in (("pipe", "no regular file"), ("sparse", "a file of .* bytes needs")):
        with pytest.raises(ProjectError, match=f"{name}.png: {words}"):
            compare(tmp_path / f"{name}.png", tmp_path / "panel.png")
    with pytest.raises(ProjectError, match="/dev/zero: no regular file"):
        compare(Path("/dev/zero"), tmp_path / "panel.png")


def test_crops_are_where_the_pictures_differ_most():
    one = made_photograph(200, 300, seed=1)
    other = one.copy()
    other[50:70, 210:230] ^= 0x40
    other[160:170, 20:30] ^= 0x10
    places = most_different(one, other, 40)
    assert places[:2] == [(40, 200), (160, 0)]


@pytest.mark.parametrize("name", ["panel.jpg", "panel.webp"])
def test_a_panel_is_written_with_little_loss(tmp_path, picture, name):
    for output in (tmp_path / "panel.png", tmp_path / name):
        compare_file(picture, output, Upscaler(LocalEngine(), 2))
    lossless, lossy = (np.asarray(Image.open(tmp_path / n), int) for n in ("panel.png", name))
    assert np.abs(lossless - lossy).mean() < 1


@pytest.mark.parametrize("name", ["panel.png", "panel.jpg", "panel.webp", "panel.tif", "panel.bmp"])
def test_a_panel_has_the_pictures_colour_profile(tmp_path, name):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    wide = profile[:16] + b"RGB " + profile[20:]  # which is not sRGB's
    image = Image.fromarray(made_photograph(60, 90, seed=2))
    image.save(tmp_path / "rgb.png", icc_profile=wide)
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", icc_profile=wide)
    for picture, expected in (("rgb.png", wide), ("cmyk.jpg", None)):
        compare(tmp_path / picture, tmp_path / name, overwrite=True)
        found = Image.open(tmp_path / name).info.get("icc_profile")
        assert found == (None if name.endswith("bmp") else expected)


def test_a_panel_shows_both_columns(tmp_path):
    Image.fromarray(made_photograph(60, 90, seed=2)).save(tmp_path / "a.png")
    compare_file(tmp_path / "a.png", tmp_path / "panel.png", Upscaler(LocalEngine(), 2))
    panel = np.asarray(Image.open(tmp_path / "panel.png"))
    assert 2 * COLUMN < panel.shape[1] < 2 * COLUMN + 50
    left, right = panel[60:, 8 : 8 + COLUMN], panel[60:, 16 + COLUMN : 16 + 2 * COLUMN]
    assert (left != right).mean() > 0.05
    assert left.std() > 20


@pytest.mark.parametrize(("name", "words"), [("none.png", "No such file"), ("bad.png", "0 bytes")])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, name, words):
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ProjectError, match=f"{name}: .*{words}"):
        compare_file(tmp_path / name, tmp_path / "panel.png", Upscaler(LocalEngine(), 2))


def test_a_narrow_picture_has_a_panel_of_usual_size(tmp_path):
    Image.new("RGB", (1, 5000), "grey").save(tmp_path / "narrow.png")
    compare(tmp_path / "narrow.png", tmp_path / "panel.png")
    width, height = Image.open(tmp_path / "panel.png").size
    assert width < 2.1 * COLUMN
    assert height < TALLEST + 3.5 * COLUMN


def test_a_panel_that_has_no_room_in_memory_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(panel, "decode_picture", lambda *given: pytest.fail("it is unpacked"))
    Image.new("RGB", (3000, 2000)).save(tmp_path / "large.png")
    limited = Upscaler(LocalEngine(), 2, max_memory=memory.resident() + 200 * 2**20)
    with pytest.raises(ProjectError, match=r"a panel of 3000x2000 needs .* raise max_memory"):
        compare_file(tmp_path / "large.png", tmp_path / "panel.png", limited)
