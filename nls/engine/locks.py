"""One process at a time, by a lock that the kernel drops with the process, however that ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from filelock import FileLock, Timeout


@contextmanager
def alone(path: Path, waiting: str, stream: TextIO) -> Iterator[None]:
    """Hold the lock of a file, which is made if need be and stays; ``waiting`` is told where another process has it.

    Raises:
        OSError: the file cannot be made or opened.
    """
    lock = FileLock(path)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(waiting, file=stream, flush=True)
        held = lock.acquire()
    with held:
        yield
