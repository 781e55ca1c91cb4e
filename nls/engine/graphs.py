"""Work that is done again and again on the same tensors: on a GPU as one CUDA graph, elsewhere call by call.

A small network's step is hundreds of kernels of a few microseconds each, and Python needs longer to start them than
the GPU to run them. A graph starts them all at once. Nothing here changes what is computed.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nls.errors import UserError, first_line

# A capture costs about as much as two calls.
_WORTH_CAPTURING = 4
# In these libraries set themselves up, and choose their kernels.
_ORDINARY_CALLS = 2

_failures: list[str] = []
_captures = True


@contextmanager
def call_by_call() -> Iterator[None]:
    """Capture no repeated steps meanwhile: for what counts operations, which sees nothing of a replay."""
    global _captures
    before, _captures = _captures, False
    try:
        yield
    finally:
        _captures = before


class Repeated:
    """``work``, called as often as asked for.

    On a GPU the first call is an ordinary one, in which libraries set themselves up; the second is captured as a
    CUDA graph, and all further ones replay it. If ``work`` cannot be captured (it looks at a value, say), it is
    called each time instead: that is printed once, and :func:`how_repeated` says it to reports and provenance.

    Args:
        work: reads and writes the same tensors in place every time, and returns nothing.
        device: where these tensors are.
        capture: False for work that must not be captured, such as one that draws random numbers.
    """

    def __init__(self, work: Callable[[], None], device: torch.device, *, capture: bool = True) -> None:
        self._work = work
        self._device = device
        self._capture = capture and device.type == "cuda"
        self._graph: Any = None

    def __call__(self, times: int) -> None:
        """Do the work ``times`` times."""
        if self._graph is None and times >= _WORTH_CAPTURING and self._may_capture():
            self._graph = _captured(self._work, self._device)
            times -= 1
        once = self._work if self._graph is None else self._graph.replay
        for _ in range(times):
            once()

    def _may_capture(self) -> bool:
        # Within a larger graph the work is a part of that one.
        return self._capture and _captures and not _failures and not torch.cuda.is_current_stream_capturing()


class RepeatedLoss:
    """A training loss and its gradient, on other numbers in every step.

    On a GPU the first two calls are ordinary ones; the third is captured as a CUDA graph, searches within the loss
    and the backward pass included, and it and all further ones replay that. If it cannot be captured, it is called
    each time instead, and ``failure`` says why.

    Args:
        loss_of: numbers and tensors of fixed shapes → a loss; on a GPU it gets 0-dimensional tensors for the numbers.
        parameters: that take the gradients, in ``grad``; an optimizer changes them in place.
        generators: what the loss draws from.
        capture: False for a loss whose steps differ in kind, or that needs a value on the way.
        backward: makes the gradients of the loss.

    Attributes:
        failure: why the loss is called each time on a GPU; empty where it is not so.
    """

    def __init__(
        self,
        loss_of: Callable[..., Tensor],
        parameters: Sequence[Tensor],
        generators: Sequence[torch.Generator],
        device: torch.device,
        *,
        capture: bool,
        backward: Callable[[Tensor], None] = Tensor.backward,
    ) -> None:
        self._loss_of, self._parameters, self._generators = loss_of, parameters, generators
        self._backward = backward
        self._device = device
        self._capture = capture and device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(device) if self._capture else None
        self._calls = 0
        self._graph: Any = None
        self._inputs: list[Tensor] = []
        self._loss = torch.empty(0)
        self.failure = ""

    def __call__(self, *inputs: Tensor | float) -> Tensor:
        """Return the loss, detached; the parameters' gradients are those of this call alone."""
        if self._graph is None and self._capture:
            self._on_side_stream(inputs)
        elif self._graph is None:
            self._with_gradient(*inputs)
        if self._graph is not None:
            for mine, value in zip(self._inputs, inputs, strict=True):
                mine.copy_(value) if isinstance(value, Tensor) else mine.fill_(value)
            self._graph.replay()
        return self._loss.clone()

    def _with_gradient(self, *inputs: Tensor | float) -> None:
        for parameter in self._parameters:
            parameter.grad = None
        loss = self._loss_of(*inputs)
        self._backward(loss)
        self._loss = loss.detach()

    def _on_side_stream(self, inputs: Sequence[Tensor | float]) -> None:
        """Make an ordinary call, or after two of them a graph, where graphs are captured: not on the main stream."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            if self._calls < _ORDINARY_CALLS:
                self._with_gradient(*inputs)
                self._calls += 1
            else:
                self._record(inputs)
                if self._graph is None:
                    self._with_gradient(*inputs)
        current.wait_stream(self._stream)

    def _record(self, inputs: Sequence[Tensor | float]) -> None:
        """Capture the loss and its gradients; give it up for good if that fails."""
        self._inputs = [_as_tensor(value, self._device) for value in inputs]
        self._graph, self.failure = _recorded(lambda: self._with_gradient(*self._inputs), self._generators)
        self._capture = not self.failure


def _as_tensor(value: Tensor | float, device: torch.device) -> Tensor:
    return value.clone() if isinstance(value, Tensor) else torch.full((), value, device=device)


def how_repeated(device: torch.device) -> str:
    """Return how repeated steps run on the device: call by call, or as CUDA graphs."""
    if device.type != "cuda":
        return "call by call"
    return f"call by call, since a capture failed ({_failures[0]})" if _failures else "CUDA graphs"


def _captured(work: Callable[[], None], device: torch.device) -> Any:
    """Do the work once and return a graph of it, or None, with the reason printed, if it cannot be captured."""
    current = torch.cuda.current_stream(device)
    stream = torch.cuda.Stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        work()
        graph, failure = _recorded(work, pool=_pool(device)[0])
    if failure:
        _failures.append(failure)
        print(f"note: the GPU runs {how_repeated(device)}: slower, with the same results", flush=True)
    current.wait_stream(stream)
    return graph


def _recorded(
    work: Callable[[], None], generators: Sequence[torch.Generator] = (), pool: Any = None
) -> tuple[Any, str]:
    """Return a graph of the work on the current stream, or None and why it cannot be captured."""
    graph: Any = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with _no_collection():
        graph.capture_begin(pool=pool)
        try:
            try:
                work()
            finally:
                graph.capture_end()
        except (RuntimeError, UserError) as error:  # nothing was computed: a capture only records
            _leave_capture_mode(generators)
            return None, first_line(error)
    return graph, ""


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let Python collect no garbage meanwhile: a graph that is freed during a capture ends it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _leave_capture_mode(generators: Sequence[torch.Generator]) -> None:
    """Let generators draw again after a capture that failed, which leaves them waiting for its end (torch 2.11)."""
    graph: Any = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    graph.capture_begin()
    graph.capture_end()


@cache
def _pool(device: torch.device) -> tuple[Any, Any, Any]:
    """Return the memory that all graphs share, with what keeps it alive.

    They may share it because they run one after another and leave nothing in it.
    """
    pool, keeper, held = torch.cuda.graph_pool_handle(), torch.cuda.CUDAGraph(), torch.zeros(1, device=device)
    keeper.capture_begin(pool=pool)
    held.add_(1)
    keeper.capture_end()
    return pool, keeper, held
