"""Exporting: the champion as files that run without Keras."""

import json
import logging
import tempfile
from pathlib import Path

import pandas as pd

from isr_pipeline.champion import Champion
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.export import (
    EXPORTERS,
    SUFFIXES,
    check_installed,
    check_pictures,
    compare,
)
from isr_pipeline.pipelines.export.parameters import ExportParameters

logger = logging.getLogger(__name__)

COLUMNS = ["scale", "format", "precision", "kilobytes", "max_difference", "mean_difference"]


def export_champion(
    champion: Champion | None, parameters: ExportParameters
) -> tuple[dict[str, bytes], pd.DataFrame]:
    """Write the champion at each of its scales in each format, and hold every file against Keras.

    Returns:
        The files by name: `x2.xml` and `x2.bin`, `x2.onnx`, `x2.tflite`, ..., the network itself
        and its record; and a table of `scale`, `format`, `precision` that it was computed in,
        `kilobytes`, and `max_difference` and `mean_difference` from Keras in grey levels.

    Raises:
        ProjectError: when there is no champion, packages are missing or a file differs by more
            than is allowed.
    """
    if champion is None:
        raise ProjectError(
            "there is no champion to export: run kedro run --pipelines=train,evaluate first, with "
            "the same --env"
        )
    check_installed(parameters.formats)
    from isr_pipeline.networks import scales_of

    pictures = check_pictures()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        champion.network.save(folder / "network.keras")
        (folder / "record.json").write_text(json.dumps(champion.record, indent=2) + "\n")
        for scale in scales_of(champion.network):
            for kind in parameters.formats:
                file = folder / f"x{scale}{SUFFIXES[kind]}"
                EXPORTERS[kind](champion.network, scale, file)
                parts = [file, file.with_suffix(".bin")] if kind == "openvino" else [file]
                kilobytes = round(sum(part.stat().st_size for part in parts) / 1e3, 1)
                differences = compare(champion.network, scale, file, pictures)
                if differences["float32"][0] > parameters.maximum_difference:
                    raise ProjectError(
                        f"{file.name} differs from Keras by {differences['float32'][0]:.3f} grey "
                        f"levels; export.maximum_difference is {parameters.maximum_difference:g}"
                    )
                rows += [
                    (scale, kind, precision, kilobytes, *difference)
                    for precision, difference in differences.items()
                ]
        files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    table = pd.DataFrame(rows, columns=COLUMNS)
    logger.info("Exported, differences in grey levels:\n%s", table.round(4).to_string(index=False))
    return files, table
