import sys
from types import SimpleNamespace

import pytest

from inference.doubles import LocalEngine
from isr_pipeline import weights


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """An empty folder of shipped weights, and an empty working folder."""
    shipped, working = tmp_path / "shipped", tmp_path / "working"
    shipped.mkdir()
    working.mkdir()
    monkeypatch.setattr(weights, "FOLDER", shipped)
    monkeypatch.chdir(working)
    return SimpleNamespace(shipped=shipped, working=working)


@pytest.fixture
def double_engine(monkeypatch):
    """`open_engine` gives a double for whatever it is asked; what was asked is recorded."""
    opened = []

    def open_engine(source, scale, engine="auto", precision="auto"):
        opened.append((source, scale, engine, precision))
        return LocalEngine(scale)

    monkeypatch.setitem(
        sys.modules, "isr_pipeline.inference.engines", SimpleNamespace(open_engine=open_engine)
    )
    return opened
