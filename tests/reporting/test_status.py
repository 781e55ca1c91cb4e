import json
import os
import re
import time

import yaml
from made_up import finish

from nls.engine.runs import HEARTBEAT
from nls.reporting.status import suite_status

BEAT = {"phase": "training", "start": 100, "step": 300, "total": 500, "phase_seconds": 20.0, "seconds": 25.0}


def suite(folder, runs):
    """A suite with one experiment; a run is named after the state that its files show."""
    now = time.time()
    for number, run in enumerate(runs):
        spec = folder / "results" / "s" / "specs" / "figure2" / f"{run}.yaml"
        spec.parent.mkdir(parents=True, exist_ok=True)
        spec.write_text(yaml.safe_dump({"run": run}))
        directory = folder / "results" / "s" / "figure2" / run
        state = run.rstrip("0123456789")
        if state != "waiting":
            directory.mkdir(parents=True)
        if state == "done":
            finish(directory, {"run": run}, {}, wall_seconds=60.0)
            os.utime(directory / "metrics.json", (now - 300 + 60 * number, now - 300 + 60 * number))
        if state == "failed":
            (directory / "failure.json").write_text(json.dumps({"reason": "RunError: the loss is nan"}))
        if state in ("running", "stopped", "attacking"):
            beat = BEAT | ({"phase": "apgd-t", "step": 0, "total": 0} if state == "attacking" else {})
            (directory / HEARTBEAT).write_text(json.dumps(beat))
        if state == "stopped":
            os.utime(directory / HEARTBEAT, (now - 3000, now - 3000))


def counts(text, experiment):
    (line,) = [line for line in text.splitlines() if line.startswith(experiment)]
    return line.split(maxsplit=7)[1:]


def test_runs_are_counted_by_state_with_rate_time_left_and_what_needs_care(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite(tmp_path, ["done0", "done1", "done2", "failed", "running", "stopped", "waiting0", "waiting1"])
    text = suite_status("s").text()
    # The running one needs 20 s more, the stopped one too, the waiting ones as long as the median of the complete.
    assert counts(text, "figure2") == ["3", "1", "1", "1", "2", "8", "3 min"]
    assert counts(text, "all") == counts(text, "figure2")
    assert "rate: 1 runs a minute" in text
    assert "running: results/s/figure2/running: training, step 300 of 500, 25 s in this job" in text
    assert (
        "failed: results/s/figure2/failed: RunError: the loss is nan; log: results/s/figure2/failed/run.log"
        in text
    )
    assert re.search("stopped: .+ last sign of life 50 min ago; the next attempt goes on", text)


def test_nothing_is_invented_where_nothing_tells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite(tmp_path, ["waiting0", "attacking"])
    text = suite_status("s").text()
    assert counts(text, "figure2") == ["0", "1", "0", "0", "1", "2", "unknown"]
    assert "rate: unknown until two runs are done" in text
    assert "attacking: apgd-t, 25 s in this job" in text


def test_a_suite_that_is_done_has_no_time_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite(tmp_path, ["done0", "done1"])
    assert counts(suite_status("s").text(), "all") == ["2", "0", "0", "0", "0", "2", "0 s"]
