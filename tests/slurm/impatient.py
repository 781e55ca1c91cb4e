"""Snakemake that looks at its SLURM jobs every second.

The plugin looks ten seconds later each time that no job has ended, which is right for days of jobs and would be most
of the time of these tests. There is no setting for it.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)

if __name__ == "__main__":
    sys.exit(main())
