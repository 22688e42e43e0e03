"""The errors that a person can mend; the command line shows them as one line."""


class ProjectError(ValueError):
    """Something in the data, the parameters or the order of commands is wrong.

    The message is one line that names the file or key and the remedy.
    """


class DivergedError(ProjectError):
    """A training whose figures were never finite: another learning rate may mend it."""
