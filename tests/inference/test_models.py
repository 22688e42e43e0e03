import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from inference.doubles import write_card, write_champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.models import champion_of, choose, project_folder, table


def test_without_anything_the_error_says_what_to_do(no_weights):
    with pytest.raises(ProjectError, match=r"no shipped weights for realistic.*kedro run"):
        choose(None, 2, "realistic", no_weights.working)


def test_shipped_weights_are_taken_by_scale_and_degradation(no_weights):
    write_card(no_weights.shipped, "subpixel-small", "realistic", [2])
    write_card(no_weights.shipped, "subpixel-small", "bicubic", [2])
    for degradation in ("realistic", "bicubic"):
        source = choose(None, 2, degradation, no_weights.working)
        assert (source.model.name, source.model.degradation) == ("subpixel-small", degradation)
        assert degradation in source.description
    assert choose("subpixel-small", 2, "bicubic", no_weights.working).degradation == "bicubic"
    write_card(no_weights.shipped, "subpixel-medium", "bicubic", [2])
    for model, meant in ((None, "realistic"), ("subpixel-medium", "bicubic")):
        assert choose(model, 2, None, no_weights.working).degradation == meant
    with pytest.raises(ProjectError, match="scale 3"):
        choose("subpixel-small", 3, "bicubic", no_weights.working)


def test_a_champion_goes_first_where_it_was_trained_for_this(no_weights):
    write_card(no_weights.shipped, "subpixel-small", "realistic", [2, 4])
    place = write_champion(no_weights.working, "photos", "realistic", [2])
    assert choose(None, 2, "realistic", no_weights.working).model == place / "network.keras"
    assert choose(None, 4, "realistic", no_weights.working).model.name == "subpixel-small"


def test_shipped_weights_that_were_better_on_its_test_pictures_go_before_a_champion(no_weights):
    write_card(no_weights.shipped, "subpixel-small", "bicubic", [2, 4])
    shipped = {
        "x2": {"model": "subpixel-small", "psnr_rgb": 33.5},
        "x4": {"model": "subpixel-small", "psnr_rgb": 33.0},
        "x3": {"model": "subpixel-small", "psnr_rgb": 99.0},  # of which there is none any more
    }
    scales, folder = [2, 3, 4], no_weights.working
    place = write_champion(folder, "photos", "bicubic", scales, shipped=shipped)
    better = choose(None, 2, "bicubic", folder)
    assert better.model.name == "subpixel-small"
    assert "photos 33.50 dB, its champion 32.00 dB: --model champion" in better.description
    for scale, model in ((3, None), (4, None), (2, "champion")):
        assert choose(model, scale, "bicubic", folder).model == place / "network.keras"
    odd = {"x2": {"model": "another", "psnr_rgb": 99.0}, "x4": 3}
    record = json.loads((place / "record.json").read_text())
    (place / "record.json").write_text(json.dumps({**record, "shipped": odd}))
    for scale in scales:
        assert choose(None, scale, "bicubic", folder).model == place / "network.keras"


def test_a_champion_for_another_degradation_comes_after_shipped_weights(no_weights):
    place = write_champion(no_weights.working, "sample", "bicubic", [2])
    chosen = choose(None, 2, "realistic", no_weights.working)  # nothing is shipped
    assert chosen.model == place / "network.keras"
    assert "champion of sample for bicubic pictures" in chosen.description
    write_card(no_weights.shipped, "autoencoder", "realistic", [2])
    assert choose(None, 2, "realistic", no_weights.working).model.name == "autoencoder"
    assert choose("champion", 2, None, no_weights.working).model == place / "network.keras"
    with pytest.raises(ProjectError, match="is for bicubic pictures, not for realistic ones"):
        choose("champion", 2, "realistic", no_weights.working)
    with pytest.raises(ProjectError, match=r"for scale 6: there are champion:sample \(x2\)"):
        choose("champion", 6, "realistic", no_weights.working)
    with pytest.raises(ProjectError, match=r"no champion:photo: there are champion:sample \(x2\)"):
        choose("champion:photo", 2, None, no_weights.working)
    with pytest.raises(ProjectError, match="after kedro run"):
        choose("champion", 2, None, no_weights.shipped)


def test_a_champion_that_interpolation_beats_is_taken_when_it_is_named_alone(no_weights):
    folder = no_weights.working
    place = write_champion(folder, "photos", "realistic", [2, 5], bicubic={"x2": 20.0, "x5": 60.0})
    assert choose(None, 2, None, folder).model == place / "network.keras"
    with pytest.raises(ProjectError, match=r"champion:photos is no better than bicubic"):
        choose(None, 5, None, folder)
    assert choose("champion:photos", 5, None, folder).model == place / "network.keras"
    better = write_champion(folder, "older", "realistic", [5], bicubic={"x5": 20.0}) / "record.json"
    os.utime(better, (better.stat().st_mtime - 60,) * 2)
    assert choose(None, 5, None, folder).environment == "older"


def test_the_last_champion_is_meant_and_half_a_one_is_none(no_weights):
    for age, source in ((100, "older"), (0, "newer")):
        place = write_champion(no_weights.working, source, "bicubic", [2])
        time = place.stat().st_mtime - age
        os.utime(place / "record.json", (time, time))
    for day, source in ((2, "crowned"), (1, "lately written")):
        write_champion(no_weights.working, source, "realistic", [2], crowned=f"2026-01-0{day}")
    assert choose("champion", 2, "realistic", no_weights.working).environment == "crowned"
    (no_weights.working / "data/06_models/half/champion").mkdir(parents=True)
    (no_weights.working / "data/06_models/half/champion/record.json").write_text("{")
    assert "newer" in choose("champion", 2, "bicubic", no_weights.working).description


def test_of_several_champions_the_last_one_that_suits_is_meant(no_weights):
    def crowned(name, degradation, scales, age):
        place = write_champion(no_weights.working, name, degradation, scales)
        time = place.stat().st_mtime - age
        os.utime(place / "record.json", (time, time))
        return place / "network.keras"

    real = crowned("real", "realistic", [2, 4], 30)
    older = crowned("older", "unsplash", [2, 6], 20)
    newer = crowned("newer", "unsplash", [2, 4], 10)
    crowned("report", "report", [2, 4, 6], 0)  # takes pictures that were enlarged before
    folder = no_weights.working
    assert choose(None, 2, "bicubic", folder).model == newer
    for wanted in (None, "champion"):
        assert choose(wanted, 2, "realistic", folder).model == real
        assert choose(wanted, 2, "unsplash", folder).model == newer
        assert choose(wanted, 6, "unsplash", folder).model == older
    with pytest.raises(ProjectError, match="no champion is for scale 3"):
        choose("champion", 3, "unsplash", folder)
    assert [row[:3] for row in table(folder)[1:]] == [
        ("champion:newer", "x2 x4", "unsplash"),
        ("champion:older", "x6", "unsplash"),
        ("champion:real", "x2 x4", "realistic"),
    ]
    assert choose("champion:older", 2, "unsplash", folder).model == older
    assert champion_of(folder, "older").model == older
    assert champion_of(folder, "report") is None
    with pytest.raises(ProjectError, match="champion:older is for x2 x6"):
        choose("champion:older", 4, None, folder)


@pytest.mark.parametrize(
    "damage",
    [{"psnr_rgb": {"x2": None}}, {"psnr_rgb": {"two": 30}}, {"psnr_rgb": 3}, {"network": None}],
)
def test_a_champion_of_odd_content_or_without_network_is_none(no_weights, damage):
    folder = no_weights.working
    whole = write_champion(folder, "whole", "bicubic", [2])
    record = json.loads((whole / "record.json").read_text())
    odd = write_champion(folder, "odd", "bicubic", [2])
    if damage == {"network": None}:
        (odd / "network.keras").unlink()
    else:
        (odd / "record.json").write_text(json.dumps({**record, **damage}))
    (whole / "record.json").write_text(json.dumps({**record, "parameters": "many"}))
    assert choose("champion", 2, "bicubic", folder).model == whole / "network.keras"
    assert [row[:4] for row in table(folder)[1:]] == [("champion:whole", "x2", "bicubic", "")]


def test_a_file_or_a_champions_folder_can_be_named(no_weights):
    place = write_champion(no_weights.working, "photos", "bicubic", [2])
    for name in (place, place / "network.keras"):
        assert choose(name, 2, "bicubic", no_weights.working).model == place / "network.keras"
    with pytest.raises(ProjectError, match=r"there is no network nothing\.keras"):
        choose("nothing.keras", 2, "bicubic", no_weights.working)


def test_a_folder_does_not_hide_the_weights_of_its_name(no_weights):
    write_card(no_weights.shipped, "subpixel-small", "realistic", [2])
    folder = no_weights.working / "subpixel-small"
    folder.mkdir()
    assert choose("subpixel-small", 2, None, no_weights.working).model.name == "subpixel-small"
    with pytest.raises(ProjectError, match=r"there is no network .*subpixel-small/network\.keras"):
        choose(folder, 2, None, no_weights.working)


def test_the_table_has_champion_and_shipped_weights(no_weights):
    scores = [{"set": "Set5", "scale": 2, "psnr_y": 37.512}]
    write_card(no_weights.shipped, "subpixel-small", "bicubic", [2], scores=scores)
    write_champion(no_weights.working, "photos", "unsplash", [2, 4])
    assert table(no_weights.working)[1:] == [
        (
            "champion:photos",
            "x2 x4",
            "unsplash",
            "777",
            "test x2 32.00 dB RGB, test x4 34.00 dB RGB",
        ),
        ("subpixel-small", "x2", "bicubic", "12,345", "Set5 x2 37.51 dB"),
    ]


def test_champions_are_found_from_a_folder_within_the_project(no_weights, monkeypatch):
    project = no_weights.working
    below = project / "notebooks" / "deeper"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert project_folder() == below  # nothing was ever trained
    write_champion(project, "photos", "realistic", [2])
    assert project_folder() == project
    theirs = write_champion(below, "photos", "realistic", [2]).parents[3]
    assert project_folder() == theirs == below


def test_champions_above_that_belong_to_somebody_else_are_not_taken(no_weights, monkeypatch):
    below = no_weights.working / "notebooks"
    below.mkdir()
    write_champion(no_weights.working, "photos", "realistic", [2])
    monkeypatch.chdir(below)
    stat = Path.stat

    def owned(path, **options):
        found = stat(path, **options)
        changes = {"st_uid": found.st_uid + (path == no_weights.working)}
        return SimpleNamespace(
            **{**{k: getattr(found, k) for k in ("st_mode", "st_uid")}, **changes}
        )

    monkeypatch.setattr(Path, "stat", owned)
    assert project_folder() == below


def test_a_working_folder_that_was_deleted_has_no_champions(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert project_folder() == Path()
    assert choose("subpixel-small", 2, "bicubic", project_folder()).model.name == "subpixel-small"
