import base64
import io
import json
import os
import socket
import tarfile
import zipfile

import numpy as np
import pytest

from isr_pipeline.sources.collection import SourceError
from isr_pipeline.sources.kaggle import HANDLE, ensure_data_set
from isr_pipeline.sources.kaggle_layout import CSV_NAME, FOLDER
from sources.kaggle_stand_in import STORAGE, StandIn

MEBIBYTE = 1 << 20
FILES = {
    f"{FOLDER}/{CSV_NAME}": b"low_res,high_res\r\n1_2.jpg,1.jpg\r\n",
    f"{FOLDER}/high res/1.jpg": np.random.default_rng(0).bytes(3 * MEBIBYTE),
    f"{FOLDER}/low res/1_2.jpg": b"partner",
}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files, links):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home directory: no credentials, no cache, no way to a real host."""
    for name in list(os.environ):
        if name.startswith(("KAGGLE", "COLAB")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / ".kaggle").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / ".kaggle"))
    point_client_at("http://127.0.0.1:9", monkeypatch)
    return home


@pytest.fixture
def credentials(home, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "secret")


@pytest.fixture
def kaggle(home, credentials, monkeypatch):
    with StandIn(zipped(FILES)) as stand_in:
        point_client_at(stand_in.url, monkeypatch)
        yield stand_in


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "kaggle"


def point_client_at(url, monkeypatch):
    """Let every environment that the client knows be this machine."""
    from kagglesdk import kaggle_env

    # Not TEST: there the client prints whole answers and so takes archives into memory first.
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    for environment in kaggle_env.KaggleEnv:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, environment, url)


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_whole_download_lands_in_the_folder_and_nothing_else_stays(kaggle, folder):
    assert ensure_data_set(folder) is True
    assert contents(folder) == FILES
    assert [path.name for path in folder.iterdir()] == [FOLDER]
    assert [path for _, path, *_ in kaggle.requests] == [
        "/api/v1/datasets.DatasetApiService/GetDataset",
        "/api/v1/datasets.DatasetApiService/DownloadDataset",
        STORAGE,
    ]


def test_a_second_call_asks_nobody(kaggle, folder):
    ensure_data_set(folder)
    kaggle.requests.clear()
    assert ensure_data_set(folder) is False
    assert kaggle.requests == []


def test_a_data_set_put_there_by_hand_needs_neither_credentials_nor_network(folder):
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / CSV_NAME).write_bytes(b"mine")
    assert ensure_data_set(folder) is False


def test_an_archive_without_the_outer_folder_lands_in_the_same_place(kaggle, folder):
    kaggle.archive = zipped({name.removeprefix(f"{FOLDER}/"): x for name, x in FILES.items()})
    assert ensure_data_set(folder) is True
    assert contents(folder) == FILES


def partial_download(folder):
    (path,) = (folder / ".download").rglob("*.archive")
    return path


def test_an_interrupted_download_goes_on_where_it_stopped(kaggle, folder):
    kaggle.break_at = int(2.5 * MEBIBYTE)
    with pytest.raises(SourceError, match="run the same command to go on"):
        ensure_data_set(folder)
    assert not (folder / FOLDER).exists()
    so_far = partial_download(folder).read_bytes()
    assert len(so_far) >= MEBIBYTE
    assert kaggle.archive.startswith(so_far)

    kaggle.break_at = None
    assert ensure_data_set(folder) is True
    assert kaggle.ranges() == [f"bytes={len(so_far)}-"]
    assert contents(folder) == FILES


def test_a_download_that_breaks_again_and_again_still_completes(kaggle, folder):
    sizes = []
    for kaggle.break_at in (int(1.2 * MEBIBYTE), int(2.4 * MEBIBYTE)):
        with pytest.raises(SourceError):
            ensure_data_set(folder)
        sizes.append(partial_download(folder).stat().st_size)
    assert 0 < sizes[0] < sizes[1]
    kaggle.break_at = None
    assert ensure_data_set(folder) is True
    assert kaggle.ranges() == [f"bytes={size}-" for size in sizes]
    assert contents(folder) == FILES


def test_a_wrong_checksum_is_refused_and_the_archive_fetched_anew(kaggle, folder):
    kaggle.checksum = base64.b64encode(bytes(16)).decode()
    with pytest.raises(SourceError, match=r"download of .* failed"):
        ensure_data_set(folder)
    assert contents(folder) == {}
    kaggle.checksum = None
    assert ensure_data_set(folder) is True
    assert kaggle.ranges() == []
    assert contents(folder) == FILES


def test_a_partial_download_that_was_damaged_is_noticed_and_fetched_anew(kaggle, folder):
    kaggle.break_at = int(2.5 * MEBIBYTE)
    with pytest.raises(SourceError):
        ensure_data_set(folder)
    kaggle.break_at = None
    damaged = partial_download(folder)
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with pytest.raises(SourceError, match="failed"):
        ensure_data_set(folder)
    assert not (folder / FOLDER).exists()
    assert ensure_data_set(folder) is True
    assert contents(folder) == FILES


def test_entries_that_climb_out_of_the_archive_write_nothing_outside(kaggle, folder, tmp_path):
    climbing = [f"{'../' * steps}evil" for steps in range(1, 9)]
    climbing += [f"{tmp_path}/evil", "..\\evil", f"{FOLDER}/high res/../../../evil"]
    kaggle.archive = zipped(FILES | dict.fromkeys(climbing, b"evil"))
    assert ensure_data_set(folder) is True
    assert FILES.items() <= contents(folder).items()
    outside = [path for path in tmp_path.rglob("*evil*") if folder / FOLDER not in path.parents]
    assert outside == []


@pytest.mark.parametrize(
    ("target", "reason"),
    [("../../secret", "points outside the data set's folder"), ("../../../../secret", "failed")],
    ids=["within the archive", "out of the archive"],
)
def test_links_that_leave_the_data_set_are_refused(kaggle, folder, target, reason):
    files = {**FILES, "secret": b"secret"}
    kaggle.archive = tarred(files, {f"{FOLDER}/high res/2.jpg": target})
    with pytest.raises(SourceError, match=reason):
        ensure_data_set(folder)
    assert not (folder / FOLDER).exists()


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (zipped({"something/else.txt": b""}), "holds no image_data.csv"),
        (b"<html>please sign in</html>", "Unsupported archive type"),
    ],
)
def test_something_else_than_the_data_set_is_refused(kaggle, folder, archive, reason):
    kaggle.archive = archive
    with pytest.raises(SourceError, match=reason) as caught:
        ensure_data_set(folder)
    assert str(folder / FOLDER / CSV_NAME) in str(caught.value)
    assert not (folder / FOLDER).exists()


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusing_server_is_a_source_error_in_one_line(kaggle, folder, status):
    kaggle.failure = status
    with pytest.raises(SourceError, match=str(status)) as caught:
        ensure_data_set(folder)
    assert "\n" not in str(caught.value)
    assert HANDLE in str(caught.value)


def test_without_a_server_it_says_what_to_fetch_and_where_to_put_it(
    credentials, folder, monkeypatch
):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        point_client_at(f"http://127.0.0.1:{unused.getsockname()[1]}", monkeypatch)
        with pytest.raises(SourceError) as caught:
            ensure_data_set(folder)
    message = str(caught.value)
    assert HANDLE in message
    assert str(folder / FOLDER / CSV_NAME) in message
    assert "\n" not in message


def test_without_credentials_it_says_what_to_set_what_to_fetch_and_where_to_put_it(
    kaggle, folder, monkeypatch
):
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(SourceError) as caught:
        ensure_data_set(folder)
    message = str(caught.value)
    for part in ("KAGGLE_USERNAME", "KAGGLE_KEY", HANDLE, str(folder / FOLDER / CSV_NAME)):
        assert part in message
    assert "\n" not in message
    assert kaggle.requests == []


BASIC = "Basic " + base64.b64encode(b"somebody:secret").decode()


@pytest.mark.parametrize(
    ("variables", "file", "authorization"),
    [
        ({"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "secret"}, None, BASIC),
        ({}, json.dumps({"username": "somebody", "key": "secret"}), BASIC),
        ({"KAGGLE_API_TOKEN": "token"}, None, "Bearer token"),
    ],
    ids=["variables", "kaggle.json", "token"],
)
def test_each_kind_of_credentials_is_sent_to_kaggle(
    kaggle, folder, home, monkeypatch, variables, file, authorization
):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if file:
        (home / ".kaggle" / "kaggle.json").write_text(file)
    assert ensure_data_set(folder) is True
    sent = [header for method, _, header, _ in kaggle.requests if method == "POST"]
    assert sent == [authorization] * 2


@pytest.mark.parametrize("content", ["{", "{}", '{"username": "somebody"}'])
def test_a_broken_credentials_file_is_a_source_error(folder, home, content):
    (home / ".kaggle" / "kaggle.json").write_text(content)
    with pytest.raises(SourceError, match="kaggle"):
        ensure_data_set(folder)


@pytest.mark.parametrize("former", [None, "/somewhere/else"])
@pytest.mark.parametrize("failure", [None, 500])
def test_the_callers_own_kaggle_cache_setting_stays(kaggle, folder, monkeypatch, former, failure):
    if former:
        monkeypatch.setenv("KAGGLEHUB_CACHE", former)
    kaggle.failure = failure
    if failure:
        with pytest.raises(SourceError):
            ensure_data_set(folder)
    else:
        ensure_data_set(folder)
    assert os.environ.get("KAGGLEHUB_CACHE") == former


def test_an_incomplete_data_set_in_the_way_is_named_and_kept(kaggle, folder):
    (folder / FOLDER / "high res").mkdir(parents=True)
    (folder / FOLDER / "high res" / "1.jpg").write_bytes(b"mine")
    with pytest.raises(SourceError, match=FOLDER):
        ensure_data_set(folder)
    assert (folder / FOLDER / "high res" / "1.jpg").read_bytes() == b"mine"


def test_another_data_set_of_the_same_layout_can_be_named(kaggle, folder):
    kaggle.failure = 404
    with pytest.raises(SourceError, match="somebody/pictures"):
        ensure_data_set(folder, "somebody/pictures")
