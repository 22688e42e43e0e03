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
