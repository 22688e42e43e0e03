import subprocess
import sys

import numpy as np

from conftest import PROJECT
from isr_pipeline.inference.measure import Job, measure
from isr_pipeline.networks import build_network


def test_jobs_are_measured_and_one_that_fails_says_why(tmp_path):
    path = tmp_path / "network.keras"
    build_network(
        "autoencoder", [2], features=4, bottleneck_features=4, blocks=0, bottleneck_blocks=0
    ).save(path)
    good, bad = measure(
        [Job(2, "keras", 16, 24, path=str(path)), Job(2, "openvino", 16, 24, path=str(path))],
        rounds=2,
        together=2,
    )
    assert good.trouble is None
    assert 0 < good.seconds < 10
    assert 100 < good.peak_mib < 4000  # TensorFlow is in it
    assert good.precision == "float32"
    assert (bad.seconds, bad.peak_mib) == (None, None)
    assert "openvino" in bad.trouble.lower()  # no graph lies beside the file


def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    ballast = np.ones(80_000_000)  # 640 MB
    code = "from isr_pipeline.inference.measure import peak_mib; print(peak_mib())"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ballast.nbytes / 2**20 > 600
    assert 5 < float(process.stdout) < 300
