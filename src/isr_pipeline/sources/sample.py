"""The embedded sample: everyday colour photographs that ship inside installed packages.

| name | from | licence, as the package states it |
|---|---|---|
| astronaut | scikit-image | NASA, public domain |
| chelsea | scikit-image | CC0, Stefan van der Walt |
| coffee | scikit-image | CC0, Rachel Michetti |
| rocket | scikit-image | SpaceX, public domain |
| china | scikit-learn | CC BY 2.0, danielbuechele |
| flower | scikit-learn | CC BY 2.0, vultilion |
| grace_hopper | Matplotlib | US Navy, public domain |

They are written once into the Kaggle data set's layout by its own recipe, so that everything
after reads them exactly like the real thing.
"""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.sources.kaggle_layout import find_layout, write_kaggle_layout

SCALES = (2, 4, 6)
_FILES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}


def sample_photographs() -> Iterator[tuple[str, Picture]]:
    """The sample's photographs, one by one: name and `(height, width, 3)` uint8 RGB."""
    for name, (package, path) in _FILES.items():
        data = resources.files(package).joinpath(path).read_bytes()
        yield name, decode_picture(data).pixels


def ensure_sample(folder: Path) -> bool:
    """Write the sample into `folder` unless it is there.

    Returns:
        Whether it was written.
    """
    if find_layout(folder) is not None:
        return False
    write_kaggle_layout(folder, sample_photographs(), SCALES)
    return True
