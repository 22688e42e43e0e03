import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from isr_pipeline import weights
from isr_pipeline.datasets.weights import WeightSetDataset, check_can_ship
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference import engines
from isr_pipeline.networks import at_scale, build_network
from isr_pipeline.pipelines.pair.parameters import PairParameters
from isr_pipeline.pipelines.ship.nodes import check_recipe, pack_weights
from isr_pipeline.pipelines.ship.parameters import ShipParameters

PARAMETERS = build_network("subpixel", [2], size="tiny", branches=False).count_params()
FACTS = {
    "network": "subpixel-tiny",
    "degradation": "bicubic",
    "parameters": PARAMETERS,
    "machine": "the machine that trained",
    "seconds": 61.7,
    "cpu_seconds": 100.2,
    "backend": "tensorflow",
    "precision": "float32",
    "epochs": 3,
}


PAIR = PairParameters(
    scales=[2],
    degradation="bicubic",
    partners="made",
    low_res="small",
    reductions=[1.0, 0.5],
    resize=None,
    agreement={"pixelated": 0, "small": 0, "correlation": -1},
)
PAIRS = pd.DataFrame(
    {"scale": 2, "degradation": "bicubic", "reduction": [1.0, 0.5, 1.0], "status": "ok"}
)


def packed(start=None, facts=FACTS, command="kedro run"):
    network = build_network("subpixel", [2], size="tiny", branches=False)
    generator = np.random.default_rng(0)
    network.set_weights([generator.normal(0, 0.1, w.shape) for w in network.get_weights()])
    ship = ShipParameters(data="these", licence="that", command=command, start=start)
    return network, pack_weights(network, facts, ["b", "a"], PAIRS, PAIR, ship)


def test_a_shipped_network_is_found_by_name_and_computes_what_was_trained(tmp_path, monkeypatch):
    network, weight_set = packed()
    picture = np.random.default_rng(1).random((1, 20, 24, 3), np.float32)
    before = np.asarray(at_scale(network, 2)(picture))
    WeightSetDataset(str(tmp_path)).save(weight_set)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    shipped = weights.load_network("subpixel-tiny", scale=2, degradation="bicubic")
    after = np.asarray(at_scale(shipped, 2)(picture))
    assert 0 < np.abs(after - before).max() < 2e-3 * np.abs(before).max()  # half precision
    path = tmp_path / "subpixel-tiny_bicubic_x2" / "network.keras"
    assert path.stat().st_size < 3.2 * network.count_params()
    training = weights.named("subpixel-tiny_bicubic_x2").facts["training"]
    assert training["machine"] == "the machine that trained"
    assert training["photographs"] == 2
    assert weights.named("subpixel-tiny_bicubic_x2").trained_on == {"a", "b"}
    assert (training["seconds"], training["cpu_seconds"]) == (62, 100)


def test_a_set_that_was_trained_further_tells_what_came_before(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    WeightSetDataset(str(tmp_path)).save(packed()[1])
    _, further = packed(start="subpixel-tiny_bicubic_x2")
    WeightSetDataset(str(tmp_path)).save(further)
    card = json.loads((tmp_path / "subpixel-tiny_bicubic_x2" / "card.json").read_text())
    former = card["training"]["started_from"]
    assert former["set"] == "subpixel-tiny_bicubic_x2"
    assert former["seconds"] == 62


def test_what_a_training_says_of_itself_stands_in_the_card(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    command = "kedro run '--params=photos=/home/me/my photos,train.epochs=3' --pipelines=a,b"
    first = {**FACTS, "command": command, "digest": "1" * 64}
    training = packed(facts=first)[1].facts["training"]
    assert training["command"] == (
        "kedro run --params=photos=<folder>,train.epochs=3 --pipelines=a,b"
    )
    own = "kedro run --params recipe=x,weights_folder=/home/me --env=weights 'a b'"
    training = packed(facts={**first, "command": own})[1].facts["training"]
    assert training["command"] == own.replace("/home/me", "<folder>")
    assert "started_from" not in training
    own = (
        "kedro run --conf-source=/home/me/conf '--params=initial_network=/home/me/my net.keras,a=b'"
    )
    training = packed(facts={**first, "command": own})[1].facts["training"]
    assert training["command"] == (
        "kedro run --conf-source=<path> --params=initial_network=<path>,a=b"
    )
    own = "subpixel-tiny_bicubic_x2"
    with pytest.raises(ProjectError, match=f"began with random weights, and ship.start is {own}"):
        packed(own, first)
    WeightSetDataset(str(tmp_path)).save(packed(facts=first)[1])
    weights._cards.cache_clear()
    further = {**first, "started_from": own, "digest": "2" * 64}
    for _ in range(2):  # shipped again, as after an interruption
        WeightSetDataset(str(tmp_path)).save(packed(facts=further)[1])
        weights._cards.cache_clear()
        training = weights.named(own).facts["training"]
        assert training["started_from"]["digest"] == "1" * 64
        assert "started_from" not in training["started_from"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": 4}, "pair.scales 4, this one's is 2"),
        ({"degradation": "realistic"}, "pair.degradation realistic, this one's is bicubic"),
        ({"reduction": 1.0}, r"pair.reductions 1.0, this one's is 0.5, 1.0"),
    ],
)
def test_pairs_of_another_recipe_are_not_shipped(changes, words):
    check_recipe(PAIRS, PAIR)
    with pytest.raises(ProjectError, match=words):
        check_recipe(PAIRS.assign(**changes), PAIR)


def test_a_network_of_another_recipe_is_not_shipped():
    with pytest.raises(ProjectError, match=r"for realistic pictures at scales \[2\], the recipe"):
        packed(facts={**FACTS, "degradation": "realistic"})


def test_what_could_not_be_shipped_is_not_trained_for_it(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ProjectError, match=r"KERAS_BACKEND is jax: .* --pipelines=ship without it"):
        check_can_ship()
    monkeypatch.delenv("KERAS_BACKEND")
    check_can_ship()
    monkeypatch.setattr(engines, "openvino_is_installed", lambda: False)
    with pytest.raises(ProjectError, match="shipping writes OpenVINO graphs: pip install"):
        check_can_ship()


def test_shipped_weights_are_loaded_by_name_not_from_the_catalog(tmp_path):
    with pytest.raises(DatasetError, match="load_network"):
        WeightSetDataset(str(tmp_path)).load()


def test_the_facts_of_an_older_training_are_refused_by_what_they_lack():
    older = {fact: value for fact, value in FACTS.items() if fact != "machine"}
    with pytest.raises(ProjectError, match=r"training_facts lacks machine: .* train it again"):
        packed(facts=older)


def test_facts_of_another_network_are_refused():
    with pytest.raises(ProjectError, match=r"777 parameters, the network has .* train again"):
        packed(facts={**FACTS, "parameters": 777})
