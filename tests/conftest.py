"""What the whole suite shares."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("DO_NOT_TRACK", "true")

PROJECT = Path(__file__).resolve().parents[1]


def shared_pictures() -> Path:
    """Folder of real pictures: ISR_SHARED_DATA, or `shared/data` beside the project."""
    return Path(os.environ.get("ISR_SHARED_DATA", PROJECT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def unsplash_folder() -> Path:
    """A real part of the Kaggle data set."""
    folder = shared_pictures() / "unsplash"
    if not folder.is_dir():
        pytest.skip(f"no real part of the Kaggle data set in {folder} (set ISR_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def set5_folder() -> Path:
    """Set5 with its MATLAB-made low-resolution pictures."""
    folder = shared_pictures() / "benchmarks" / "Set5"
    if not folder.is_dir():
        pytest.skip(f"no Set5 in {folder} (set ISR_SHARED_DATA)")
    return folder


@pytest.fixture
def photograph() -> np.ndarray:
    """A made picture with edges, slopes and texture: `(96, 144, 3)`, uint8."""
    return made_photograph(96, 144, seed=0)


def made_photograph(height: int, width: int, seed: int) -> np.ndarray:
    """Overlapping shaded discs on a slope with some texture; no two seeds alike."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    picture = np.stack([x / width, y / height, (x + y) / (width + height)], axis=-1) * 120 + 40
    for _ in range(12):
        centre = generator.uniform(0, 1, 2) * (height, width)
        radius = generator.uniform(0.08, 0.3) * min(height, width)
        inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        picture[inside] = generator.uniform(0, 255, 3) * 0.8 + picture[inside] * 0.2
    picture += generator.normal(0, 4, picture.shape) * (np.sin(x / 5)[..., None] > 0)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@pytest.fixture
def run(tmp_path):
    """An open run in a database of its own."""
    import mlflow

    from isr_pipeline import tracking

    former = mlflow.get_tracking_uri()
    tracking.start_afresh()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = mlflow.create_experiment("test", artifact_location=str(tmp_path / "artifacts"))
    with mlflow.start_run(experiment_id=experiment) as active:
        yield active
    mlflow.set_tracking_uri(former)
    tracking.start_afresh()


@pytest.fixture
def as_anybody():
    """A folder of somebody who may not read everything, as root may."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.geteuid()
        if before == 0:
            Path(folder).chmod(0o755)
            os.chown(folder, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            for path in Path(folder).rglob("*"):
                path.chmod(0o755)
            os.seteuid(before)
