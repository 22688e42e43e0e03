import os

import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset
from PIL import Image

from conftest import PROJECT, made_photograph
from inference.conftest import double_engine, no_weights  # noqa: F401  fixtures
from inference.doubles import write_card
from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.upscale.nodes import list_pictures
from isr_pipeline.pipelines.upscale.parameters import UpscaleParameters
from isr_pipeline.pipelines.upscale.pipeline import create_pipeline
from pipelines.conftest import changed, default_parameters


def parameters(**changes) -> UpscaleParameters:
    return UpscaleParameters(**changed(default_parameters("upscale")["upscale"], **changes))


@pytest.fixture
def folder(no_weights, double_engine):  # noqa: F811
    write_card(no_weights.shipped, "subpixel-small", "realistic", [3])
    (no_weights.working / "photos").mkdir()
    Image.fromarray(made_photograph(20, 30, seed=1)).save(no_weights.working / "photos/one.jpg")
    return no_weights.working


def run(**changes):
    """Run the pipeline with the table in a file, as the catalog has it."""
    entry = yaml.safe_load((PROJECT / "conf/base/catalog_08_reporting.yml").read_text())
    options = {k: v for k, v in entry["upscaled_pictures"].items() if k.endswith("_args")}
    table = CSVDataset(filepath="table.csv", **options)
    inputs = {"params:upscale": MemoryDataset(parameters(**changes)), "upscaled_pictures": table}
    SequentialRunner().run(create_pipeline(), DataCatalog(inputs))
    return table.load()


def test_a_folder_is_enlarged_and_every_picture_has_a_row(folder):
    table = run(input="photos", output="larger", scale=3, format="png")
    (row,) = table.to_dict("records")
    assert row == {
        "source": "photos/one.jpg",
        "target": "larger/one.png",
        "status": "done",
        "reason": "",
        "width": 90,
        "height": 60,
    }
    assert Image.open(folder / "larger/one.png").size == (90, 60)


def test_a_failure_ends_the_run_after_the_table_is_saved(folder):
    (folder / "photos/bad.jpg").write_bytes(b"")
    with pytest.raises(ProjectError, match=r"1 of 2 pictures failed.*bad\.jpg \(the file has 0"):
        run(input="photos", output="larger", scale=3)
    table = (folder / "table.csv").read_text().splitlines()
    assert "photos/bad.jpg" in table[1]
    assert "failed,the file has 0 bytes" in table[1]
    assert "photos/one.jpg" in table[2]


def test_a_name_that_is_no_text_is_enlarged_and_written_with_escapes(folder):
    name = os.fsdecode(b"caf\xe9.jpg")
    (folder / "photos/one.jpg").rename(folder / "photos" / name)
    (row,) = run(input="photos", output="larger", scale=3).to_dict("records")
    assert (row["source"], row["target"]) == ("photos/caf\\udce9.jpg", "larger/caf\\udce9.jpg")
    assert row["status"] == "done"
    assert [path.name for path in (folder / "larger").iterdir()] == [name]


def test_without_an_input_the_error_shows_the_command():
    with pytest.raises(ProjectError, match=r"--params=upscale\.input="):
        list_pictures(parameters())
