from types import SimpleNamespace

import pytest

from isr_pipeline.errors import ProjectError
from isr_pipeline.inference import memory


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("800MB", 800_000_000),
        ("1.5GiB", 3 * 2**29),
        ("2g", 2_000_000_000),
        (" 64 KiB", 65536),
        (4096, 4096),
    ],
)
def test_amounts_are_understood(text, amount):
    assert memory.parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1.5.2GB", "3 parsec", "i"])
def test_what_is_no_amount_is_named(text):
    with pytest.raises(ProjectError, match="no amount of memory"):
        memory.parse_bytes(text)


def test_the_default_leaves_most_of_the_free_memory():
    assert memory.resident() < memory.default_limit() < memory.resident() + 0.3 * memory.free()


@pytest.mark.parametrize(
    ("limit", "inactive", "expected"),
    [(2**20, 0, 2**18), (2**20, 2**18, 2**19), (2**19, 0, 0), ("max", 0, None)],
)
def test_a_containers_limit_counts_without_the_files_that_it_keeps_in_memory(
    limit, inactive, expected, tmp_path, monkeypatch
):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{3 * 2**18}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    available = SimpleNamespace(available=2**30)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: available)
    assert memory.free() == (2**30 if expected is None else expected)
