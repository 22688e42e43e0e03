import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from isr_pipeline.storage.atomic import (
    MANIFEST,
    digest,
    only_one,
    read_manifest,
    recover_folder,
    replace_file,
    replace_folder,
    write_once,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def in_another_process(code, hash_seed="0"):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", f"from isr_pipeline.storage.atomic import *\n{code}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_file_appears_with_what_was_written(tmp_path):
    target = tmp_path / "new" / "folder" / "table.parquet"
    with replace_file(target) as partial:
        assert partial.parent == target.parent
        assert partial.suffix == ".parquet"
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["table.parquet"]


def test_the_former_file_is_seen_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("former")
    with replace_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "former"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("former", [None, "former"])
def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path, former, error):
    target = tmp_path / "a.txt"
    if former:
        target.write_text(former)
    with pytest.raises(error), replace_file(target) as partial:
        partial.write_text("half")
        raise error
    assert names(tmp_path) == (["a.txt"] if former else [])
    assert not former or target.read_text() == former


def test_a_block_that_writes_no_file_fails_and_keeps_the_former(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("former")
    with pytest.raises(FileNotFoundError), replace_file(target):
        pass
    assert target.read_text() == "former"


def test_a_killed_writer_of_a_file_leaves_nothing_that_lasts(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("former")
    code = f"""
with replace_file(Path({str(target)!r})) as partial:
    partial.write_text('half')
    import os; os._exit(9)
"""
    assert in_another_process(code).returncode == 9
    assert target.read_text() == "former"
    with replace_file(target) as partial:
        partial.write_text("new")
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    target = tmp_path / "best.weights.h5"
    with replace_file(target) as one:
        one.write_text("one, long")
        with replace_file(target) as other:
            assert other != one
            assert other.name.endswith(".weights.h5")
            other.write_text("other")
        assert target.read_text() == "other"
    assert target.read_text() == "one, long"
    assert names(tmp_path) == ["best.weights.h5"]


def test_a_name_as_long_as_names_may_be_has_room(tmp_path):
    target = tmp_path / ("n" * 251 + ".png")
    with replace_file(target) as partial:
        assert partial.suffix == ".png"
        partial.write_text("whole")
    assert names(tmp_path) == [target.name]


def test_temporary_files_of_living_and_of_other_machines_processes_stay(tmp_path):
    with replace_file(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
        living = tmp_path / "living" / partial.name
        dead = living.with_name(partial.name.replace(f".{os.getpid()}.", f".{2**22 + 1}."))
        foreign = living.with_name(dead.name.replace(dead.name.split(".")[2], "0" * 8))
    assert len({living, dead, foreign}) == 3
    living.parent.mkdir()
    for path in (living, dead, foreign):
        path.touch()
    with replace_file(living.parent / "b.txt") as partial:
        partial.write_text("whole")
    assert names(living.parent) == sorted([living.name, foreign.name, "b.txt"])


def test_a_folder_appears_with_what_was_written(tmp_path):
    target = tmp_path / "new" / "store"
    with replace_folder(target) as partial:
        assert list(partial.iterdir()) == []
        (partial / "a").write_text("whole")
        assert not target.exists()
    assert (target / "a").read_text() == "whole"
    assert names(target.parent) == ["store"]


def test_a_folder_replaces_the_former_one_completely(tmp_path):
    target = tmp_path / "store"
    for number in (1, 2):
        with replace_folder(target) as partial:
            assert list(partial.iterdir()) == []
            (partial / f"{number}").touch()
            assert number == 1 or names(target) == ["1"]
    assert names(target) == ["2"]
    assert names(tmp_path) == ["store"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("former", [None, "former"])
def test_a_folder_whose_writing_fails_stays_as_it_was(tmp_path, former, error):
    target = tmp_path / "store"
    if former:
        target.mkdir()
        (target / "a").write_text(former)
    with pytest.raises(error), replace_folder(target) as partial:
        (partial / "b").write_text("half")
        raise error
    assert names(tmp_path) == (["store"] if former else [])
    assert not former or names(target) == ["a"]


def test_a_killed_writer_of_a_folder_leaves_nothing_that_lasts(tmp_path):
    target = tmp_path / "store"
    with replace_folder(target) as partial:
        (partial / "former").touch()
    code = f"""
with replace_folder(Path({str(target)!r})) as partial:
    (partial / 'half').write_text('half')
    import os; os._exit(9)
"""
    assert in_another_process(code).returncode == 9
    assert names(target) == ["former"]
    with replace_folder(target) as partial:
        assert list(partial.iterdir()) == []
        (partial / "new").touch()
    assert names(target) == ["new"]
    assert names(tmp_path) == ["store"]


def test_two_writers_of_one_folder_do_not_meet(tmp_path):
    target = tmp_path / "store"
    with replace_folder(target) as one:
        (one / "pixels").write_text("one, long")
        with replace_folder(target) as other:
            assert other != one
            (other / "pixels").write_text("other")
            (other / "index").write_text("other")
        assert names(target) == ["index", "pixels"]
        assert (one / "pixels").read_text() == "one, long"
    assert names(target) == ["pixels"]
    assert (target / "pixels").read_text() == "one, long"
    assert names(tmp_path) == ["store"]


WRITE_AGAIN_AND_AGAIN = """
for number in range(200):
    with replace_folder(Path({!r})) as partial:
        for name in 'ab':
            (partial / name).write_text(f'{{os.getpid()}} {{number}}')
"""


def test_many_writers_and_readers_at_one_time_see_whole_folders(tmp_path):
    target = tmp_path / "store"
    code = WRITE_AGAIN_AND_AGAIN.format(str(target))
    command = [sys.executable, "-c", f"from isr_pipeline.storage.atomic import *\n{code}"]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    while any(writer.poll() is None for writer in writers):
        recover_folder(target)  # as a reader that comes between two renames
    assert [(writer.returncode, writer.stderr.read()) for writer in writers] == [(0, "")] * 3
    assert names(tmp_path) == ["store"]
    assert names(target) == ["a", "b"]
    assert (target / "a").read_text() == (target / "b").read_text()
    assert (target / "a").read_text().endswith(" 199")


def test_folders_of_living_and_of_other_machines_processes_stay(tmp_path):
    with replace_folder(tmp_path / "first") as partial:
        living = tmp_path / "here" / partial.name
        dead = living.with_name(partial.name.replace(f".{os.getpid()}.", f".{2**22 + 1}."))
        foreign = living.with_name(dead.name.replace(dead.name.split(".")[2], "0" * 8))
        forgotten = foreign.with_name(foreign.name + " long ago")
    for path in (living, dead, foreign, forgotten):
        path.mkdir(parents=True)
        (path / "half").touch()
    os.utime(forgotten, (0, 0))
    with replace_folder(tmp_path / "here" / "store"):
        pass
    assert names(tmp_path / "here") == sorted([living.name, foreign.name, "store"])


def test_what_an_earlier_process_of_the_same_number_left_is_cleared_away(tmp_path):
    with replace_folder(tmp_path / "store") as partial:
        left = partial.with_name(f"{partial.name} long ago")
    left.mkdir()
    os.utime(left, (0, 0))
    with replace_folder(tmp_path / "store"):
        pass
    assert names(tmp_path) == ["store"]


def test_a_former_folder_that_is_being_deleted_does_not_come_back(tmp_path):
    target = tmp_path / "store"
    target.mkdir()
    (target / "former").touch()
    code = f"""
import os, shutil
def die(path, ignore_errors=False):
    os._exit(9)
shutil.rmtree = die
with replace_folder(Path({str(target)!r})) as partial:
    (partial / 'new').touch()
"""
    assert in_another_process(code).returncode == 9
    (target / "new").unlink()
    target.rmdir()
    recover_folder(target)
    assert not target.exists()


def test_another_folders_former_content_is_not_swept_away(tmp_path):
    target = tmp_path / "store"
    target.mkdir()
    (target / "former").touch()
    assert in_another_process(KILLED_BETWEEN_RENAMES.format(str(target))).returncode == 9
    assert not target.exists()
    with replace_folder(tmp_path / "other"):
        pass
    assert names(target) == ["former"]
    assert names(tmp_path) == ["other", "store"]


def test_the_former_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path):
    target = tmp_path / "store"
    target.mkdir()
    (target / "a").write_text("former")
    with pytest.raises(OSError), replace_folder(target) as partial:
        partial.rmdir()
    assert (target / "a").read_text() == "former"


KILLED_BETWEEN_RENAMES = """
import os
rename = Path.replace
def rename_once_and_die(self, to):
    rename(self, to)
    os._exit(9)
Path.replace = rename_once_and_die
with replace_folder(Path({!r})) as partial:
    (partial / 'new').touch()
"""


def test_a_writer_killed_while_changing_folders_does_not_cost_the_former_one(tmp_path):
    target = tmp_path / "store"
    target.mkdir()
    (target / "former").touch()
    assert in_another_process(KILLED_BETWEEN_RENAMES.format(str(target))).returncode == 9
    with pytest.raises(RuntimeError), replace_folder(target):
        raise RuntimeError
    assert names(target) in (["former"], ["new"])
    assert names(tmp_path) == ["store"]


def test_work_whose_replacement_was_killed_while_changing_folders_is_still_done(tmp_path):
    write_once(tmp_path / "store", "work", count_up([]))
    code = KILLED_BETWEEN_RENAMES.format(str(tmp_path / "store"))
    assert in_another_process(code).returncode == 9
    assert write_once(tmp_path / "store", "work", count_up([])) is None
    assert (tmp_path / "store" / "result").read_text() == "1"


def test_a_folder_behind_a_link_is_replaced_again_and_again(tmp_path):
    (tmp_path / "other disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "other disk")
    for number in (1, 2, 3):
        with replace_folder(tmp_path / "store") as partial:
            (partial / f"{number}").touch()
        assert names(tmp_path / "store") == [f"{number}"]


def test_a_digest_is_the_sha_256_of_compact_sorted_json():
    expected = hashlib.sha256(b'["a",{"b":[1,2.5],"c":null}]').hexdigest()
    assert digest("a", {"c": None, "b": (1, 2.5)}) == expected


def test_a_digest_does_not_depend_on_the_order_of_keys_at_any_depth():
    one = {"x": {"a": 1, "b": [{"c": 2, "d": 3}]}, "y": True}
    other = {"y": True, "x": {"b": [{"d": 3, "c": 2}], "a": 1}}
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("b", "a")),
        (("ab",), ("a", "b")),
        (("1",), (1,)),
        ((1,), (1.5,)),
        ((None,), ("None",)),
        ((["a"], "b"), (["a", "b"],)),
        (({"a": 1},), ({"a": 2},)),
        ((), (None,)),
    ],
)
def test_different_content_has_different_digests(one, other):
    assert digest(*one) != digest(*other)


def test_a_path_is_digested_as_its_text():
    assert digest(Path("a/b")) == digest("a/b")


def test_a_digest_is_the_same_in_any_process():
    code = "print(digest({'b': [1, 2.5, None], 'a': 'ü'}, ('x', True)))"
    here = digest({"a": "ü", "b": [1, 2.5, None]}, ("x", True))
    for seed in ("1", "2"):
        assert in_another_process(code, seed).stdout.strip() == here


@pytest.mark.parametrize(
    "part",
    [{"c", "a"}, np.zeros(5000), object(), b"bytes"],
    ids=["set", "array", "object", "bytes"],
)
def test_what_has_no_json_is_refused_at_any_depth(part):
    with pytest.raises(TypeError, match=type(part).__name__):
        digest("a", {"b": [part]})


def count_up(counter):
    def write(partial):
        counter.append(partial)
        (partial / "result").write_text(f"{len(counter)}")
        return {"runs": len(counter)}

    return write


def manifest_of(runs):
    return {"digest": "work", "runs": runs, "files": {"result": 1}}


def test_work_is_done_once(tmp_path):
    done = []
    manifest = write_once(tmp_path / "store", "digest-1", count_up(done))
    assert manifest == {"digest": "digest-1", "runs": 1, "files": {"result": 1}}
    assert read_manifest(tmp_path / "store") == manifest
    assert write_once(tmp_path / "store", "digest-1", count_up(done)) is None
    assert len(done) == 1
    assert (tmp_path / "store" / "result").read_text() == "1"


def test_work_is_done_again_when_its_digest_changes(tmp_path):
    done = []
    for work in ("one", "two", "one"):
        assert write_once(tmp_path / "store", work, count_up(done))["digest"] == work
    assert len(done) == 3
    assert (tmp_path / "store" / "result").read_text() == "3"


@pytest.mark.parametrize(
    "manifest",
    [None, b"", b'{"digest": "wo', b"\0\0\0\0", b"null", b"{}", b"[]", b"\xff\xfe\x80"],
)
def test_work_is_done_again_when_its_manifest_is_missing_or_damaged(tmp_path, manifest):
    done = []
    write_once(tmp_path / "store", "work", count_up(done))
    (tmp_path / "store" / MANIFEST).unlink()
    if manifest is not None:
        (tmp_path / "store" / MANIFEST).write_bytes(manifest)
    assert write_once(tmp_path / "store", "work", count_up(done)) == manifest_of(2)
    assert len(done) == 2


def cut(store):
    (store / "result").write_bytes(b"")


def lose(store):
    (store / "result").unlink()


@pytest.mark.parametrize("harm", [cut, lose])
def test_work_is_done_again_when_its_files_are_not_those_that_were_written(tmp_path, harm):
    write_once(tmp_path / "store", "work", count_up([]))
    harm(tmp_path / "store")
    assert read_manifest(tmp_path / "store") is None
    assert write_once(tmp_path / "store", "work", count_up([])) == manifest_of(1)
    assert read_manifest(tmp_path / "store") == manifest_of(1)


def test_what_others_put_beside_it_is_no_harm(tmp_path):
    write_once(tmp_path / "store", "work", count_up([]))
    (tmp_path / "store" / ".DS_Store").touch()
    assert write_once(tmp_path / "store", "work", count_up([])) is None


def test_a_failing_work_keeps_the_former_result_and_is_tried_again(tmp_path):
    def fail(partial):
        (partial / "result").write_text("half")
        raise RuntimeError("disk full")

    done = []
    write_once(tmp_path / "store", "one", count_up(done))
    with pytest.raises(RuntimeError, match="disk full"):
        write_once(tmp_path / "store", "two", fail)
    assert (tmp_path / "store" / "result").read_text() == "1"
    assert read_manifest(tmp_path / "store")["digest"] == "one"
    assert write_once(tmp_path / "store", "two", count_up(done))["runs"] == 2
    assert names(tmp_path) == ["store"]


def test_work_in_a_killed_process_is_not_taken_for_done(tmp_path):
    code = f"""
def write(partial):
    (partial / 'result').write_text('half')
    import os; os._exit(9)
write_once(Path({str(tmp_path / "store")!r}), 'work', write)
"""
    assert in_another_process(code).returncode == 9
    assert read_manifest(tmp_path / "store") is None
    assert write_once(tmp_path / "store", "work", count_up([])) == manifest_of(1)
    assert names(tmp_path) == ["store"]


def test_the_manifest_is_readable_text(tmp_path):
    write_once(tmp_path / "store", "work", count_up([]))
    text = (tmp_path / "store" / MANIFEST).read_text()
    assert json.loads(text) == manifest_of(1)
    assert text.splitlines()[1] == '  "digest": "work",'


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_no_folder_has_no_manifest(tmp_path, place):
    (tmp_path / "file").touch()
    assert read_manifest(tmp_path / place) is None


def test_whoever_waits_for_a_lock_enters_when_it_is_free(tmp_path):
    lock, entered = tmp_path / "lock", threading.Event()

    def wait():
        with only_one(lock, wait=True) as owner:
            assert owner is None
            entered.set()

    with only_one(lock), only_one(lock) as owner:
        assert owner == os.getpid()
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(0.2)
    assert entered.wait(30)
    waiting.join()
    assert not lock.exists()
