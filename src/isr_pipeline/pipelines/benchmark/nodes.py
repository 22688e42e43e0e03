"""The benchmark: networks and interpolation on test sets, by the field's protocols."""

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from isr_pipeline.champion import Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture, from_unit, to_unit
from isr_pipeline.imaging.decode import UnusablePictureError
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.inference.measure import EngineName, Job, measure
from isr_pipeline.machine import (
    available_cores,
    command_line,
    describe_machine,
    load_average,
)
from isr_pipeline.pipelines.benchmark.literature import TABLE, with_literature
from isr_pipeline.pipelines.benchmark.models import BenchmarkModel, open_models
from isr_pipeline.pipelines.benchmark.pairs import (
    BICUBIC,
    BenchmarkPair,
    open_pair,
    photographs_of,
    unusable_file,
)
from isr_pipeline.pipelines.benchmark.parameters import (
    BenchmarkParameters,
    LiteratureParameters,
    TimingParameters,
)
from isr_pipeline.progress import map_in_order, threads_for
from isr_pipeline.quality.protocol import BYTES_A_PIXEL, score_picture
from isr_pipeline.reporting.benchmark import (
    BASELINE,
    NETWORK,
    QUOTED,
    TRAINING,
    benchmark_markdown,
    draw_cost_plots,
    main_score,
)
from isr_pipeline.reporting.figures import PanelRow, draw_crops
from isr_pipeline.sources.benchmark import (
    BenchmarkSet,
    from_kaggle_layout,
    list_benchmark,
    list_benchmarks,
)
from isr_pipeline.sources.collection import PhotoCollection

logger = logging.getLogger(__name__)

MODEL = ["model", "trained_against", "scale"]
COSTS = ("seconds", "peak_mib", "precision")


class _Case(NamedTuple):
    protocol: str
    test_set: str
    pair: BenchmarkPair
    networks: list[tuple[BenchmarkModel, bool, Picture]]  # with or without self-ensemble


def open_benchmark_sets(
    benchmark_sample: PhotoCollection,
    benchmark_models: list[BenchmarkModel],
    parameters: BenchmarkParameters,
) -> list[BenchmarkSet]:
    """The test sets, without any picture that a network of the comparison was trained on.

    Raises:
        ProjectError: when a folder is missing or of no known layout, and when a set has no
            picture left.
    """
    sets = named_sets(parameters) or [from_kaggle_layout("sample", benchmark_sample)]
    seen = frozenset[str]().union(*(model.trained_on for model in benchmark_models))
    return [_without(test_set, seen) for test_set in sets] if seen else sets


def named_sets(parameters: BenchmarkParameters) -> list[BenchmarkSet]:
    """The test sets that parameters name; none where it is the embedded sample's turn.

    Raises:
        ProjectError: when a folder is missing or of no known layout.
    """
    folders = {name: Path(folder).expanduser() for name, folder in parameters.folders.items()}
    if parameters.root is not None:
        folders = {**list_benchmarks(Path(parameters.root).expanduser()), **folders}
    return [list_benchmark(name, folder) for name, folder in folders.items()]


def load_benchmark_models(
    champion: Champion | None, parameters: BenchmarkParameters
) -> list[BenchmarkModel]:
    """The networks that take part (see `BenchmarkParameters.models`)."""
    return open_models(parameters.models, champion, parameters.protocols, parameters.scales)


def score_benchmark(
    benchmark_models: list[BenchmarkModel],
    benchmark_sets: list[BenchmarkSet],
    parameters: BenchmarkParameters,
) -> pd.DataFrame:
    """Score interpolation and every network on every picture, by every protocol and scale.

    Returns:
        One row for each: `protocol`, `set`, `scale`, `photograph`, `kind` (baseline or network),
        `model`, `trained_against`, `self_ensemble`, and the figures of `quality.protocol`.
    """

    def score(case: _Case) -> list[dict[str, Any]]:
        pair = case.pair
        shown = [(BASELINE, name, "", False, sr) for name, sr in pair.baselines().items()]
        shown += [
            (NETWORK, model.label, model.degradation, ensemble, sr)
            for model, ensemble, sr in case.networks
        ]
        return [
            {
                "protocol": case.protocol,
                "set": case.test_set,
                "scale": pair.scale,
                "photograph": pair.photograph,
                "kind": kind,
                "model": model,
                "trained_against": trained_against,
                "self_ensemble": ensemble,
                **score_picture(pair.truth, sr, pair.scale),
            }
            for kind, model, trained_against, ensemble, sr in shown
        ]

    places = _places(benchmark_sets, parameters)
    cases = _super_resolved(benchmark_models, places, parameters)
    threads = _threads_for_scoring(benchmark_sets, len(benchmark_models), parameters)
    scored = map_in_order(score, cases, len(places), "benchmark", threads)
    return pd.DataFrame([row for rows in scored for row in rows])


def measure_costs(
    benchmark_models: list[BenchmarkModel], parameters: BenchmarkParameters
) -> pd.DataFrame:
    """What every network is and costs at every scale.

    Returns:
        One row for each: `model`, `trained_against`, `scale`, `parameters`,
        `output_size` of the picture that the following are for, `multiply_adds_g` (1e9),
        `<engine>_seconds`, `<engine>_peak_mib` of a fresh process that made it and the
        `<engine>_precision` that it computed in, `load` of the machine before that, and
        `training_data`, `training_command`, `training_seconds` and `training_machine`.
    """
    timing = parameters.timing
    load, cores = load_average(), available_cores()
    if timing.engines and load > cores / 2:
        logger.warning(
            "The machine is busy (load %.1f on %d cores): scores do not mind, but seconds are not "
            "to be trusted, and engines suffer unequally: time again when it is idle",
            load,
            cores,
        )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="isr-benchmark-") as folder:
        jobs: list[tuple[int, EngineName, int, dict[str, str]]] = []
        for number, model in enumerate(benchmark_models):
            scales = sorted(set(model.scales) & set(parameters.scales))
            where: dict[str, str] = {"weights": model.shipped} if model.shipped else {}
            if not model.shipped and timing.engines:
                place = Path(folder) / str(number)
                where = {"path": _write_for_engines(model, place, scales, timing.engines)}
            for scale in scales:
                rows.append(_describe(model, scale, timing))
                jobs += [(len(rows) - 1, engine, scale, where) for engine in timing.engines]
        _measure_into(rows, jobs, parameters)
    for row in rows:
        row["load"] = load
    named = [*MODEL, "parameters", "output_size", "multiply_adds_g"]
    named += [f"{engine}_{f}" for engine in timing.engines for f in COSTS]
    named += ["load"]
    return pd.DataFrame(rows, columns=[*named, *(f"training_{name}" for name in TRAINING)])


def summarise_benchmark(
    benchmark_scores: pd.DataFrame,
    benchmark_costs: pd.DataFrame,
    parameters: BenchmarkParameters,
    literature: LiteratureParameters,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Means and medians over each set's pictures, with costs, gains and the literature's rows.

    Returns:
        The table, and the networks' figures nested as `benchmark/bicubic/Set5/x2/...` for MLflow.
    """
    scores = _with_gains(benchmark_scores)
    keys = [*TABLE, "kind", "model", "trained_against", "self_ensemble"]
    table = (
        scores.groupby(keys, sort=False)
        .agg(
            pictures=("photograph", "nunique"),
            psnr_y=("psnr_y", "mean"),
            ssim_y=("ssim_y", "mean"),
            psnr_rgb=("psnr_rgb", "mean"),
            psnr_rgb_median=("psnr_rgb", "median"),
            gain_y=("gain_y", "mean"),
            gain_rgb=("gain_rgb", "mean"),
            gain_rgb_median=("gain_rgb", "median"),
        )
        .reset_index()
    )
    costs = benchmark_costs.fillna({"trained_against": ""})  # as which CSV keeps no text
    table = table.merge(costs, on=MODEL, how="left")
    eightfold = table["self_ensemble"]
    table.loc[eightfold, "multiply_adds_g"] *= 8
    measured = [f"{engine}_{name}" for engine in parameters.timing.engines for name in COSTS]
    table[measured] = table[measured].astype(object)
    table.loc[eightfold, measured] = None  # not measured: only the plain network was
    table["command"], table["machine"] = command_line(), describe_machine()
    table = with_literature(table, literature, parameters.timing.output_size)
    logger.info("Benchmark:\n%s", _for_terminal(table))
    return table, {"benchmark": _metrics(table)}


def write_benchmark_tables(benchmark_summary: pd.DataFrame) -> str:
    """The tables in Markdown, one section for each protocol."""
    return benchmark_markdown(benchmark_summary)


def draw_benchmark_costs(benchmark_summary: pd.DataFrame) -> dict[str, Figure]:
    """PSNR against multiply-adds, a figure for each protocol."""
    return {f"{name}.png": plot for name, plot in draw_cost_plots(benchmark_summary).items()}


def draw_benchmark_panels(
    benchmark_models: list[BenchmarkModel],
    benchmark_sets: list[BenchmarkSet],
    benchmark_scores: pd.DataFrame,
    parameters: BenchmarkParameters,
) -> dict[str, Figure]:
    """The pictures that gain most and least over bicubic, a figure for each table.

    Shown is the network with the best mean, without self-ensemble.
    """
    scores = _with_gains(benchmark_scores)
    scores = scores[(scores["kind"] == NETWORK) & ~scores["self_ensemble"]]
    sets = {test_set.name: test_set for test_set in benchmark_sets}
    figures = {}
    for (protocol, name, scale), table in scores.groupby(TABLE):
        figure = main_score(protocol)
        means = table.groupby(["model", "trained_against"])[f"psnr_{figure}"].mean()
        model = next(
            m
            for m in benchmark_models
            if (m.label, m.degradation) == means.idxmax() and m.suits(protocol, scale)
        )
        chosen = table[
            (table["model"] == model.label) & (table["trained_against"] == model.degradation)
        ].sort_values(f"gain_{figure}", ascending=False)
        half = min(parameters.panels, -(-len(chosen) // 2))
        best, worst = chosen.head(half), chosen.iloc[half:].tail(parameters.panels)
        rows = []
        for what, pictures in (("best", best), ("worst", worst)):
            for row in pictures.itertuples():
                pair = open_pair(sets[name], row.photograph, scale, protocol, parameters.seed)
                label = f"{what}: {row.photograph}\n{getattr(row, f'gain_{figure}'):+.2f} dB"
                rows.append(_panel_row(label, pair, model, f"psnr_{figure}"))
        figures[f"{protocol}_{name}_x{scale}.png"] = draw_crops(rows)
    return figures


def keep_measurements(
    benchmark_summary: pd.DataFrame, parameters: BenchmarkParameters
) -> dict[str, pd.DataFrame]:
    """What the summary has measured, under the name that `benchmark.keep_as` gives it."""
    if parameters.keep_as is None:
        return {}
    return {parameters.keep_as: benchmark_summary[benchmark_summary["kind"] != QUOTED]}


def _sha256(test_set: BenchmarkSet, path: str) -> str:
    try:
        return hashlib.sha256(test_set.photographs.read(path)).hexdigest()
    except (UnusablePictureError, OSError) as error:
        raise unusable_file(test_set, path, error) from None


def _without(test_set: BenchmarkSet, seen: frozenset[str]) -> BenchmarkSet:
    photographs = test_set.photographs
    originals = photographs.files[photographs.files["scale"] == 1]
    known = {
        row.photograph for row in originals.itertuples() if _sha256(test_set, str(row.path)) in seen
    }
    if not known:
        return test_set
    logger.info(
        "%s: %d of %d pictures are left out, a network was trained on them",
        test_set.name,
        len(known),
        len(originals),
    )
    files = photographs.files[~photographs.files["photograph"].isin(known)]
    if files.empty:
        raise ProjectError(
            f"benchmark set '{test_set.name}': a network was trained on every picture: choose "
            "another set (benchmark.folders) or other networks (benchmark.models)"
        )
    files = files.reset_index(drop=True)
    kept = PhotoCollection(photographs.root, files, photographs.name)
    return BenchmarkSet(test_set.name, kept, test_set.degradation)


def _places(
    sets: list[BenchmarkSet], parameters: BenchmarkParameters
) -> list[tuple[str, BenchmarkSet, int, str]]:
    return [
        (protocol, test_set, scale, photograph)
        for protocol in parameters.protocols
        for test_set in sets
        for scale in parameters.scales
        for photograph in photographs_of(test_set, protocol, scale)
    ]


def _threads_for_scoring(
    sets: list[BenchmarkSet], networks: int, parameters: BenchmarkParameters
) -> int:
    """As many as memory has room for, with the pictures of every network that wait for them."""
    largest = max(
        test_set.photographs.pixels(path)
        for test_set in sets
        for path in test_set.photographs.files["path"]
    )
    waiting = 3 * (2 + networks * (1 + parameters.self_ensemble))  # cases a thread, see progress
    return threads_for(largest * (BYTES_A_PIXEL + 3 * waiting))


def _super_resolved(
    models: list[BenchmarkModel],
    places: list[tuple[str, BenchmarkSet, int, str]],
    parameters: BenchmarkParameters,
) -> Iterator[_Case]:
    """Networks run here, one after the other, while the scores of earlier pictures are computed."""
    predictors: dict[tuple[int, int], Callable[..., Picture]] = {}
    for protocol, test_set, scale, photograph in places:
        pair = open_pair(test_set, photograph, scale, protocol, parameters.seed)
        results = []
        for number, model in enumerate(models):
            if not model.suits(protocol, scale):
                continue
            if (number, scale) not in predictors:
                predictors[number, scale] = _predictor(model, scale)
            for ensemble in (False, True) if parameters.self_ensemble else (False,):
                sr = predictors[number, scale](pair, ensemble)
                results.append((model, ensemble, sr))
        yield _Case(protocol, test_set.name, pair, results)


def _predictor(model: BenchmarkModel, scale: int) -> Callable[[BenchmarkPair, bool], Picture]:
    from isr_pipeline.inference.ensemble import self_ensemble
    from isr_pipeline.inference.predict import Predictor

    predictor = Predictor(model.network, scale)

    def super_resolve(pair: BenchmarkPair, ensemble: bool) -> Picture:
        size = pair.truth.shape[:2]
        if not ensemble:
            return predictor(pair.low_res, size)
        result = self_ensemble(predictor.predict, to_unit(pair.low_res))
        return from_unit(result if result.shape[:2] == size else resize_bicubic(result, *size))

    return super_resolve


def _describe(model: BenchmarkModel, scale: int, timing: TimingParameters) -> dict[str, Any]:
    from isr_pipeline.networks import at_scale
    from isr_pipeline.networks.cost import multiply_adds_per_pixel

    per_pixel = multiply_adds_per_pixel(model.network, scale)
    return {
        "model": model.label,
        "trained_against": model.degradation,
        "scale": scale,
        "parameters": at_scale(model.network, scale).count_params(),
        "output_size": timing.output_size,
        "multiply_adds_g": per_pixel * timing.width * timing.height / 1e9,
        **{f"training_{name}": model.training.get(name) for name in TRAINING},
    }


def _write_for_engines(
    model: BenchmarkModel, folder: Path, scales: Sequence[int], engines: Sequence[str]
) -> str:
    """A network that is not shipped as a `.keras` file, with OpenVINO's graphs beside it."""
    from isr_pipeline.inference.engines import openvino_is_installed
    from isr_pipeline.inference.export import export_openvino

    folder.mkdir()
    path = folder / "network.keras"
    model.network.save(path)
    if "openvino" in engines and openvino_is_installed():
        for scale in scales:
            export_openvino(model.network, scale, folder / f"x{scale}.xml")
    return str(path)


def _measure_into(
    rows: list[dict[str, Any]],
    jobs: list[tuple[int, EngineName, int, dict[str, str]]],
    parameters: BenchmarkParameters,
) -> None:
    timing = parameters.timing
    costs = measure(
        [
            Job(scale, engine, timing.height // scale, timing.width // scale, **where)
            for _, engine, scale, where in jobs
        ],
        timing.rounds,
        timing.together,
    )
    for (row, engine, scale, _), cost in zip(jobs, costs, strict=True):
        rows[row] |= {f"{engine}_{name}": getattr(cost, name) for name in COSTS}
        if cost.trouble:
            name = rows[row]["model"]
            logger.info("%s x%d is not timed with %s: %s", name, scale, engine, cost.trouble)


def _with_gains(scores: pd.DataFrame) -> pd.DataFrame:
    keys = [*TABLE, "photograph"]
    bicubic = scores[(scores["kind"] == BASELINE) & (scores["model"] == BICUBIC)]
    bicubic = bicubic.set_index(keys)[["psnr_y", "psnr_rgb"]]
    joined = scores.join(bicubic, on=keys, rsuffix="_of_bicubic")
    return scores.assign(
        gain_y=joined["psnr_y"] - joined["psnr_y_of_bicubic"],
        gain_rgb=joined["psnr_rgb"] - joined["psnr_rgb_of_bicubic"],
    )


def _metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Figures of the networks by protocol, set, scale and model, in names that MLflow allows."""
    metrics: dict[str, Any] = {}
    for row in table[table["kind"] == NETWORK].itertuples():
        group = metrics.setdefault(row.protocol, {}).setdefault(_plain(row.set), {})
        name = _plain(f"{row.model} self-ensemble" if row.self_ensemble else row.model)
        group.setdefault(f"x{row.scale}", {})[name] = {
            figure: float(getattr(row, figure))
            for figure in ("psnr_y", "ssim_y", "psnr_rgb", "gain_y", "gain_rgb")
        }
    return metrics


def _plain(name: str) -> str:
    return re.sub(r"[^\w. -]+", "_", name)


def _for_terminal(table: pd.DataFrame) -> str:
    shown = table[[*TABLE, "model", "pictures", "psnr_y", "ssim_y", "psnr_rgb", "gain_y"]].copy()
    shown["model"] += table["self_ensemble"].map({True: "+", False: ""})
    shown["model"] += (table["kind"] == QUOTED).map({True: " (quoted)", False: ""})
    shown["pictures"] = shown["pictures"].astype("Int64")
    return str(
        shown.to_string(
            index=False,
            float_format="{:.2f}".format,
            formatters={"ssim_y": "{:.4f}".format},
            na_rep="-",
        )
    )


def _panel_row(label: str, pair: BenchmarkPair, model: BenchmarkModel, figure: str) -> PanelRow:
    columns = [
        ("low resolution", pair.as_it_is),
        (BICUBIC, pair.baselines()[BICUBIC]),
        (model.label, _predictor(model, pair.scale)(pair, False)),
        ("truth", pair.truth),
    ]
    scores: list[float | None] = [
        score_picture(pair.truth, picture, pair.scale)[figure] for _, picture in columns[:-1]
    ]
    return PanelRow(label, columns, [*scores, None])
