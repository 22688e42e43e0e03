"""The download of the Kaggle data set, by Kaggle's own client."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isr_pipeline.sources.collection import SourceError
from isr_pipeline.sources.kaggle_layout import CSV_NAME, FOLDER, find_layout

HANDLE = "quadeer15sh/image-super-resolution-from-unsplash"


def ensure_data_set(folder: Path, handle: str = HANDLE) -> bool:
    """Download the data set into `folder` unless it is there.

    The download goes on where an interrupted one stopped, its checksum is verified, and the
    archive is unpacked only once it is whole. Needs Kaggle credentials: `~/.kaggle/kaggle.json`,
    or `KAGGLE_USERNAME` and `KAGGLE_KEY`, or `KAGGLE_API_TOKEN`.

    Returns:
        Whether something was downloaded.

    Raises:
        SourceError: what to fetch and where to put it, when it cannot be downloaded.
    """
    if check_data_set(folder, handle):
        return False
    # Imported here: kagglehub takes a second, and only a missing data set needs it.
    import kagglehub

    by_hand = _by_hand(folder, handle)
    with _cache_in(folder / ".download"):
        try:
            downloaded = Path(kagglehub.dataset_download(handle))
        except Exception as error:  # whatever the client or the network raises
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SourceError(
                f"the download of '{handle}' failed ({reason}); run the same command to go on "
                f"where it stopped, or {by_hand}"
            ) from error
    root = find_layout(downloaded)
    if root is None:
        raise SourceError(f"the download of '{handle}' holds no {CSV_NAME}: {by_hand}")
    _refuse_escapes(root)
    root.replace(folder / FOLDER)
    shutil.rmtree(folder / ".download", ignore_errors=True)
    return True


def check_data_set(folder: Path, handle: str = HANDLE) -> bool:
    """See whether the data set is in `folder`, or can be tried to be downloaded.

    Returns:
        Whether it is there.

    Raises:
        SourceError: as of `ensure_data_set`, when it is not and there are no credentials.
    """
    if find_layout(folder) is not None:
        return True
    by_hand = _by_hand(folder, handle)
    if (folder / FOLDER).exists():
        raise SourceError(
            f"'{folder / FOLDER}' is there without its {CSV_NAME}: move it away, or {by_hand}"
        )
    from kagglehub.config import get_kaggle_credentials

    try:
        credentials = get_kaggle_credentials()
    except ValueError as error:
        raise SourceError(f"{error}; mend it, or {by_hand}") from None
    if credentials is None:
        raise SourceError(
            f"the data set is not in {folder} and there are no Kaggle credentials to download "
            f"it: set KAGGLE_USERNAME and KAGGLE_KEY, or {by_hand}"
        )
    return False


def _by_hand(folder: Path, handle: str) -> str:
    return (
        f"fetch the Kaggle data set '{handle}' yourself and unpack it so that "
        f"'{folder / FOLDER / CSV_NAME}' exists"
    )


def _refuse_escapes(root: Path) -> None:
    base = root.resolve()
    for path in root.rglob("*"):
        if not path.resolve().is_relative_to(base):
            raise SourceError(
                f"the downloaded file '{path.relative_to(root)}' points outside the data set's "
                "folder: it was not taken"
            )


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Keep kagglehub's downloads in `folder` rather than in the home directory."""
    former = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(folder)
    try:
        yield
    finally:
        if former is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = former
