"""What stops a verb: bad input, a run that cannot go on, a signal."""

import signal


class UserError(Exception):
    """Bad input, told in one line that names the thing and the next step.

    The command line prints the message and exits with code 2; everything else that is raised is a defect and
    keeps its traceback.
    """


class RunError(Exception):
    """A run that cannot go on, told in one line; the command line prints it and exits with code 1."""


class Interrupted(BaseException):
    """A signal asked a run to stop, and its state is on the disk."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}; the checkpoint is written")
        self.signal_number = signal_number
