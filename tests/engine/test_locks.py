"""One process at a time: who waits says so, and nobody waits for a lock that is done with."""

import fcntl
import io
import threading

from filelock import FileLock

from nls.engine.locks import alone


def is_free(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_lock_is_free_after_its_block_without_a_garbage_collector(tmp_path, monkeypatch):
    path, made = tmp_path / "lock", []
    monkeypatch.setattr("nls.engine.locks.FileLock", lambda path: made.append(FileLock(path)) or made[-1])
    with alone(path, "waiting", io.StringIO()):
        assert not is_free(path)
    assert len(made) == 1
    assert is_free(path)


def test_who_finds_a_lock_held_says_so_once_and_goes_on_when_it_is_free(tmp_path):
    path, told, went_on = tmp_path / "lock", io.StringIO(), threading.Event()

    def other():
        with alone(path, "waiting", told):
            went_on.set()

    waiting = threading.Thread(target=other)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting.start()
        assert not went_on.wait(0.5)
    waiting.join(timeout=60)
    assert went_on.is_set()
    assert told.getvalue() == "waiting\n"
