import json
import shutil

import numpy as np
import pytest
from skimage import data

from isr_pipeline import weights
from isr_pipeline.datasets.weights import WeightSet, write_weight_set
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import build_network, load_keras_file, scales_of
from isr_pipeline.networks.dead_units import dead_units

FACTS = {"name": "subpixel-tiny", "degradation": "bicubic", "licence": "none", "training": {}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two sets."""
    folder = tmp_path_factory.mktemp("weights")
    for scale in (2, 4):
        network = build_network("subpixel", [scale], size="tiny", branches=False)
        write_weight_set(folder, WeightSet(network, dict(FACTS), ["a", "b"]))
    return folder


@pytest.fixture
def sets(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "weights")
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    return tmp_path / "weights"


def test_a_set_is_loaded_by_name_scale_and_degradation(sets):
    assert weights.names() == ["subpixel-tiny_bicubic_x2", "subpixel-tiny_bicubic_x4"]
    network = weights.load_network("subpixel-tiny", scale=4, degradation="bicubic")
    assert scales_of(network) == [4]


def test_a_card_says_what_it_is(sets):
    facts = weights.find("subpixel-tiny", 2, "bicubic").facts
    assert facts["scales"] == [2]
    assert facts["parameters"] == 20_748
    assert facts["radius"] == {"2": 10}
    assert set(facts["files"]) == {"network.keras", "x2.xml", "x2.bin", "trained_on.json"}
    assert weights.find("subpixel-tiny", 2, "bicubic").trained_on == {"a", "b"}


def test_a_set_that_is_not_there_is_refused_by_what_is(sets):
    with pytest.raises(ProjectError, match="at scale 3: subpixel-tiny is for bicubic at x2/x4"):
        weights.find("subpixel-tiny", 3, "bicubic")
    with pytest.raises(ProjectError, match=r"choose a scale of \[2, 4\]"):
        weights.find("subpixel-tiny", None, "bicubic")
    with pytest.raises(ProjectError, match="there are those for bicubic at x2/x4"):
        weights.default(2, "realistic")
    with pytest.raises(ProjectError, match="there are those for bicubic at x2/x4"):
        weights.default(3, "bicubic")
    with pytest.raises(ProjectError, match=r"called 'subpixel-tny': is it subpixel-tiny\?"):
        weights.find("subpixel-tny", 2, "bicubic")
    with pytest.raises(ProjectError, match="called 'x': there are subpixel-tiny"):
        weights.find("x", 2, "bicubic")
    for scale, degradation in (("2", None), (2.0, None), (True, None), (2, "bicubik")):
        with pytest.raises(ProjectError, match=r"must be a whole number|must be realistic, bic"):
            weights.load_network("subpixel-tiny", scale, degradation)
    with pytest.raises(ProjectError, match="no shipped weights 'x'"):
        weights.named("x")


@pytest.mark.parametrize("file", ["network.keras", "x2.bin"])
def test_a_changed_file_is_not_loaded(sets, file):
    path = sets / "subpixel-tiny_bicubic_x2" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ProjectError, match="SHA-256 differs"):
        weights.find("subpixel-tiny", 2, "bicubic").path(file)


def test_a_file_outside_the_set_is_not_given(sets):
    with pytest.raises(ProjectError, match=r"have no file \.\./x"):
        weights.find("subpixel-tiny", 2, "bicubic").path("../x")


def test_the_best_size_is_the_default(sets):
    card = sets / "subpixel-tiny_bicubic_x4" / "card.json"
    facts = json.loads(card.read_text()) | {"name": "subpixel-medium", "scales": [2]}
    card.write_text(json.dumps(facts))
    weights._cards.cache_clear()
    assert weights.default(2, "bicubic").name == "subpixel-medium"


@pytest.mark.parametrize("card", weights.available(), ids=lambda card: card.id)
def test_every_shipped_set_is_whole(card):
    for file in card.facts["files"]:
        card.path(file)
    network = load_keras_file(card.path("network.keras"))
    assert scales_of(network) == card.scales
    assert network.count_params() == card.facts["parameters"]
    for figure in ("data", "command", "seconds", "machine"):
        assert card.facts["training"][figure]
    assert card.facts["licence"]


@pytest.mark.parametrize("card", weights.available(), ids=lambda card: card.id)
def test_no_layer_of_a_shipped_network_is_dead(card):
    network = load_keras_file(card.path("network.keras"))
    pictures = np.stack([data.astronaut()[:128, 160:288], data.coffee()[100:228, 200:328]])
    dead = dead_units(network, [pictures.astype(np.float32) / 255])
    assert all(2 * count < channels for count, channels in dead.values()), dead


@pytest.mark.parametrize("name", ["champion", "champion:photos", "my/network.keras"])
def test_a_champion_or_a_file_is_no_name_and_the_error_says_where_they_open(name):
    with pytest.raises(ProjectError, match=rf"Upscaler\('{name}'\).*load_keras_file"):
        weights.load_network(name, scale=2)
