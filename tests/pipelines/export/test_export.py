import json

import pytest

from inference.exported import shaken_network
from isr_pipeline.champion import Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.export.nodes import COLUMNS, export_champion
from isr_pipeline.pipelines.export.parameters import ExportParameters
from pipelines.conftest import changed, default_parameters

for _package in ("openvino", "onnx", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(_package, reason="the extra export is not installed")


def export_parameters(**changes):
    return ExportParameters(**changed(default_parameters("export")["export"], **changes))


@pytest.fixture(scope="module")
def champion():
    return Champion(shaken_network("subpixel", [2]), {"network": "subpixel", "score": 30.0})


def test_the_champion_is_written_in_every_format_with_its_record(champion):
    files, table = export_champion(champion, export_parameters())
    assert set(files) == {
        "network.keras",
        "record.json",
        "x2.bin",
        "x2.onnx",
        "x2.tflite",
        "x2.xml",
    }
    assert json.loads(files["record.json"]) == champion.record
    assert list(table) == COLUMNS
    in_float32 = table[table["precision"] == "float32"].set_index("format")
    assert set(in_float32.index) == {"openvino", "onnx", "litert"}
    assert (in_float32["max_difference"] < export_parameters().maximum_difference).all()
    assert in_float32.loc["onnx", "kilobytes"] == round(len(files["x2.onnx"]) / 1e3, 1)
    size = round((len(files["x2.xml"]) + len(files["x2.bin"])) / 1e3, 1)
    assert in_float32.loc["openvino", "kilobytes"] == size


def test_without_a_champion_it_says_what_to_run_first():
    with pytest.raises(ProjectError, match="run kedro run --pipelines=train,evaluate first"):
        export_champion(None, export_parameters())


def test_a_file_too_far_from_keras_stops_the_run(champion):
    parameters = export_parameters(formats=["openvino"], maximum_difference=1e-6)
    with pytest.raises(ProjectError, match=r"x2.xml differs from Keras by .*maximum_difference"):
        export_champion(champion, parameters)
