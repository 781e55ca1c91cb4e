import pytest
import torch

from nls.errors import UserError
from nls.experiments import watched_run
from nls.experiments.watched_run import WatchedRun
from nls.geometry.meshing import NoSurfaceError
from nls.reconstruction.session import UnsavedSession


class KeptRun(UnsavedSession):
    """A run that keeps its last state and its timings."""

    def __init__(self, state=None):
        super().__init__(torch.device("cpu"))
        self.state, self.timings = state, {}

    def resume(self):
        return self.state

    def save_if_due(self, state):
        self.state = state()


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def process_time(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(watched_run, "time", found)
    return found


def train(watched, clock, steps, total=4):
    """Train for 10 s a step; a surface takes 500 s to extract and 50 s to measure."""

    def mesh():
        clock.now += 500
        return "surface"

    for step in steps:
        watched.save_if_due(lambda step=step: {"step": step})
        clock.now += 10
        watched.look(step + 1, total, mesh)


def watch(run, clock, shares=(0.25, 0.5)):
    def error(mesh):
        clock.now += 50
        assert mesh == "surface"
        return clock.now

    return WatchedRun(run, shares, error)


def test_the_clock_stands_still_while_a_surface_is_extracted_and_measured(clock):
    run = KeptRun()
    watched = watch(run, clock)
    assert watched.resume() is None
    train(watched, clock, range(4))
    watched.stop()
    assert watched.curve(0.25) == {"curve_steps": [1, 2, 4], "curve_errors": [1560.0, 2120.0, 0.25]}
    assert run.timings == {"curve_seconds": [10, 20, 40]}


def test_an_interrupted_run_has_the_curve_of_a_whole_one(clock):
    run = KeptRun()
    watched = watch(run, clock)
    watched.resume()
    train(watched, clock, range(3))
    # Stopped after the third step; the state is that of the beginning of that step. Days pass.
    clock.now = 7.0
    again = watch(KeptRun(run.state), clock)
    assert again.resume() == {"step": 2}
    clock.now += 10
    again.look(3, 4, None)
    clock.now += 10
    again.look(4, 4, None)
    again.stop()
    assert again.curve(0.25)["curve_steps"] == [1, 2, 4]
    assert again._run.timings == {"curve_seconds": [10, 20, 40]}


def test_a_method_without_steps_has_one_point(clock):
    run = KeptRun()
    watched = watch(run, clock)
    clock.now += 5
    watched.stop()
    clock.now += 100
    assert watched.curve(0.25) == {"curve_steps": [0], "curve_errors": [0.25]}
    assert run.timings == {"curve_seconds": [5]}


def test_where_the_level_set_does_not_cross_zero_yet_there_is_no_error(clock):
    def mesh():
        raise NoSurfaceError("the level set never crosses zero")

    watched = watch(KeptRun(), clock)
    watched.look(1, 4, mesh)
    watched.look(4, 4, mesh)
    assert watched.curve(0.25)["curve_errors"] == [None, 0.25]


def test_any_other_bad_input_stops_the_run(clock):
    def mesh():
        raise UserError("the method must return a mesh")

    with pytest.raises(UserError, match="must return a mesh"):
        watch(KeptRun(), clock).look(1, 4, mesh)
