"""One way to try a hostile input: the real command line, in a folder whose every byte is compared afterwards."""

import hashlib
import sys

import pytest

from nls.cli import main

# Where runs keep their reasons, and data sets their locks, downloads that can go on, and decoded copies.
_MAY_CHANGE = {"results", ".cache", ".fetch", ".npz"}


def contents(folder):
    """Return a digest of every file below a folder, and what every link points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif not path.is_dir() and not _MAY_CHANGE & set(path.relative_to(folder).parts):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "special"
    return found


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Return a function that runs one command, which must be refused in one line without touching a file.

    It takes the words of the command, the exit code (2: bad input, 1: it cannot go on) and words that the line
    must hold, and returns the line.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as Python usually is

    def run(words, *told, code=2):
        before = contents(tmp_path)
        try:
            found = main([str(word) for word in words])
        except SystemExit as stop:
            found = stop.code
        error = capfd.readouterr().err
        assert found == code, error
        # Frames of a user's own code may stand below the line.
        lines = [line for line in error.splitlines() if line.strip() and not line.startswith("  ")]
        assert len(lines) == 1, error
        assert "Traceback" not in error
        for word in told:
            assert word in error
        assert contents(tmp_path) == before
        return lines[0]

    return run
