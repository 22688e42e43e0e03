"""The command `isr`: enlarge pictures, see what can, and how it compares.

Nothing heavy is imported before it is needed: the first picture is to be out in seconds.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.recipe_names import DEGRADATIONS
from isr_pipeline.terminal import say

SCREENFUL = 20
"""Pictures of a batch whose lines are still to be seen at its end."""
FORMATS = ("jpeg", "png", "webp", "tiff", "bmp")


class _Place(click.Path):
    """A path; an empty one, as of a variable that is not set, is not the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the name is empty", param, ctx)
        return super().convert(value, param, ctx)


PICTURE = _Place(path_type=Path)


class _Group(click.Group):
    """Shows errors that a person can mend as one line."""

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stderr is None:  # closed: what is opened next would be taken for it
            sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
        try:
            return super().invoke(ctx)
        except ProjectError as error:
            say(f"Error: {error}")
            ctx.exit(1)
        finally:
            try:
                sys.stderr.flush()
            except OSError:  # nobody reads it any more, which is not this program's failure
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="isr_pipeline")
def main() -> None:
    """Make pictures larger."""


def _network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "--scale",
            "-s",
            type=click.IntRange(min=2),
            default=2,
            show_default=True,
            help="integer factor",
        ),
        click.option(
            "--model",
            "-m",
            help="of `isr models`, or a .keras file [the best for scale and degradation]",
        ),
        click.option(
            "--degradation",
            "-d",
            type=click.Choice(DEGRADATIONS),
            help="what the network was trained against [realistic, or what --model is for]",
        ),
        click.option(
            "--engine",
            type=click.Choice(["auto", "openvino", "keras"]),
            default="auto",
            show_default=True,
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16"]),
            default="auto",
            show_default=True,
        ),
        click.option(
            "--max-memory",
            metavar="AMOUNT",
            help="of the whole process, such as 1.5GiB [a quarter of what is free]",
        ),
        click.option(
            "--back-projection",
            is_flag=True,
            help="correct the result until it reduces to the original",
        ),
        click.option(
            "--self-ensemble", is_flag=True, help="mean of eight views: better, 8 times slower"
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("pictures", nargs=-1, required=True, type=PICTURE)
@click.option(
    "--output",
    "-o",
    type=PICTURE,
    default=Path("upscaled"),
    show_default=True,
    help="folder for the results, or a file for one picture",
)
@click.option("--overwrite", is_flag=True, help="do again what is there already")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="of the results [each as its original]",
)
@_network_options
def upscale(
    pictures: tuple[Path, ...],
    output: Path,
    overwrite: bool,
    file_format: str | None,
    **network: Any,
) -> None:
    """Enlarge PICTURES: files, or folders with everything in them."""
    from isr_pipeline.inference.batch import upscale_files
    from isr_pipeline.inference.plan import mark_results, plan, shown
    from isr_pipeline.inference.upscaler import Upscaler

    tasks = plan(pictures, output, file_format and file_format.upper())
    upscaler = Upscaler(**network)
    say(f"x{upscaler.scale} with {upscaler.description}")
    mark_results(pictures, output)
    try:
        batch = upscale_files(tasks, upscaler, overwrite)
    except KeyboardInterrupt:
        say("Stopped. The same command goes on where this one ended.")
        sys.exit(130)
    say(f"{batch.summary()}: {shown(output)}")
    if batch.failed and len(batch.outcomes) > SCREENFUL:
        # Each was named when it failed, which has scrolled away.
        say("Failed:")
        for outcome in batch.failed:
            say(f"  {shown(outcome.source)}: {outcome.reason}")
    if batch.failed:
        sys.exit(1)


@main.command()
def models() -> None:
    """List the networks that are available."""
    from isr_pipeline.inference.models import project_folder, table

    rows = table(project_folder())
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@main.command()
@click.argument("picture", type=PICTURE)
@click.option(
    "--output", "-o", type=PICTURE, default=Path("panel.png"), show_default=True, help="a picture"
)
@click.option("--overwrite", is_flag=True, help="replace a panel that is there already")
@_network_options
def compare(picture: Path, output: Path, overwrite: bool, **network: Any) -> None:
    """Write a panel of PICTURE enlarged by bicubic interpolation and by the network.

    Below the whole picture, the places where they differ most.
    """
    from isr_pipeline.inference.panel import check_output, compare_file
    from isr_pipeline.inference.plan import shown
    from isr_pipeline.inference.upscaler import Upscaler

    check_output(picture, output, overwrite)  # before the network takes its time
    upscaler = Upscaler(**network)
    say(f"x{upscaler.scale} with {upscaler.description}")
    compare_file(picture, output, upscaler, overwrite)
    say(shown(output))


@main.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=7860,
    show_default=True,
    help="of this machine",
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0, min_open=True),
    default=50.0,
    show_default=True,
    help="larger pictures are refused, and results of more than four times as many",
)
def serve(port: int, max_megapixels: float) -> None:
    """Show a page on this machine where pictures can be dropped, enlarged and compared."""
    from isr_pipeline.page import serve

    serve(port, max_megapixels)


if __name__ == "__main__":
    main()
