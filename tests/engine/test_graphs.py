import gc
from contextlib import nullcontext
from typing import ClassVar

import pytest
import torch

from nls.engine import graphs
from nls.engine.graphs import Repeated, RepeatedLoss, call_by_call, how_repeated

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
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
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
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
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
    failed = False
    capturing: ClassVar = set()

    def __init__(self):
        self.registered = []

    def register_generator_state(self, generator):
        self.registered.append(generator)

    def capture_begin(self, pool=None):
        assert not gc.isenabled() or pool is None
        Graph.began = self
        for generator in self.registered:
            Graph.capturing.add(generator)

    def capture_end(self):
        failed, Graph.began = Graph.failed, None
        if failed:
            Graph.failed = False
            raise RuntimeError("operation failed due to a previous error during capture")
        Graph.capturing.difference_update(self.registered)

    def replay(self):
        self.recorded()


class Stream:
    def wait_stream(self, other):
        pass


@pytest.fixture
def no_gpu(monkeypatch):
    """Replace the graph, its memory and its stream."""
    monkeypatch.setattr(graphs, "_failures", [])
    monkeypatch.setattr(graphs, "_pool", lambda device: (None,))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: Graph.began is not None)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("fails", [False, True])
def test_the_way_through_a_capture(fails, capsys):
    """Once for real, once recorded, then replayed."""
    done = []

    def work():
        if Graph.began is None:
            done.append("called")
        elif fails:
            Graph.failed = True
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        else:
            Graph.began.recorded = lambda: done.append("replayed")

    repeated = Repeated(work, GPU)
    repeated(6)
    repeated(2)
    assert done == ["called"] + 7 * ["called" if fails else "replayed"]
    assert Graph.began is None
    told = "note: the GPU runs call by call, since a capture failed (operation failed due to a previous error"
    assert (told in capsys.readouterr().out) == fails


@pytest.mark.usefixtures("no_gpu")
def test_work_within_a_larger_capture_is_a_part_of_it():
    done = []
    Graph().capture_begin(None)
    Repeated(lambda: done.append(Graph.began is not None), GPU)(6)
    Graph().capture_end()
    assert done == 6 * [True]


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("fails", [False, True])
def test_the_way_through_the_capture_of_a_loss(fails, monkeypatch):
    """Twice for real, then recorded and replayed on new numbers: the same losses and gradients as call by call."""
    full = torch.full
    monkeypatch.setattr(torch, "full", lambda shape, value, device: full(shape, value))
    weight, draws = torch.nn.Parameter(torch.tensor(2.0)), torch.Generator()
    made = []

    def loss_of(x, share):
        if Graph.began is not None:
            if fails:
                Graph.failed = True
                raise RuntimeError("operation not permitted when stream is capturing\nmore")
            made.append(Graph.began)
            inputs = (x, share)
            Graph.began.recorded = lambda: repeated._with_gradient(*inputs)
        return share * x * weight**2

    repeated = RepeatedLoss(loss_of, [weight], [draws], GPU, capture=True)
    found = []
    for step in range(6):
        loss = repeated(torch.tensor(float(step)), 0.5)
        found.append((float(loss), float(weight.grad)))
    assert found == [(0.5 * step * 4, 0.5 * step * 4) for step in range(6)]
    assert repeated.failure == ("operation failed due to a previous error during capture" if fails else "")
    assert [graph.registered for graph in made] == ([] if fails else [[draws]])
    assert not Graph.capturing, "a generator would refuse to draw"


def test_a_loss_on_a_cpu_is_called_each_time():
    weight = torch.nn.Parameter(torch.tensor(2.0))
    repeated = RepeatedLoss(lambda x: x * weight, [weight], [], CPU, capture=True)
    for step in range(4):
        assert repeated(torch.tensor(float(step))) == 2 * step
        assert weight.grad == step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_of_a_loss_computes_what_calls_compute():
    results = []
    for capture in (False, True):
        draws = torch.Generator("cuda").manual_seed(0)
        weight = torch.nn.Parameter(torch.ones((), device="cuda"))

        def loss_of(x, share, weight=weight, draws=draws):
            return (share * x * weight * torch.rand(8, generator=draws, device="cuda")).sum()

        repeated = RepeatedLoss(loss_of, [weight], [draws], GPU, capture=capture)
        for step in range(6):
            loss = repeated(torch.full((8,), float(step), device="cuda"), 0.1 * step)
            results.append((float(loss), float(weight.grad)))
        assert repeated.failure == ""
    assert results[:6] == pytest.approx(results[6:])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_computes_what_calls_compute():
    results = []
    for capture in (False, True):
        points = torch.linspace(0, 1, 64, device="cuda")
        Repeated(lambda points=points: points.copy_(points.sin() + 0.1), GPU, capture=capture)(50)
        results.append(points.cpu())
    assert how_repeated(GPU) == "CUDA graphs"
    assert torch.equal(*results)


@pytest.mark.usefixtures("no_gpu")
def test_nothing_is_captured_while_operations_are_counted():
    done = []

    def work():
        done.append(Graph.began)
        if Graph.began is not None:
            Graph.began.recorded = lambda: None

    repeated = Repeated(work, GPU)
    with call_by_call():
        repeated(6)
    assert done == 6 * [None]
    repeated(6)
    assert len(done) == 8
