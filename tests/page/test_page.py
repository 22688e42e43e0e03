import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from conftest import PROJECT, made_photograph
from inference.doubles import write_champion
from inference.exported import shaken_network
from isr_pipeline.inference.upscaler import Upscaler
from isr_pipeline.page import available_networks

pytest.importorskip("uvicorn", reason="the extra page is not installed")
pytest.importorskip("fastapi", reason="the extra page is not installed")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
SERVE = (sys.executable, "-m", "isr_pipeline.command_line", "serve")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """`isr serve` in a project's folder whose champion enlarges by 2 and 3."""
    folder = tmp_path_factory.mktemp("page")
    champion = folder / "data" / "06_models" / "photos" / "champion"
    champion.mkdir(parents=True)
    network = shaken_network("autoencoder", [2, 3])
    network.save(champion / "network.keras")
    record = {"network": "autoencoder", "psnr_rgb": {"x2": 30.0, "x3": 28.0}}
    (champion / "record.json").write_text(json.dumps({**record, "protocol": "bicubic"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*SERVE, "--port", str(port), "--max-megapixels", "0.5"],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            assert server.poll() is None, (folder / "server.log").read_text()
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield SimpleNamespace(address=address, port=port, network=network, folder=folder)
    finally:
        server.terminate()
        server.wait(20)


def ask(site, path, data=None, **headers):
    request = urllib.request.Request(f"{site.address}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


CHAMPION = "/upscale?network=champion&degradation=bicubic&scale=2"


def test_the_page_asks_for_nothing_from_elsewhere(site):
    status, page = ask(site, "/")
    assert status == 200
    assert b"http:" not in page
    assert b"https:" not in page
    assert b"//" not in page.split(b"<script>")[0]


@pytest.mark.parametrize(
    ("path", "data", "headers", "expected", "reason"),
    [
        (CHAMPION, b"", {}, 400, b"0 bytes"),
        (CHAMPION, b"no picture", {}, 400, b"no picture format"),
        (CHAMPION.replace("=2", "=5"), b"", {}, 400, b"no such network"),
        (CHAMPION.replace("champion", "/etc/passwd"), b"", {}, 400, b"no such network"),
        (CHAMPION.replace("champion", "a" * 3000), b"", {}, 400, b"no such network"),
        (CHAMPION, b"", {"Origin": "http://elsewhere.example"}, 403, b"only the page itself"),
        (CHAMPION, b"", {"Host": "elsewhere.example"}, 400, b"Invalid host"),
    ],
)
def test_what_cannot_be_done_is_refused(site, path, data, headers, expected, reason):
    status, answer = ask(site, path, data, **headers)
    assert (status, reason in answer) == (expected, True), answer


def test_an_upload_that_breaks_off_is_no_error_of_the_page(site):
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        head = f"POST {CHAMPION} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        connection.sendall(head.encode() + b"half a picture")
    time.sleep(0.5)
    assert ask(site, "/networks")[0] == 200
    assert "Traceback" not in (site.folder / "server.log").read_text()


def test_a_new_champion_takes_the_former_ones_place(site):
    file = io.BytesIO()
    Image.fromarray(made_photograph(24, 32, seed=3)).save(file, "PNG")
    _, former = ask(site, CHAMPION, file.getvalue())
    champion = site.folder / "data" / "06_models" / "photos" / "champion"
    network, record = ((champion / n).read_bytes() for n in ("network.keras", "record.json"))
    try:
        shaken_network("autoencoder", [2, 3], seed=9).save(champion / "network.keras")
        (champion / "record.json").write_bytes(record)
        status, now = ask(site, CHAMPION, file.getvalue())
        assert status == 200
        assert now != former
    finally:
        (champion / "network.keras").write_bytes(network)
        (champion / "record.json").write_bytes(record)


def test_the_champion_of_each_degradation_is_offered_and_none_of_the_report(tmp_path):
    for name, degradation, scales, age in (
        ("bicubic", "bicubic", [2], 30),
        ("older", "unsplash", [2, 6], 20),
        ("newer", "unsplash", [2, 4], 10),
        ("report", "report", [2, 4, 6], 0),
    ):
        record = write_champion(tmp_path, name, degradation, scales) / "record.json"
        os.utime(record, (record.stat().st_mtime - age,) * 2)
    offered = [n for n in available_networks(tmp_path) if n["network"] == "champion"]
    assert [(n["degradation"], n["scales"]) for n in offered] == [
        ("unsplash", [2, 4, 6]),
        ("bicubic", [2]),
    ]


def test_a_champion_that_shipped_weights_beat_is_offered_last(tmp_path):
    shipped = {"x2": {"model": "subpixel-small", "psnr_rgb": 99.0}}
    write_champion(tmp_path, "poor", "bicubic", [2], shipped=shipped)
    names = [n["network"] for n in available_networks(tmp_path)]
    assert names[-1] == "champion"
    assert names[0] == "subpixel-small"
    write_champion(tmp_path, "good", "unsplash", [2])
    best = available_networks(tmp_path)[0]
    assert best["label"] == "champion of good, for unsplash pictures"
    write_champion(tmp_path, "x6", "realistic", [2, 6], shipped=shipped)  # nothing to beat at x6
    labels = [network["label"] for network in available_networks(tmp_path)]
    assert "champion of x6, for realistic pictures" in labels[-2:]


def test_a_taken_port_and_a_missing_extra_are_one_line(site):
    command = [*SERVE, "--port", str(site.port)]
    options = {"capture_output": True, "text": True, "cwd": site.folder, "env": ENVIRONMENT}
    taken = subprocess.run(command, **options)
    assert taken.returncode == 1
    assert taken.stderr.startswith(f"Error: port {site.port} cannot be used")
    assert len(taken.stderr.splitlines()) == 1
    script = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from isr_pipeline.command_line import main; main(['serve'])"
    )
    missing = subprocess.run([sys.executable, "-c", script], **options)
    assert missing.stderr == "Error: isr serve is not installed: pip install 'isr_pipeline[page]'\n"


def test_a_person_drops_a_picture_compares_and_downloads(site, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    picture = made_photograph(180, 240, seed=5)
    Image.fromarray(picture).save(tmp_path / "holiday.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("L", (800, 800)).save(tmp_path / "large.png")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 900, "height": 760})
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.address)
        page.get_by_label("Network").select_option(label="champion of photos, for bicubic pictures")
        page.get_by_label("Scale").select_option("3")
        assert page.get_by_role("button", name="Enlarge").is_disabled()
        page.locator("#file").set_input_files(tmp_path / "holiday.png")
        page.get_by_role("button", name="Enlarge").click()
        page.locator("#result").wait_for(state="visible", timeout=60_000)
        assert page.locator("#message").text_content().startswith("720x540 in ")

        sizes = page.evaluate(
            "['before', 'after'].map(id => document.getElementById(id).naturalWidth)"
        )
        assert sizes == [240, 720]
        page.locator("#slider").fill("30")
        assert page.evaluate("getComputedStyle(document.getElementById('bar')).left") != "0px"
        shots = []
        for share in ("0", "100", "50"):
            page.locator("#slider").fill(share)
            shots.append(page.locator("#stage").screenshot())
        assert len(set(shots)) == 3
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download PNG").click()
        assert download.value.suggested_filename == "holiday_x3.png"
        saved = np.asarray(Image.open(download.value.path()))
        expected = Upscaler(site.network, 3)(picture)
        assert np.abs(saved.astype(int) - expected).max() <= 1
        assert complaints == []

        for name, reason in (("broken.png", "no picture format"), ("large.png", "limit is 0.22")):
            page.locator("#file").set_input_files(tmp_path / name)
            page.get_by_role("button", name="Enlarge").click()
            page.locator("#message.error").wait_for(timeout=30_000)
            assert reason in page.locator("#message").text_content()
            assert not page.locator("#result").is_visible()

        held = []
        page.route("**/upscale*", lambda route: held.append(route))
        go = page.get_by_role("button", name="Enlarge")
        page.locator("#file").set_input_files(tmp_path / "holiday.png")
        assert not page.locator("#message").text_content()
        go.click()
        page.locator("#file").set_input_files(tmp_path / "large.png")  # while the other is at work
        while not held:
            page.wait_for_timeout(20)
        assert go.is_disabled()
        held[0].continue_()
        page.locator("#go:enabled").wait_for(timeout=60_000)
        assert page.locator("#name").text_content() == "large.png"
        assert not page.locator("#result").is_visible()  # which is of the other
        assert not page.locator("#message").text_content()
        for event in ("dragover", "drop"):  # beside the box: the browser would open the file
            assert page.evaluate(
                f"""!document.querySelector('h1').dispatchEvent(new DragEvent('{event}',
                {{bubbles: true, cancelable: true, dataTransfer: new DataTransfer()}}))"""
            )
        browser.close()
    assert all(url.startswith((site.address, "blob:", "data:")) for url in asked), asked
