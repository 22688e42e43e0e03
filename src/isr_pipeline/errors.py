"""The errors that a person can mend; the command line shows them as one line."""

from collections.abc import Sequence


class ProjectError(ValueError):
    """Something in the data, the parameters or the order of commands is wrong.

    The message is one line that names the file or key and the remedy.
    """


class DivergedError(ProjectError):
    """A training whose figures were never finite: another learning rate may mend it."""


def check_word(name: str, word: object, words: Sequence[str]) -> None:
    """Refuse a word that is none of those that there are.

    Raises:
        ProjectError: naming it, and what it can be.
    """
    if word not in words:
        raise ProjectError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, not {word!r}")
