import numpy as np

from isr_pipeline.inference.ensemble import self_ensemble


def doubled(picture):
    return picture.repeat(2, 0).repeat(2, 1)


def leaning(picture):
    """Doubles the picture and brightens it towards the bottom right, whatever it shows."""
    result = doubled(picture)
    y, x = np.mgrid[: result.shape[0], : result.shape[1]]
    return result + (0.1 * y + 0.01 * x).astype(np.float32)[..., None]


def test_every_result_is_turned_back():
    picture = np.random.default_rng(0).random((5, 7, 3), np.float32)
    assert np.allclose(self_ensemble(doubled, picture), doubled(picture), atol=1e-6)


def test_the_eight_views_are_all_different():
    seen = []

    def look(picture):
        seen.append(picture.tobytes() + bytes(picture.shape[:1]))
        return doubled(picture)

    self_ensemble(look, np.random.default_rng(0).random((5, 7, 3), np.float32))
    assert len(set(seen)) == len(seen) == 8


def test_the_mean_has_no_direction():
    picture = np.random.default_rng(0).random((6, 6, 3), np.float32)
    result = self_ensemble(leaning, picture)
    for turn in (np.flipud, np.fliplr, np.rot90):
        assert np.allclose(self_ensemble(leaning, turn(picture)), turn(result), atol=1e-5)
