"""The scripts of `benchmarks/`, for a moment each: they are to run, not to measure here."""

import importlib.util
from itertools import islice

import pytest
from PIL import Image

from conftest import PROJECT, made_photograph
from isr_pipeline.inference import plan
from isr_pipeline.inference.upscaler import Upscaler
from isr_pipeline.networks import build_network


@pytest.fixture
def script(request):
    path = PROJECT / "benchmarks" / f"{request.param}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{request.param}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", ["feed"], indirect=True)
def test_the_feed_is_compared_with_training_and_with_other_stores(script, tmp_path):
    photographs = list(islice(script.oriented_sample(), 0, None, 8))
    text = script.compare(photographs, tmp_path, seconds=0.02, rounds=1)
    tables = text.split("\n\n")
    assert sum(line.startswith("|") for part in tables for line in part.splitlines()) > 15
    assert "| x training |" in text


@pytest.mark.parametrize("script", ["upscale"], indirect=True)
def test_a_batch_is_timed_whole_and_by_its_stages(script, tmp_path):
    Image.fromarray(made_photograph(30, 40, 1)).save(tmp_path / "in.jpg")
    tasks = plan.plan([tmp_path / "in.jpg"], tmp_path / "out")
    network = build_network("subpixel", [2], size="tiny", branches=False)
    together, *alone = script.together_and_alone(tasks, Upscaler(network, 2))
    assert together > 0
    assert len(alone) == 3
    assert Image.open(tmp_path / "out" / "in.jpg").size == (80, 60)
