"""Upscaling: find the pictures, enlarge them from file to file, insist on all of them."""

import logging
from pathlib import Path

import pandas as pd

from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.batch import FAILED, upscale_files
from isr_pipeline.inference.plan import Task, mark_results, plan, shown
from isr_pipeline.inference.upscaler import Upscaler
from isr_pipeline.pipelines.upscale.parameters import UpscaleParameters

logger = logging.getLogger(__name__)


def list_pictures(parameters: UpscaleParameters) -> list[Task]:
    """Find the pictures and give each a place in the output folder.

    Raises:
        ProjectError: when no input is named or it holds no picture.
    """
    if parameters.input is None:
        raise ProjectError(
            "say what to enlarge: kedro run --pipelines=upscale --params=upscale.input=<file or "
            "folder>,upscale.output=<folder>"
        )
    return plan(
        [Path(parameters.input)],
        Path(parameters.output),
        parameters.format and parameters.format.upper(),
    )


def upscale_pictures(
    pictures_to_upscale: list[Task], parameters: UpscaleParameters
) -> pd.DataFrame:
    """Enlarge the pictures; one that fails is left out.

    Returns:
        One row a picture: `source` and `target` (control characters and what is no text as
        escapes), `status` (`done`, `kept` or `failed`), `reason`, and `width` and `height` of the
        result.
    """
    upscaler = Upscaler(**parameters.model_dump(exclude={"input", "output", "overwrite", "format"}))
    logger.info("Enlarging x%d with %s", upscaler.scale, upscaler.description)
    mark_results([Path(str(parameters.input))], Path(parameters.output))
    batch = upscale_files(pictures_to_upscale, upscaler, parameters.overwrite, logger.warning)
    logger.info("%s", batch.summary())
    table = pd.DataFrame([vars(outcome) for outcome in batch.outcomes])
    for column in ("source", "target"):
        table[column] = table[column].map(shown)
    return table.sort_values("source", ignore_index=True)


def insist_on_results(upscaled_pictures: pd.DataFrame) -> None:
    """Fail when a picture has no result.

    Raises:
        ProjectError: saying how many, the first by name.
    """
    failed = upscaled_pictures[upscaled_pictures["status"] == FAILED]
    if len(failed):
        first = failed.iloc[0]
        raise ProjectError(
            f"{len(failed)} of {len(upscaled_pictures)} pictures failed, the first is "
            f"{first['source']} ({first['reason']}): the catalog entry upscaled_pictures has all"
        )
