"""Names of the recipes by which small pictures are made of large ones, see `degradations`.

They stand alone so that the command line has them without importing what carries them out.
"""

from typing import Literal, get_args

Degradation = Literal["realistic", "bicubic", "unsplash"]
DEGRADATIONS: tuple[str, ...] = get_args(Degradation)
