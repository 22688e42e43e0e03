"""Where our own datasets keep their files: on this machine's disks."""

from pathlib import Path

from isr_pipeline.errors import ProjectError


def local_path(filepath: str) -> Path:
    """A path on a disk: files here are written whole or not at all, which takes renaming.

    Raises:
        ProjectError: for an address such as `s3://bucket/network.keras`.
    """
    if "://" in str(filepath):
        raise ProjectError(
            f"{filepath} is no path of this machine, which this kind of catalog entry needs: mount "
            "it, or copy the files there after the run"
        )
    return Path(filepath)
