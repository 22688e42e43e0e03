import numpy as np
import pytest
from PIL import Image

from conftest import made_photograph
from inference.doubles import LocalEngine
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.panel import COLUMN, compare_file, most_different
from isr_pipeline.inference.upscaler import Upscaler


def test_crops_are_where_the_pictures_differ_most():
    one = made_photograph(200, 300, seed=1)
    other = one.copy()
    other[50:70, 210:230] ^= 0x40
    other[160:170, 20:30] ^= 0x10
    places = most_different(one, other, 40)
    assert places[:2] == [(40, 200), (160, 0)]


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
