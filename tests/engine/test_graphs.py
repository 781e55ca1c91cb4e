from contextlib import nullcontext

import pytest
import torch

from nls.engine import graphs
from nls.engine.graphs import Repeated, how_repeated

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Recorded:
    """A stand-in for a CUDA graph: replaying it does the work that was recorded."""

    def __init__(self, work):
        self.replay = work


@pytest.fixture
def counter():
    total = torch.zeros(())
    return total, lambda: total.add_(1)


@pytest.mark.parametrize("times", [0, 1, 3, 12])
def test_work_is_done_as_often_as_asked_for(times, counter, monkeypatch):
    """On a GPU too, where the first call happens before the capture; the capture itself is replaced here."""

    def captured(work, device):
        work()
        return Recorded(work)

    monkeypatch.setattr(graphs, "_captured", captured)
    total, work = counter
    for device in (CPU, GPU):
        total.zero_()
        repeated = Repeated(work, device)
        repeated(times)
        repeated(7)
        assert total == times + 7


def test_what_cannot_be_captured_is_called_each_time_and_told(counter, monkeypatch):
    monkeypatch.setattr(graphs, "_failures", [])

    def captured(work, device):
        work()
        graphs._failures.append("an operation looks at a value")

    monkeypatch.setattr(graphs, "_captured", captured)
    assert how_repeated(CPU) == "call by call"
    assert how_repeated(GPU) == "CUDA graphs"
    total, work = counter
    Repeated(work, GPU)(9)
    Repeated(work, GPU)(9)
    assert total == 18
    assert how_repeated(GPU) == "call by call, since a capture failed (an operation looks at a value)"


def test_work_that_draws_random_numbers_is_not_captured(counter, monkeypatch):
    monkeypatch.setattr(graphs, "_captured", None)
    total, work = counter
    Repeated(work, GPU, capture=False)(9)
    assert total == 9


class Graph:
    """A CUDA graph as far as the way through it goes: what is asked between begin and end is replayed later."""

    began = None

    def capture_begin(self, pool):
        Graph.began = self

    def capture_end(self):
        Graph.began = None

    def replay(self):
        self.recorded()


class Stream:
    def wait_stream(self, other):
        pass


@pytest.mark.parametrize("fails", [False, True])
def test_the_way_through_a_capture(fails, monkeypatch, capsys):
    """Once for real, once recorded, then replayed; the graph, its memory and its stream are replaced here."""
    monkeypatch.setattr(graphs, "_failures", [])
    monkeypatch.setattr(graphs, "_pool", lambda device: (None,))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    done = []

    def work():
        if Graph.began is None:
            done.append("called")
        elif fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        else:
            Graph.began.recorded = lambda: done.append("replayed")

    repeated = Repeated(work, GPU)
    repeated(6)
    repeated(2)
    assert done == ["called"] + 7 * ["called" if fails else "replayed"]
    assert Graph.began is None
    told = "note: the GPU runs call by call, since a capture failed (operation not permitted"
    assert (told in capsys.readouterr().out) == fails


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_computes_what_calls_compute():
    results = []
    for capture in (False, True):
        points = torch.linspace(0, 1, 64, device="cuda")
        Repeated(lambda points=points: points.copy_(points.sin() + 0.1), GPU, capture=capture)(50)
        results.append(points.cpu())
    assert how_repeated(GPU) == "CUDA graphs"
    assert torch.equal(*results)
