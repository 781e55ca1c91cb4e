"""Memory of a loop is taken from the system once."""

import platform
import subprocess
import sys

import pytest

LOOP = """
import resource, sys
import numpy as np
from nls.engine.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()

def step():
    for megabytes in (3, 20, 9):
        np.ones(megabytes << 17)

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back that soon")
def test_a_loop_takes_its_memory_from_the_system_once():
    pages = {
        how: int(subprocess.run([sys.executable, "-c", LOOP, how], capture_output=True, check=True).stdout)
        for how in ("kept", "as found")
    }
    assert pages["kept"] < 100 < pages["as found"], pages
