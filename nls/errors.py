"""Errors that a person can mend."""


class UserError(Exception):
    """Bad input, told in one line that names the thing and the next step.

    The command line prints the message and exits with code 2; everything else that is raised is a defect and
    keeps its traceback.
    """
