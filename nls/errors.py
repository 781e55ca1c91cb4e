"""Errors that a person can mend."""


class UserError(Exception):
    """Bad input, told in one line that names the thing and the next step.

    The command line prints the message and exits with code 2; everything else that is raised is a defect and
    keeps its traceback.
    """


class RunError(Exception):
    """A run that cannot go on, told in one line; the command line prints it and exits with code 1."""
