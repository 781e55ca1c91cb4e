"""kill −9 at random moments of every phase: what is left in the end is what nothing disturbed leaves."""

import collections
import functools
import hashlib
import http.server
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import SECONDS_OF_A_WRITE, SECONDS_OF_AN_EVALUATION, Watched, run_to_end
from workspace import Workspace, results_of

from nls.data.download import download

# Four kills in each phase: what is at work in it, a few times so that chance can choose.
PLAN = {
    "training": ("figure1", "figure2", "table1", "figure3"),
    "evaluation": ("figure2", "table1"),
    "meshing": ("figure3",),
    "writing": ("figure1", "figure2", "table1", "figure3", "table"),
    "download": ("download",),
}
KILLS = 20
# Seconds within which the kill comes after the phase began.
WITHIN = {
    "training": 0.2,
    "evaluation": 2 * SECONDS_OF_AN_EVALUATION,
    "meshing": 0.1,
    "download": 0.2,
    "writing": SECONDS_OF_A_WRITE,
}
# Files that are written before the one in which the kill comes: at most so many.
WRITES = 8


@dataclass(frozen=True)
class Target:
    """Something that can be killed and started again: its work, how to forget it, and what it must leave."""

    work: list[str] | Callable[[], object]
    result: Path
    expected: object
    read: Callable[[Path], object]


@pytest.mark.workflow
def test_kill_9_at_twenty_random_moments(
    workspace: Workspace,
    undisturbed: dict[str, dict[str, str]],
    slow_server: str,
    tmp_path: Path,
    tell: Callable[[str], None],
) -> None:
    seed = time.time_ns() % 100_000
    print(f"seed {seed}")
    chance = random.Random(seed)
    targets = _targets(workspace, undisturbed, slow_server, tmp_path)
    hit: collections.Counter[str] = collections.Counter()
    victims: collections.Counter[str] = collections.Counter()
    compared = 0
    log = tmp_path / "log"
    phases = [phase for phase in PLAN for _ in range(KILLS // len(PLAN))]
    chance.shuffle(phases)
    for phase in phases:
        kind = chance.choice(PLAN[phase])
        name = chance.choice([name for name in targets if name.split("/")[0] == kind])
        target = targets[name]
        struck, attempts = False, 0
        while not struck:
            attempts += 1
            assert attempts <= 20, (
                f"{name} is never killed in phase {phase}: do its functions have other names?"
            )
            victim = Watched(target.work, workspace.folder, log)
            if phase == "writing":  # in any file; in an earlier one than last time, if there was none so late
                for _ in range(chance.randint(0, WRITES // attempts)):
                    victim.let_pass(phase)
            if victim.wait_for(phase):
                time.sleep(chance.random() * WITHIN[phase])
            victim.process.kill()
            killed = victim.end() == -signal.SIGKILL
            struck = killed and victim.phase == phase
            if killed:
                hit[victim.phase] += 1
                victims[name] += 1
            # Ended before the kill, or killed often enough: look at it.
            if not killed or chance.random() < 0.3:
                compared += _finish_and_compare(name, target, workspace.folder, log)
    for name, target in targets.items():
        compared += _finish_and_compare(name, target, workspace.folder, log)

    tell(
        f"kill -9: {hit.total()} kills (seed {seed}); in phase: {dict(hit)}\n"
        f"killed: {dict(victims)}; {compared} results compared, all as undisturbed"
    )
    assert all(hit[phase] >= KILLS // len(PLAN) for phase in PLAN), hit


def _finish_and_compare(name: str, target: Target, folder: Path, log: Path) -> int:
    code = run_to_end(target.work, folder, log)
    assert code == 0, f"{name}: {log.read_text()}"
    assert target.read(target.result) == target.expected, name
    if target.result.is_dir():
        shutil.rmtree(target.result)
    else:
        target.result.unlink()
    return 1


def _targets(
    workspace: Workspace, undisturbed: dict[str, dict[str, str]], address: str, folder: Path
) -> dict[str, Target]:
    targets = {
        run: Target(workspace.verb(run, folder / run), folder / run, undisturbed[run], results_of)
        for run in workspace.runs()
    }
    complete = workspace.folder / "results" / "faults" / "figure2"
    for run in workspace.runs():
        if run.startswith("figure2/"):
            shutil.copytree(
                workspace.folder / "undisturbed" / run, complete / Path(run).name, dirs_exist_ok=True
            )
    table = ["table", "figure2", "--suite", "faults"]
    product = workspace.folder / "reports" / "faults" / "figure2.csv"
    assert run_to_end(table, workspace.folder, folder / "log") == 0, (folder / "log").read_text()
    targets["table/figure2"] = Target(table, product, product.read_bytes(), Path.read_bytes)
    fetched = folder / "fetched"
    targets["download/file"] = Target(
        functools.partial(download, [f"{address}/file"], fetched, hashlib.md5(CONTENT).hexdigest()),
        fetched,
        CONTENT,
        Path.read_bytes,
    )
    return targets


CONTENT = random.Random(0).randbytes(1 << 20)


@pytest.fixture
def slow_server() -> Iterator[str]:
    """Serve one file in a second, from any byte on."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            try:
                for at in range(start, len(CONTENT), 1 << 14):
                    self.wfile.write(CONTENT[at : at + (1 << 14)])
                    time.sleep(0.015)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client was killed

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
