import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from conftest import made_photograph
from inference.conftest import double_engine, no_weights  # noqa: F401  fixtures
from inference.doubles import write_card, write_champion
from isr_pipeline.command_line import main


@pytest.fixture
def isr(no_weights, double_engine):  # noqa: F811
    """The command in a working folder with one photograph and shipped weights for x2."""
    write_card(no_weights.shipped, "subpixel-small", "realistic", [2])
    folder = no_weights.working / "photos"
    folder.mkdir()
    Image.fromarray(made_photograph(20, 30, seed=1)).save(folder / "one.jpg")

    def run(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)

    run.folder, run.opened, run.shipped = no_weights.working, double_engine, no_weights.shipped
    return run


def test_a_folder_is_enlarged_and_the_network_named(isr):
    result = isr("upscale", "photos", "-o", "out", "--scale", "2")
    assert result.exit_code == 0
    assert "x2 with subpixel-small, shipped weights for realistic pictures" in result.stderr
    assert "1 enlarged" in result.stderr
    assert Image.open(isr.folder / "out/one.jpg").size == (60, 40)


def test_options_reach_the_engine(isr):
    write_card(isr.shipped, "autoencoder", "bicubic", [2, 3])
    options = ("-m", "autoencoder", "-d", "bicubic", "--engine", "keras", "--precision", "float32")
    result = isr("upscale", "photos/one.jpg", "-o", "big.png", "-s", "3", *options)
    assert result.exit_code == 0, result.stderr
    (card, *rest) = isr.opened[0]
    assert (card.name, *rest) == ("autoencoder", 3, "keras", "float32")
    assert Image.open(isr.folder / "big.png").size == (90, 60)


def test_a_bad_file_makes_the_exit_code_1_and_is_listed(isr):
    (isr.folder / "photos/bad.png").write_bytes(b"")
    result = isr("upscale", "photos", "-o", "out", "--format", "webp")
    assert result.exit_code == 1
    assert "1 enlarged" in result.stderr
    assert result.stderr.count("photos/bad.png: the file has 0 bytes") == 1
    assert "1 failed" in result.stderr
    assert Image.open(isr.folder / "out/one.webp").format == "WEBP"


def test_what_failed_in_a_long_batch_is_listed_at_its_end(isr):
    for number in range(20):
        (isr.folder / f"photos/bad{number}.png").write_bytes(b"")
    result = isr("upscale", "photos", "-o", "out")
    happened, listed = result.stderr.split("Failed:")
    for part in (happened, listed):
        assert part.count("photos/bad7.png: the file has 0 bytes") == 1


def test_a_mistake_is_one_line(isr):
    for arguments, words in (
        (("upscale", "nowhere"), "there is no nowhere"),
        (("upscale", "photos", "-s", "7"), "no shipped weights for realistic at scale 7"),
        (("upscale", "photos", "--max-memory", "lots"), "'lots' is no amount of memory"),
        (("compare", "nowhere.jpg"), "nowhere.jpg: No such file"),
    ):
        result = isr(*arguments)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: ")
        assert words in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("scale", ["0", "-1", "1"])
def test_a_scale_that_does_not_enlarge_is_a_wrong_use(isr, scale):
    result = isr("upscale", "photos", "--scale", scale)
    assert result.exit_code == 2
    assert "'--scale'" in result.stderr


def test_compare_replaces_nothing_unasked(isr):
    photo = isr.folder / "photos/one.jpg"
    before = photo.read_bytes()
    result = isr("compare", "photos/one.jpg", "-o", "photos/one.jpg", "--overwrite")
    assert result.exit_code == 1
    assert photo.read_bytes() == before
    assert isr("compare", "photos/one.jpg").exit_code == 0
    again = isr("compare", "photos/one.jpg")
    assert again.exit_code == 1
    assert again.stderr == "Error: panel.png is there already: --overwrite replaces it\n"
    assert isr("compare", "photos/one.jpg", "--overwrite").exit_code == 0


def test_an_empty_name_is_not_the_working_folder(isr):
    for words in (["upscale", ""], ["upscale", "x.jpg", "-o", ""], ["compare", ""]):
        result = isr(*words)
        assert result.exit_code == 2
        assert "the name is empty" in result.stderr


def test_models_are_listed(isr):
    write_champion(isr.folder, "photos", "bicubic", [2])
    result = isr("models")
    assert result.exit_code == 0
    heading, champion, shipped = result.stdout.splitlines()
    assert heading.split() == ["model", "scales", "degradation", "parameters", "scores"]
    assert champion.startswith("champion")
    assert shipped.split()[:4] == ["subpixel-small", "x2", "realistic", "12,345"]


def test_compare_writes_a_panel(isr):
    result = isr("compare", "photos/one.jpg", "--scale", "2", "-o", "panel.png")
    assert result.exit_code == 0
    assert Image.open(isr.folder / "panel.png").width > 900


def test_the_way_to_the_first_picture_is_short(isr):
    """What takes seconds to import is not needed to enlarge with an exported model."""
    code = """
import sys
from inference.doubles import LocalEngine
from pathlib import Path
import isr_pipeline.command_line
import isr_pipeline.inference.engines
from isr_pipeline.inference.batch import upscale_files
from isr_pipeline.inference.plan import plan
from isr_pipeline import Upscaler
batch = upscale_files(plan([Path("photos")], Path("out")), Upscaler(LocalEngine(), 2))
assert not batch.failed
heavy = {"tensorflow", "keras", "kedro", "mlflow", "pandas", "matplotlib", "scipy", "skimage"}
print(heavy & set(sys.modules) or "lean")
"""
    from conftest import PROJECT

    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=isr.folder,
        env={"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT / 'tests'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert process.stdout.strip() == "lean", process.stdout + process.stderr


@pytest.mark.parametrize("redirection", ["2>&-", "2>&1 | true"])
def test_a_closed_standard_error_costs_no_picture(isr, redirection):
    from conftest import PROJECT

    code = (
        "import sys; from isr_pipeline import command_line as c; "
        "from isr_pipeline.inference import engines; from inference.doubles import LocalEngine; "
        "engines.open_engine = lambda *a: LocalEngine(); sys.exit(c.main())"
    )
    shell = f"{{ '{sys.executable}' -c '{code}' upscale photos -o out; echo $? > code; }}"
    subprocess.run(
        f"{shell} {redirection}",
        shell=True,
        cwd=isr.folder,
        env={"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT / 'tests'}", "PATH": "/usr/bin:/bin"},
        check=True,
    )
    assert (isr.folder / "code").read_text() == "0\n"
    assert Image.open(isr.folder / "out/one.jpg").size == (60, 40)


def test_a_port_that_is_none_and_a_limit_of_nothing_are_usage_errors(isr):
    for arguments, words in (
        (("--port", "70000"), "70000 is not in the range 1<=x<=65535"),
        (("--max-megapixels", "0"), "0.0 is not in the range x>0"),
    ):
        result = isr("serve", *arguments)
        assert result.exit_code == 2
        assert words in result.stderr
