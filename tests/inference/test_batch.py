import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import made_photograph
from imaging.test_files import png
from inference.doubles import LocalEngine
from isr_pipeline import memory
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.decode import UnusablePictureError
from isr_pipeline.imaging.files import RESULTS, read_picture
from isr_pipeline.inference import batch as module
from isr_pipeline.inference import plan as planning
from isr_pipeline.inference.batch import read_whole, upscale_files
from isr_pipeline.inference.measure import peak_mib
from isr_pipeline.inference.plan import mark_results, plan, shown
from isr_pipeline.inference.upscaler import BYTES_A_PIXEL, BYTES_AN_OUTPUT_PIXEL, Upscaler

RGB = made_photograph(24, 36, seed=5)


def save(path, values=RGB, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def upscaler(engine=None, **options):
    return Upscaler(engine or LocalEngine(), 2, **options)


def run(inputs, output, file_format=None, **options):
    lines = []
    tasks = plan(inputs, output, file_format)
    batch = upscale_files(tasks, upscaler(), report=lines.append, **options)
    return batch, lines


def files_in(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


@pytest.fixture
def photos(tmp_path):
    """Two nested pictures, a hidden one, and a text."""
    save(tmp_path / "photos/one.jpg")
    save(tmp_path / "photos/summer/two.PNG")
    save(tmp_path / "photos/.hidden/three.jpg")
    (tmp_path / "photos/notes.txt").write_text("no picture")
    return tmp_path / "photos"


def test_names_and_structure_are_kept(photos, tmp_path):
    batch, lines = run([photos], tmp_path / "out")
    assert files_in(tmp_path / "out") == {"one.jpg", "summer/two.PNG"}
    assert (len(batch.outcomes), lines) == (2, [])
    assert Image.open(tmp_path / "out/summer/two.PNG").size == (72, 48)
    assert "2 enlarged (0.0 MP in" in batch.summary()


def test_what_is_written_is_what_the_upscaler_gives(photos, tmp_path):
    run([photos], tmp_path / "out")
    written = np.asarray(Image.open(tmp_path / "out/summer/two.PNG"))
    assert np.array_equal(written, upscaler()(RGB))


def test_an_output_folder_inside_is_not_eaten_and_results_are_kept(photos):
    output = photos / "larger"
    first, _ = run([photos], output)
    before = (output / "one.jpg").stat().st_mtime_ns
    again, _ = run([photos], output)
    assert files_in(output) == {"one.jpg", "summer/two.PNG"}
    assert [o.status for o in first.outcomes] == ["done", "done"]
    assert [o.status for o in again.outcomes] == ["kept", "kept"]
    assert (output / "one.jpg").stat().st_mtime_ns == before
    assert "2 already there" in again.summary()
    third, _ = run([photos], output, overwrite=True)
    assert [o.status for o in third.outcomes] == ["done", "done"]


def test_results_of_earlier_runs_are_not_enlarged_again(photos, tmp_path, caplog):
    for name in ("larger", "deep/larger"):
        mark_results([photos], photos / name)
        batch, _ = run([photos], photos / name)
        assert files_in(photos / name) == {RESULTS, "one.jpg", "summer/two.PNG"}
    assert f"Left out as results: {photos / 'larger'}" in caplog.text
    batch, _ = run([photos / "larger"], tmp_path / "again")  # what is named is taken
    assert len(batch.outcomes) == 2


def test_only_a_new_folder_among_the_inputs_is_marked(photos, tmp_path):
    save(photos / "mine/three.jpg")
    for output in (photos / "mine", photos, tmp_path / "elsewhere"):
        mark_results([photos, photos / "one.jpg"], output)
        assert not (output / RESULTS).exists()
    assert not (tmp_path / "elsewhere").exists()
    mark_results([photos / "one.jpg"], photos / "large.jpg")
    assert not (photos / "large.jpg").exists()
    (photos / "empty").mkdir()
    for name in ("empty", "beside"):
        mark_results([photos / "one.jpg"], photos / name)
        assert (photos / name / RESULTS).exists()


def test_the_input_folder_is_no_output_folder(photos, tmp_path):
    with pytest.raises(ProjectError, match="is an input folder"):
        plan([photos], photos)
    link = tmp_path / "link"
    link.symlink_to(photos)
    with pytest.raises(ProjectError, match="is an input folder"):
        plan([photos], link)


def test_a_picture_is_never_replaced_by_its_result(photos):
    before = (photos / "one.jpg").read_bytes()
    batch, lines = run([photos / "one.jpg"], photos, overwrite=True)
    assert "would replace the picture itself" in lines[0]
    assert len(batch.failed) == 1
    assert (photos / "one.jpg").read_bytes() == before


def test_no_picture_is_replaced_by_the_result_of_another(tmp_path):
    above, below = save(tmp_path / "a/x.png"), save(tmp_path / "a/a/x.png", 255 - RGB)
    before = above.read_bytes()
    batch, lines = run([tmp_path / "a"], tmp_path, overwrite=True)
    assert lines == [f"{below}: the result would replace {above}: name another folder (-o)"]
    assert [o.source for o in batch.failed] == [below]
    assert above.read_bytes() == before
    assert Image.open(tmp_path / "x.png").size == (72, 48)


def test_many_equal_names_take_no_time_that_grows_with_their_square(monkeypatch):
    looked_at = []
    casefold = planning._casefolded

    def counting(path):
        looked_at.append(path)
        return casefold(path)

    monkeypatch.setattr(planning, "_casefolded", counting)
    wanted = [(Path(f"{n}/photo.jpg"), Path("photo.jpg")) for n in range(500)]
    assert len(set(planning._without_collisions(wanted))) == 500
    assert len(looked_at) < 2000


def test_equal_names_do_not_collide(tmp_path):
    places = ["a/1.jpg", "b/1.jpg", "b/1.png", "c/a/1.jpg"]
    for n, place in enumerate(places):
        save(tmp_path / place, np.full((9, 9, 3), 40 * n, np.uint8))
    a, b, other_a = tmp_path / "a", tmp_path / "b", tmp_path / "c/a"
    assert [str(t.target) for t in plan([a, b, other_a], tmp_path / "out")] == [
        str(tmp_path / "out" / name) for name in ("a/1.jpg", "b/1.jpg", "b/1.png", "a_2/1.jpg")
    ]
    files = [a / "1.jpg", b / "1.jpg", other_a / "1.jpg"]
    run(files, tmp_path / "one")
    assert files_in(tmp_path / "one") == {"a/1.jpg", "a/1_2.jpg", "b/1.jpg"}
    run([b], tmp_path / "two", "PNG")
    assert files_in(tmp_path / "two") == {"1_jpg.png", "1_png.png"}
    assert len(plan([a, a / "1.jpg", a], tmp_path / "out")) == 1  # given three times


def test_one_bad_file_does_not_stop_the_others(photos, tmp_path):
    (photos / "broken.jpg").write_bytes((photos / "one.jpg").read_bytes()[:300])
    (photos / "empty.png").write_bytes(b"")
    (photos / "text.webp").write_text("hello")
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(photos / "film.gif", save_all=True, append_images=frames[1:])
    batch, lines = run([photos], tmp_path / "out")
    assert files_in(tmp_path / "out") == {"one.jpg", "summer/two.PNG"}
    reasons = {o.source.name: o.reason for o in batch.failed}
    assert "Truncated" in reasons["broken.jpg"]
    assert reasons["empty.png"] == "the file has 0 bytes"
    assert "no picture format" in reasons["text.webp"]
    assert "animated" in reasons["film.gif"]
    assert len(lines) == 4
    assert all("\n" not in line for line in lines)


def test_another_format_turns_the_picture_upright(photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(photos / "one.jpg", exif=exif)
    run([photos / "one.jpg"], tmp_path / "same")
    same = Image.open(tmp_path / "same/one.jpg")
    assert (same.size, same.getexif()[0x0112]) == ((72, 48), 6)
    run([photos / "one.jpg"], tmp_path / "other", "PNG")
    other = Image.open(tmp_path / "other/one.png")
    assert (other.size, other.getexif()[0x0112]) == ((48, 72), 1)


def test_the_name_says_the_format(photos, tmp_path):
    save(photos / "still.gif")
    plain = photos / "plain"
    plain.write_bytes((photos / "one.jpg").read_bytes())
    run([photos / "still.gif", plain], tmp_path / "out")
    assert files_in(tmp_path / "out") == {"still.png", "plain.jpg"}
    run([photos / "one.jpg"], tmp_path / "big.tiff")
    assert Image.open(tmp_path / "big.tiff").format == "TIFF"
    with pytest.raises(ProjectError, match="--format is PNG"):
        plan([photos / "one.jpg"], tmp_path / "other.tiff", "PNG")


def test_sixteen_bits_alpha_and_grey_arrive(tmp_path):
    deep = (RGB.astype(np.uint16) * 256 + 7)[..., 0]
    save(tmp_path / "in/deep.png", deep)
    save(tmp_path / "in/grey.jpg", RGB[..., 0])
    save(tmp_path / "in/alpha.webp", np.dstack([RGB, RGB[..., 0]]), lossless=True)
    run([tmp_path / "in"], tmp_path / "out")
    kinds = {
        name: read_picture((tmp_path / "out" / name).read_bytes()).samples
        for name in ("deep.png", "grey.jpg", "alpha.webp")
    }
    assert np.array_equal(kinds["deep.png"][..., 0], upscaler()(deep))
    assert kinds["grey.jpg"].shape == (48, 72, 1)
    assert kinds["alpha.webp"].shape == (48, 72, 4)


def test_links_in_a_circle_and_to_nothing_cost_a_line_each(photos, tmp_path):
    for name, aim in (("round.jpg", "round.jpg"), ("ring", "ring"), ("there.jpg", "back.jpg")):
        (photos / name).symlink_to(aim)
    (photos / "back.jpg").symlink_to("there.jpg")
    batch, lines = run([photos], tmp_path / "out")
    assert files_in(tmp_path / "out") == {"one.jpg", "summer/two.PNG"}
    assert {o.source.name for o in batch.failed} == {"round.jpg", "there.jpg", "back.jpg"}
    assert all("Too many levels of symbolic links" in line for line in lines)
    (photos / "gone.jpg").symlink_to("nothing.jpg")  # by name, as a shell expands *
    named = [photos / name for name in ("one.jpg", "gone.jpg", "round.jpg", "ring")]
    batch, lines = run(named, tmp_path / "named")
    assert files_in(tmp_path / "named") == {"one.jpg"}
    assert sorted(line.split(": ")[1] for line in lines) == [
        "No such file or directory",
        "Too many levels of symbolic links",
        "Too many levels of symbolic links",
    ]


def test_what_may_not_be_read_costs_a_line_each(as_anybody):
    photos = as_anybody / "photos"
    for name in ("one.jpg", "locked.jpg", "unlisted/a.jpg", "unentered/b.jpg"):
        save(photos / name)
    (photos / "locked.jpg").chmod(0)
    (photos / "unlisted").chmod(0)
    (photos / "unentered").chmod(0o400)
    batch, _ = run([photos], as_anybody / "out")
    assert files_in(as_anybody / "out") == {"one.jpg"}
    assert {o.source.relative_to(photos).as_posix(): o.reason for o in batch.failed} == {
        "locked.jpg": "Permission denied",
        "unlisted": "the folder cannot be read: Permission denied",
        "unentered/b.jpg": "Permission denied",
    }
    locked = plan([photos / "one.jpg"], photos / "unentered" / "x.png")
    assert "Permission denied" in upscale_files(locked, upscaler()).failed[0].reason
    with pytest.raises(ProjectError, match=r"unentered/b\.jpg: Permission denied"):
        plan([photos / "one.jpg", photos / "unentered/b.jpg"], as_anybody / "out")


def test_links_out_of_the_folder_are_refused_and_those_within_are_not(photos, tmp_path):
    secret = save(tmp_path / "elsewhere/secret.jpg")
    (photos / "out.jpg").symlink_to(secret)
    (photos / "gone.jpg").symlink_to(tmp_path / "nothing")
    (photos / "album").symlink_to(secret.parent)
    (photos / "in.jpg").symlink_to(photos / "one.jpg")
    batch, lines = run([photos], tmp_path / "results")
    assert files_in(tmp_path / "results") == {"one.jpg", "in.jpg", "summer/two.PNG"}
    assert {o.source.name for o in batch.failed} == {"out.jpg", "gone.jpg", "album"}
    assert all("a link out of" in line for line in lines)
    done, _ = run([photos / "out.jpg"], tmp_path / "named")  # a person who names it means it
    assert not done.failed


def test_a_link_in_the_output_folder_leads_nowhere(photos, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/summer").symlink_to(victim)
    batch, lines = run([photos], tmp_path / "out")
    assert not list(victim.iterdir())
    assert "reached by a link out of the output folder" in lines[0]
    assert [o.source.name for o in batch.failed] == ["two.PNG"]
    assert Image.open(tmp_path / "out/one.jpg").size == (72, 48)


def test_names_full_of_tricks_stay_in_the_folder_and_on_one_line(tmp_path):
    names = ["..jpg", "a\nb.jpg", "-rf.jpg", "$(id).jpg", "\x1b[31mred.jpg"]
    for name in names:
        save(tmp_path / "in" / name.replace("..jpg", "...jpg"), format="JPEG")
    odd = os.path.join(os.fsencode(tmp_path), b"in", b"\xff.jpg")  # noqa: PTH118  bytes
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write(b"nothing")
    batch, lines = run([tmp_path / "in"], tmp_path / "in" / ".." / "out")
    assert all(o.target.resolve().is_relative_to(tmp_path / "out") for o in batch.outcomes)
    assert len(files_in(tmp_path / "out")) == 4  # the hidden one is left out
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert shown("a\nb\x1b") == r"a\nb\x1b"


def test_a_file_that_changes_while_it_is_read_is_refused(photos, monkeypatch):
    path, stat, calls = photos / "one.jpg", os.fstat, []

    def growing(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:  # what it is, before and after
            with path.open("ab") as file:
                file.write(b"more")
        return stat(descriptor)

    monkeypatch.setattr(module.os, "fstat", growing)
    with pytest.raises(UnusablePictureError, match="changed while it was read"):
        read_whole(path)


def peak_from_now_on():
    """Begin to measure the process's largest memory anew, and give what it is now, in MiB."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process can be measured anew on Linux alone")
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(30_000, 30_000, 8, 2, [bytes(8)]))
    before = peak_from_now_on()
    _, lines = run([tmp_path / "bomb.png"], tmp_path / "out")
    assert "900 megapixels; the limit is 500" in lines[0]
    assert peak_mib() - before < 50


def test_a_picture_too_large_for_the_memory_says_what_it_needs(photos, tmp_path):
    save(photos / "large.jpg", np.zeros((2000, 3000, 3), np.uint8))
    limited = upscaler(max_memory=memory.resident() + 60 * 2**20)
    lines = []
    tasks = plan([photos], tmp_path / "out")
    upscale_files(tasks, limited, report=lines.append)
    assert files_in(tmp_path / "out") == {"one.jpg", "summer/two.PNG"}
    assert "3000x2000 needs" in lines[0]
    assert "raise max_memory (--max-memory)" in lines[0]


def test_a_folder_in_the_place_of_a_result_is_a_failure(photos, tmp_path):
    (tmp_path / "out/one.jpg").mkdir(parents=True)
    batch, lines = run([photos], tmp_path / "out")
    assert lines == [f"{photos}/one.jpg: its place {tmp_path}/out/one.jpg is a folder"]
    assert files_in(tmp_path / "out") == {"summer/two.PNG"}
    assert len(batch.failed) == 1


class FailingEngine(LocalEngine):
    """Fails at the second picture."""

    def __call__(self, lr):
        if len(self.shapes) == 1:
            self.shapes.append(None)
            raise RuntimeError("out of\nluck")
        return super().__call__(lr)


def test_an_engine_that_fails_costs_one_picture(photos, tmp_path):
    save(photos / "z.jpg")
    lines = []
    batch = upscale_files(
        plan([photos], tmp_path / "out"), upscaler(FailingEngine()), False, lines.append
    )
    assert len(files_in(tmp_path / "out")) == 2
    assert lines == [f"{photos}/z.jpg: RuntimeError: out of luck"]
    assert len(batch.failed) == 1


class ClosingTerminal:
    """Standard error whose other end goes away."""

    def __init__(self, last):
        self.left = last

    def isatty(self):
        return True

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
        self.write("")

    def fileno(self):
        return 2


@pytest.mark.parametrize("last", [0, 5, 10])
def test_a_closed_terminal_costs_no_picture(photos, tmp_path, monkeypatch, last):
    class Slow(LocalEngine):
        def __call__(self, lr):
            time.sleep(0.02)  # so that the bar is drawn again
            return super().__call__(lr)

    for n in range(12):
        save(photos / f"{n}.png")
    (photos / "bad.png").write_bytes(b"")
    terminal = ClosingTerminal(last)
    monkeypatch.setattr(sys, "stderr", terminal)
    batch = upscale_files(plan([photos], tmp_path / "out"), upscaler(Slow()))
    assert terminal.left < 0
    assert [o.source.name for o in batch.failed] == ["bad.png"]
    assert len(files_in(tmp_path / "out")) == 14


def test_without_any_standard_error_pictures_are_enlarged(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    (photos / "bad.png").write_bytes(b"")
    batch = upscale_files(plan([photos], tmp_path / "out"), upscaler())
    assert [o.status for o in batch.outcomes].count("done") == 2


def test_a_full_disk_costs_no_temporary_file(photos, tmp_path, monkeypatch):
    class Full:
        def write(self, rows):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.encode, "open_writer", lambda *arguments: Full())
    narrow = 2 * upscaler().halo + 4
    monkeypatch.setattr(Upscaler, "window", lambda self, held: narrow)
    tall = made_photograph(200, 36, seed=1)
    for name in ("one.jpg", "summer/two.PNG"):
        save(photos / name, tall)
    assert len(list(upscaler().bands(tall))) > 10
    batch, lines = run([photos], tmp_path / "out")
    assert {o.reason for o in batch.failed} == {
        f"{tmp_path}/out/{name}: No space left on device" for name in ("one.jpg", "summer/two.PNG")
    }
    assert len(lines) == 2
    assert files_in(tmp_path / "out") == set()


class InterruptingEngine(LocalEngine):
    """A person presses Control-C during the third picture."""

    def __call__(self, lr):
        if len(self.shapes) == 2:
            raise KeyboardInterrupt
        return super().__call__(lr)


def test_an_interrupted_batch_goes_on_where_it_stopped(tmp_path):
    for n in range(12):
        save(tmp_path / f"in/{n:02}.png")
    tasks = plan([tmp_path / "in"], tmp_path / "out")
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        upscale_files(tasks, upscaler(InterruptingEngine()))
    assert files_in(tmp_path / "out") == {"00.png", "01.png"}  # whole, nothing half
    assert threading.active_count() == threads
    engine = LocalEngine()
    batch = upscale_files(tasks, upscaler(engine))
    assert len(engine.shapes) == 10
    assert [o.status for o in batch.outcomes].count("kept") == 2
    assert len(files_in(tmp_path / "out")) == 12


def test_an_interruption_while_the_last_picture_is_written_leaves_nothing_half(
    photos, tmp_path, monkeypatch
):
    opened = module.encode.open_writer

    def open_writer(*arguments):
        writer = opened(*arguments)
        close = writer.close

        def slow_close():
            time.sleep(0.2)  # meanwhile the network has nothing left to do
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            close()

        writer.close = slow_close
        return writer

    monkeypatch.setattr(module.encode, "open_writer", open_writer)
    # A shell's background jobs begin with it ignored.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            upscale_files(plan([photos / "summer"], tmp_path / "out"), upscaler())
    finally:
        signal.signal(signal.SIGINT, former)
    assert files_in(tmp_path / "out") == set()


def test_two_batches_into_one_folder_do_not_meet(photos, tmp_path):
    inside = threading.Barrier(2, timeout=10)

    class Meeting(LocalEngine):
        def __call__(self, lr):
            inside.wait()
            return super().__call__(lr)

    tasks = plan([photos], tmp_path / "out")
    batches = []
    threads = [
        threading.Thread(
            target=lambda: batches.append(upscale_files(tasks, upscaler(Meeting()), True))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [o.status for batch in batches for o in batch.outcomes] == ["done"] * 4
    assert files_in(tmp_path / "out") == {"one.jpg", "summer/two.PNG"}


def test_what_lies_in_a_results_place_is_kept_only_when_it_can_be_the_result(photos, tmp_path):
    out = tmp_path / "out"
    run([photos], out)
    save(out / "one.jpg", np.zeros((9, 9, 3), np.uint8))  # of another size
    os.utime(out / "summer/two.PNG", ns=(0, 0))  # older than the picture
    save(photos / "turned.jpg")
    save(out / "turned.jpg", made_photograph(72, 48, seed=1))
    save(photos / "text.png")
    (out / "text.png").write_text("hello")
    batch, lines = run([photos], out)
    kept = [o.source.name for o in batch.outcomes if o.status == "kept"]
    assert kept == ["turned.jpg"]
    assert lines == [
        f"{photos}/{name}: {out}/{name} was made from another picture or scale: "
        "--overwrite does it again"
        for name in ("one.jpg", "text.png", "summer/two.PNG")
    ]
    again, _ = run([photos], out, overwrite=True)
    assert not again.failed


def test_a_picture_dated_in_the_future_is_done_once(photos, tmp_path):
    """As by a camera whose clock is ahead."""
    future = time.time_ns() + 6 * 3600 * 10**9
    os.utime(photos / "one.jpg", ns=(future, future))
    for status in ("done", "kept"):
        batch, _ = run([photos], tmp_path / "out")
        assert {o.status for o in batch.outcomes} == {status}


def test_pipes_and_devices_are_refused_without_waiting(photos, tmp_path):
    os.mkfifo(photos / "a.png")
    os.mkfifo(photos / "plain")
    _, lines = run([photos, photos / "plain", Path("/dev/zero")], tmp_path / "out")
    assert [line.rpartition("/")[2] for line in lines] == [
        f"{name}: no regular file" for name in ("a.png", "plain", "zero")
    ]
    assert files_in(tmp_path / "out") == {"one.jpg", "summer/two.PNG"}


def test_files_that_cannot_be_held_or_are_no_pictures_are_not_read(tmp_path):
    for name, head in (("large.png", b"\x89PNG\r\n\x1a\n"), ("text.png", b"hello"), ("x", b"BM")):
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.truncate(2**29)
    before = peak_from_now_on()
    lines = []
    tasks = plan([tmp_path / "large.png", tmp_path / "x"], tmp_path / "out")
    limited = upscaler(max_memory=memory.resident() + 100 * 2**20)
    upscale_files(tasks, limited, report=lines.append)
    upscale_files(
        plan([tmp_path / "text.png"], tmp_path / "out"),
        upscaler(max_memory="1000GB"),
        report=lines.append,
    )
    assert peak_mib() - before < 100
    assert all(": a file of 536,870,912 bytes needs" in line for line in lines[:2])
    assert lines[2].endswith("text.png: no picture format that is read here")


def test_reading_network_and_writing_work_at_the_same_time(tmp_path, monkeypatch):
    """Each takes 50 ms a picture; one after the other ten pictures would take 1.5 s."""
    for n in range(10):
        save(tmp_path / f"in/{n}.png")

    class Slow(LocalEngine):
        def __call__(self, lr):
            time.sleep(0.05)
            return super().__call__(lr)

    def slow_read(data, limit):
        time.sleep(0.05)
        return read_picture(data, limit)

    opened = module.encode.open_writer

    def slow_open(*arguments):
        time.sleep(0.05)
        return opened(*arguments)

    monkeypatch.setattr(module, "read_picture", slow_read)
    monkeypatch.setattr(module.encode, "open_writer", slow_open)
    batch = upscale_files(plan([tmp_path / "in"], tmp_path / "out"), upscaler(Slow()))
    assert len(batch.outcomes) == 10
    assert batch.seconds < 1.2


def test_pictures_under_way_stay_within_the_memory(tmp_path, monkeypatch):
    for n in range(6):
        save(tmp_path / f"in/{n}.jpg", np.zeros((300, 400, 3), np.uint8))
    inside, most = [0], [0]
    take, give = module.MemoryGate.take, module.MemoryGate.give

    def taking(self, cost, held=0):
        taken = take(self, cost, held)
        inside[0] += cost - held
        most[0] = max(most[0], inside[0])
        return taken

    def giving(self, cost):
        inside[0] -= cost
        give(self, cost)

    monkeypatch.setattr(module.MemoryGate, "take", taking)
    monkeypatch.setattr(module.MemoryGate, "give", giving)
    windows = []

    class Watched(LocalEngine):
        def __call__(self, lr):
            pixel = BYTES_A_PIXEL + BYTES_AN_OUTPUT_PIXEL * self.scale**2
            windows.append(lr.shape[1] * lr.shape[2] * pixel)
            return super().__call__(lr)

    limited = upscaler(Watched(), max_memory=memory.resident() + 30 * 2**20)
    batch = upscale_files(plan([tmp_path / "in"], tmp_path / "out"), limited)
    assert not batch.failed
    assert 0 < most[0] <= 30 * 2**20 - max(windows)
    assert inside[0] == 0


def test_a_picture_that_leaves_little_room_is_done_alone_in_small_windows(tmp_path):
    save(tmp_path / "in/large.png", np.zeros((1000, 1000, 3), np.uint8))
    save(tmp_path / "in/small.png")
    limited = upscaler(max_memory=memory.resident() + 30 * 2**20)
    assert limited.reserve == 15 * 2**20  # the large one needs more than the rest
    batch = upscale_files(plan([tmp_path / "in"], tmp_path / "out"), limited)
    assert not batch.failed
    assert Image.open(tmp_path / "out/large.png").size == (2000, 2000)


def test_nothing_to_enlarge_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProjectError, match="no picture in"):
        plan([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(ProjectError, match="there is no"):
        plan([tmp_path / "missing"], tmp_path / "out")
    file = save(tmp_path / "a.jpg")
    (tmp_path / "notes").write_text("no folder")
    for inputs, output in (
        ([tmp_path, file], file),
        ([file], tmp_path / "notes"),
        ([file], tmp_path / "notes/deeper/out"),
        ([file], tmp_path / "notes/big.png"),
        ([file], Path("/dev/null")),
    ):
        with pytest.raises(ProjectError, match=r"(a\.jpg|notes|null) is a file: name a folder"):
            plan(inputs, output)


def test_a_result_that_is_named_like_what_it_cannot_be_is_refused(tmp_path):
    first, second = save(tmp_path / "a.jpg"), save(tmp_path / "b.jpg")
    with pytest.raises(ProjectError, match=r"big\.gif cannot be written in that format: name a"):
        plan([first], tmp_path / "big.gif")
    for inputs in ([first, second], [tmp_path]):
        with pytest.raises(ProjectError, match=r"one\.png is named like one picture: name"):
            plan(inputs, tmp_path / "one.png")
    assert plan([first], tmp_path / "holiday.2024")[0].target == tmp_path / "holiday.2024/a.jpg"
    (tmp_path / "one.png").mkdir()
    assert plan([first], tmp_path / "one.png")[0].target == tmp_path / "one.png/a.jpg"
    with pytest.raises(ProjectError, match="web addresses are not read"):
        plan([Path("https://example.com/a.jpg")], tmp_path)


def test_what_is_taken_for_no_picture_is_counted(tmp_path, caplog):
    save(tmp_path / "in/a.jpg")
    for name in ("b.heic", "c.HEIC", "raw.cr2", "README", ".hidden"):
        (tmp_path / "in" / name).write_bytes(b"something")
    assert len(plan([tmp_path / "in"], tmp_path / "out")) == 1
    assert "Left out as no pictures: 2 .heic, 1 " in caplog.text
    assert "1 .cr2" in caplog.text
    assert "1 without ending" in caplog.text


def test_a_file_in_the_place_of_a_folder_is_named(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/summer").write_text("no folder")
    _, lines = run([photos], tmp_path / "out")
    assert len(lines) == 1
    assert f"{tmp_path}/out/summer is a file" in lines[0]
    assert files_in(tmp_path / "out") == {"one.jpg", "summer"}


def test_a_link_to_nothing_is_a_failure_though_its_place_is_taken(photos, tmp_path):
    (photos / "gone.jpg").symlink_to(tmp_path / "nothing")
    save(tmp_path / "out/gone.jpg")
    _, lines = run([photos], tmp_path / "out")
    assert ["a link out of" in line for line in lines] == [True]
