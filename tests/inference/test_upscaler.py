import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import made_photograph
from imaging.test_files import png
from inference.doubles import LocalEngine, PooledEngine
from isr_pipeline import weights
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.files import read_picture
from isr_pipeline.inference import upscaler as module
from isr_pipeline.inference.back_projection import _antialiased, _bilinear, _reduce
from isr_pipeline.inference.encoded import upscale_encoded
from isr_pipeline.inference.upscaler import SelfEnsemble, Upscaler


def picture(height, width, channels, kind):
    """A picture whose alpha, if it has one, is opaque, clear and between."""
    rgb = made_photograph(height, width, seed=9).astype(np.float32) / 255
    y, x = np.mgrid[:height, :width]
    alpha = np.clip(np.hypot(y - height / 2, x - width / 2) / 12 - 0.8, 0, 1)[..., None]
    planes = {1: [rgb[..., :1]], 2: [rgb[..., :1], alpha], 3: [rgb], 4: [rgb, alpha]}[channels]
    values = np.concatenate(planes, axis=2)
    if kind == np.float32:
        return values.astype(np.float32)
    return np.rint(values * np.iinfo(kind).max).astype(kind)


def in_windows(monkeypatch, upscaler, side, values):
    monkeypatch.setattr(Upscaler, "window", lambda self, held: side)
    result = upscaler(values)
    monkeypatch.undo()
    return result


@pytest.mark.parametrize("engine", [LocalEngine, PooledEngine])
@pytest.mark.parametrize(
    ("channels", "kind", "options"),
    [
        (3, np.uint8, {}),
        (1, np.uint16, {}),
        (4, np.uint8, {}),
        (2, np.uint16, {}),
        (3, np.float32, {}),
        (3, np.uint16, {"back_projection": True}),
    ],
)
@pytest.mark.parametrize("scale", [2, 3])
def test_windows_give_the_whole_pictures_result_bit_for_bit(
    engine, channels, kind, options, scale, monkeypatch
):
    values = picture(101, 130, channels, kind)
    upscaler = Upscaler(engine(scale), scale, **options)
    whole = in_windows(monkeypatch, upscaler, 1000, values)
    assert whole.shape == (101 * scale, 130 * scale, channels)
    assert whole.dtype == kind
    smallest = 2 * upscaler.halo + 8
    for side in (smallest, smallest + 23):
        assert np.array_equal(in_windows(monkeypatch, upscaler, side, values), whole)


def test_a_self_ensemble_in_windows_gives_the_whole_pictures_result(monkeypatch):
    values = picture(70, 83, 3, np.uint8)
    upscaler = Upscaler(LocalEngine(), 2, self_ensemble=True)
    whole = in_windows(monkeypatch, upscaler, 1000, values)
    assert np.array_equal(in_windows(monkeypatch, upscaler, 40, values), whole)
    turned = upscaler(np.ascontiguousarray(np.rot90(values)))
    assert np.abs(np.rot90(turned, -1).astype(int) - whole).max() <= 1
    with pytest.raises(ProjectError, match="poolings"):
        SelfEnsemble(PooledEngine())


@pytest.mark.parametrize("engine", [LocalEngine, PooledEngine])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 40), (8, 8)])
def test_every_size_is_enlarged_exactly(engine, size):
    for channels in (1, 2, 3, 4):
        values = picture(*size, channels, np.uint8)
        assert Upscaler(engine(3), 3)(values).shape == (3 * size[0], 3 * size[1], channels)


def test_a_single_pixel_keeps_its_colour():
    values = np.array([[[200, 100, 50]]], np.uint8)
    assert (Upscaler(LocalEngine(2, strength=0), 2)(values) == values).all()


def test_two_dimensions_stay_two():
    assert Upscaler(LocalEngine(), 2)(np.zeros((9, 12), np.uint16)).shape == (18, 24)


def test_sixteen_bits_do_not_pass_through_eight():
    slope = np.linspace(20_000, 20_300, 64).astype(np.uint16)  # within one or two of 256 levels
    result = Upscaler(LocalEngine(strength=0), 2)(np.tile(slope, (16, 1)))
    assert len(np.unique(result[8])) > 100
    assert np.abs(np.diff(result[8].astype(int))).max() < 10


def test_the_mean_colour_stays():
    values = picture(64, 80, 3, np.uint8)
    result = Upscaler(LocalEngine(strength=0), 2)(values)
    assert np.abs(result.mean((0, 1)) - values.mean((0, 1))).max() < 0.5


def test_alpha_leaves_no_halo_over_any_background():
    """A bright disc whose clear surroundings are black, and hold colour that must not shine."""
    y, x = np.mgrid[:48, :48]
    alpha = np.clip(16 - np.hypot(y - 24, x - 24), 0, 1)
    values = np.zeros((48, 48, 4), np.uint8)
    values[..., :3] = np.where(alpha[..., None] > 0, [230, 180, 120], [0, 0, 0])
    values[..., 3] = np.rint(alpha * 255)
    result = Upscaler(LocalEngine(), 2)(values).astype(float)
    seen = result[..., 3] > 0
    assert np.abs(result[seen][:, :3] - [230, 180, 120]).max() <= 1
    assert (result[:, :, 3][44:52, 44:52] == 255).all()  # opaque stays opaque
    assert (result[:6, :, 3] == 0).all()  # clear stays clear


def test_a_clear_corner_changes_nothing_far_from_it():
    """Text, whose mean is held: it would become darker or lighter otherwise."""
    generator = np.random.default_rng(5)
    text = np.where(generator.random((96, 120, 1)) < 0.3, 0, 255)
    rgb = np.broadcast_to(text, (96, 120, 3)).astype(np.uint8)
    alpha = np.full((96, 120, 1), 255, np.uint8)
    alpha[:6, :6] = 0
    upscaler = Upscaler(LocalEngine(), 2)
    far = np.s_[2 * (6 + upscaler.halo) :, 2 * (6 + upscaler.halo) :]
    opaque = upscaler(rgb)
    result = upscaler(np.concatenate([rgb, alpha], axis=2))
    assert np.array_equal(result[far][..., :3], opaque[far])
    unheld = np.clip(LocalEngine()(rgb[None] / np.float32(255))[0], 0, 1) * 255
    assert abs(unheld[far].mean() - opaque[far].mean()) > 0.5  # there is something to hold
    grey = upscaler(np.concatenate([rgb[..., :1], alpha], axis=2))
    assert np.array_equal(grey[far][..., 0], upscaler(rgb[..., 0])[far])


@pytest.mark.parametrize("level", [0, 77, 255])
def test_even_transparency_stays_and_colours_are_as_without_it(level):
    rgb = picture(40, 50, 3, np.uint8)
    alpha = np.full((40, 50, 1), level, np.uint8)
    upscaler = Upscaler(LocalEngine(), 2)
    result = upscaler(np.concatenate([rgb, alpha], axis=2))
    assert (result[..., 3] == level).all()
    assert np.array_equal(result[..., :3], upscaler(rgb))


@pytest.mark.parametrize("degradation", ["bicubic", "unsplash"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_back_projection_makes_the_result_reduce_to_the_picture(degradation, scale):
    values = picture(48, 56, 3, np.float32) * np.float32(0.8) + np.float32(0.1)
    taps = _bilinear(scale) if degradation == "unsplash" else _antialiased(scale)

    def error(**options):
        enlarged = Upscaler(LocalEngine(scale), scale, degradation, **options)(values)
        reduced = _reduce(_reduce(enlarged, taps, scale, 0), taps, scale, 1)
        return np.abs(reduced - values).mean()

    assert error(back_projection=True) < 0.3 * error()


def test_the_reduction_is_the_degradations():
    from isr_pipeline.imaging.resampling import resize_bicubic

    values = picture(48, 60, 3, np.float32)
    for scale in (2, 3, 4):
        taps = _antialiased(scale)
        reduced = _reduce(_reduce(values, taps, scale, 0), taps, scale, 1)
        assert np.abs(reduced - resize_bicubic(values, 48 // scale, 60 // scale)).max() < 1e-5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_pillow_in_pillow_out(mode):
    values = picture(20, 30, 1, np.uint16)[..., 0]
    image = Image.fromarray(values)
    if mode != "I;16":
        image = Image.fromarray(picture(20, 30, 3, np.uint8)).convert(mode)
    image.info["dpi"] = (150, 150)
    result = Upscaler(LocalEngine(), 2)(image)
    expected = {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert (result.mode, result.size, result.info["dpi"]) == (expected, (60, 40), (150, 150))


def opened(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def test_pillow_images_without_a_result_in_pillow_are_refused():
    deep = opened(Image.fromarray(np.full((4, 5), 700, np.uint16)), "PNG", transparency=700)
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    animated = opened(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for image, words in ((deep, "array"), (animated, "2 frames")):
        with pytest.raises(ProjectError, match=words):
            Upscaler(LocalEngine(), 2)(image)


def test_an_array_is_not_changed():
    values = picture(30, 40, 4, np.uint8)
    before = values.copy()
    Upscaler(LocalEngine(), 2)(values)
    assert np.array_equal(values, before)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((4, 5, 7), np.uint8), "no picture"),
        (np.zeros((0, 5, 3), np.uint8), "no picture"),
        (np.zeros((4, 5), np.float64), "float64"),
        (Image.new("F", (4, 4)), "mode F"),
    ],
)
def test_what_is_no_picture_is_refused(values, words):
    with pytest.raises(ProjectError, match=words):
        Upscaler(LocalEngine(), 2)(values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_pngs_transparent_grey_of_few_bits_is_as_transparent_as_in_its_file(bits):
    rows = [bytes(range(y, y + 3)) for y in range(5)]
    content = png(24 // bits, 5, bits, 0, rows, (b"tRNS", b"\0\x01"))
    upscaler = Upscaler(LocalEngine(), 2)
    enlarged = np.asarray(upscaler(Image.open(io.BytesIO(content))))
    assert np.array_equal(enlarged, upscaler(read_picture(content).samples))
    assert enlarged[..., 1].min() < 128 < enlarged[..., 1].max()


def test_memory_decides_the_windows_and_too_little_is_said(monkeypatch):
    monkeypatch.setattr(module.memory, "resident", lambda: 200 * 2**20)
    engine = LocalEngine()
    values = picture(300, 300, 3, np.uint8)
    Upscaler(engine, 2, max_memory="230MiB")(values)
    assert max(max(shape[1:3]) for shape in engine.shapes) < 170
    with pytest.raises(ProjectError, match=r"300x300 needs 20\d MiB .*200 MiB are allowed"):
        Upscaler(engine, 2, max_memory="200MiB")(values)
    with pytest.raises(ProjectError, match="'much'"):
        Upscaler(engine, 2, max_memory="much")


def test_an_engine_of_another_scale_is_refused():
    with pytest.raises(ProjectError, match="by 2, not by 4"):
        Upscaler(LocalEngine(2), 4)


@pytest.fixture(scope="module")
def keras_network():
    from isr_pipeline.networks import build_network

    sizes = {"features": 8, "bottleneck_features": 8, "blocks": 1, "bottleneck_blocks": 1}
    network = build_network("autoencoder", [2], **sizes)
    generator = np.random.default_rng(1)
    network.set_weights([generator.normal(0, 0.1, w.shape) for w in network.get_weights()])
    return network


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_keras_in_windows_gives_the_whole_pictures_result(keras_network, kind, monkeypatch):
    upscaler = Upscaler(keras_network, 2, engine="keras")
    values = picture(131, 174, 3, kind)
    whole = in_windows(monkeypatch, upscaler, 1000, values)
    for side in (2 * upscaler.halo + 16, 2 * upscaler.halo + 45):
        assert np.array_equal(in_windows(monkeypatch, upscaler, side, values), whole)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_openvino_in_windows_gives_the_whole_pictures_result(
    keras_network, precision, tmp_path, monkeypatch
):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    from isr_pipeline.inference.export import export_openvino

    export_openvino(keras_network, 2, tmp_path / "x2.xml")
    monkeypatch.chdir(tmp_path)
    upscaler = Upscaler("x2.xml", 2, engine="openvino", precision=precision)
    values = picture(131, 174, 3, np.uint16)
    whole = in_windows(monkeypatch, upscaler, 1000, values)
    for side in (2 * upscaler.halo + 16, 2 * upscaler.halo + 45):
        assert np.array_equal(in_windows(monkeypatch, upscaler, side, values), whole)


def test_a_fresh_network_keeps_the_mean_colour():
    from isr_pipeline.networks import build_network

    sizes = {"features": 8, "bottleneck_features": 8, "blocks": 1, "bottleneck_blocks": 1}
    values = picture(40, 60, 3, np.uint8)
    result = Upscaler(build_network("autoencoder", [2], **sizes), 2, engine="keras")(values)
    assert np.abs(result.mean((0, 1)) - values.mean((0, 1))).max() < 0.5


SHIPPED = [(card, scale) for card in weights.available() for scale in card.scales]


@pytest.mark.parametrize(
    ("card", "scale"), SHIPPED, ids=[f"{card.id} x{scale}" for card, scale in SHIPPED]
)
def test_shipped_networks_keep_the_mean_colour(card, scale):
    from skimage import data

    upscaler = Upscaler(card.name, scale, card.degradation)
    for photograph in (data.coffee(), data.astronaut(), 255 - data.chelsea()):
        values = np.ascontiguousarray(photograph[:200, 100:340])
        means = upscaler(values).mean((0, 1)) - values.mean((0, 1))
        assert np.abs(means).max() < 0.5


def drawn():
    """Pictures of black and white alone, where what is sharpened is cut off."""
    page = Image.new("L", (240, 200), "white")
    lines = "\n".join(["The quick brown fox jumps over it all"] * 12)
    ImageDraw.Draw(page).text((4, 4), lines, fill="black")
    text = np.asarray(page)
    y, x = np.mgrid[:200, :240]
    order = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    ordered = np.where(x / 240 > order[y % 4, x % 4] / 16, 255, 0).astype(np.uint8)
    slope = Image.fromarray((x + y).clip(0, 255).astype(np.uint8))
    diffused = np.asarray(slope.convert("1").convert("L"))
    stripes = np.where((x + y) % 2, 255, 0).astype(np.uint8)
    return {
        "text": text,
        "white text": 255 - text,
        "ordered": ordered,
        "diffused": diffused,
        "stripes": stripes,
    }


@pytest.mark.parametrize("kind", drawn())
@pytest.mark.parametrize(
    ("card", "scale"), SHIPPED, ids=[f"{card.id} x{scale}" for card, scale in SHIPPED]
)
def test_shipped_networks_keep_the_mean_of_text_and_dithers(card, scale, kind):
    values = drawn()[kind]
    result = Upscaler(card.name, scale, card.degradation)(values)
    assert abs(result.mean() - values.mean()) < 0.5


RAMP = np.linspace(0, 1, 8 * 8 * 3, dtype=np.float32).reshape(8, 8, 3)


def test_what_is_no_picture_is_refused_with_the_remedy():
    enlarger = Upscaler(LocalEngine(), 2)
    with pytest.raises(ProjectError, match=r"a str is no picture: open files with PIL\.Image"):
        enlarger("photo.jpg")
    with pytest.raises(ProjectError, match=r"float64 .* float32 in \[0, 1\]"):
        enlarger(np.zeros((4, 4, 3)))
    for values in (RAMP * 255, np.where(RAMP > 0.5, np.float32("nan"), RAMP)):
        with pytest.raises(ProjectError, match=r"float32 samples are in \[0, 1\], these from"):
            enlarger(values)
    assert np.array_equal(enlarger(RAMP * 1.2 - 0.1), enlarger(np.clip(RAMP * 1.2 - 0.1, 0, 1)))
    assert enlarger(RAMP).shape == (16, 16, 3)
    assert Upscaler(LocalEngine(), np.int64(2)).scale == 2
    for scale, degradation in (("2", None), (2, "bicubik")):
        with pytest.raises(ProjectError, match=r"must be (a whole number|realistic, bicubic or)"):
            Upscaler("subpixel-small", scale, degradation)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"engine": "onnx"}, "engine must be auto, keras or openvino, not 'onnx'"),
        ({"precision": "bf16"}, "precision must be auto, float32 or bfloat16, not 'bf16'"),
        ({"model": 3}, "int is no network: give a name"),
    ],
)
def test_what_is_no_engine_no_precision_and_no_network_is_refused(given, words):
    with pytest.raises(ProjectError, match=words):
        Upscaler(**given)


def test_a_picture_that_nobody_waits_for_any_more_is_not_finished():
    file = io.BytesIO()
    Image.fromarray(picture(200, 20, 3, np.uint8)).save(file, "PNG")
    upscaler, asked = Upscaler(LocalEngine(2), 2), []
    assert upscale_encoded(file.getvalue(), upscaler, 1, is_stopped=lambda: asked.append(1))
    assert asked
    with pytest.raises(ProjectError, match="stopped before the picture was done"):
        upscale_encoded(file.getvalue(), upscaler, 1, is_stopped=lambda: True)


def test_a_window_takes_no_more_memory_than_is_reckoned(tmp_path):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process can be measured anew on Linux alone")
    for channels in (3, 4):
        np.save(tmp_path / f"{channels}.npy", picture(360, 400, channels, np.uint8))
    script = """
        import json, sys
        from pathlib import Path
        import numpy as np
        from isr_pipeline import Upscaler, memory
        from isr_pipeline.inference.measure import peak_mib

        told = []
        for channels, back_projection in ((4, False), (4, True), (3, True)):
            values = np.load(Path(sys.argv[1], f"{channels}.npy"))
            upscaler = Upscaler(scale=6, max_memory="1TB", back_projection=back_projection)
            upscaler(values[:40, :40])  # what is loaded once
            Path("/proc/self/clear_refs").write_text("5")
            before = memory.resident()
            result = upscaler(values)
            reckoned = upscaler._pixel * values.shape[0] * values.shape[1] + result.nbytes
            told.append((peak_mib() * 2**20 - before) / reckoned)
            del upscaler, result
        print(json.dumps(told))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert all(0.5 < share < 1 for share in json.loads(done.stdout)), done.stdout


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_arrays_of_another_byte_order_are_the_same_picture(kind):
    values = picture(20, 30, 3, kind)
    swapped = values.astype(values.dtype.newbyteorder())  # as tifffile reads what a Mac wrote
    result = Upscaler(LocalEngine(), 2)(swapped)
    assert result.dtype == kind
    assert np.array_equal(result, Upscaler(LocalEngine(), 2)(values))
    if kind == np.float32:
        with pytest.raises(ProjectError, match="to 128: give 8-bit"):
            Upscaler(LocalEngine(), 2)(np.full((4, 4, 3), 128, ">f4"))
