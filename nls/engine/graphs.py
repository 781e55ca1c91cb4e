"""Work that is done again and again on the same tensors: on a GPU as one CUDA graph, elsewhere call by call.

A small network's step is hundreds of kernels of a few microseconds each, and Python needs longer to start them than
the GPU to run them. A graph starts them all at once. Nothing here changes what is computed.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

# A capture costs about as much as two calls.
_WORTH_CAPTURING = 4

_failures: list[str] = []


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
        if self._graph is None and self._capture and not _failures and times >= _WORTH_CAPTURING:
            self._graph = _captured(self._work, self._device)
            times -= 1
        once = self._work if self._graph is None else self._graph.replay
        for _ in range(times):
            once()


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
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        work()
        graph.capture_begin(pool=_pool(device)[0])
        try:
            try:
                work()
            finally:
                graph.capture_end()
        except RuntimeError as error:  # nothing was computed: a capture only records
            _failures.append(str(error).splitlines()[0])
            print(f"note: the GPU runs {how_repeated(device)}: slower, with the same results", flush=True)
            graph = None
    current.wait_stream(stream)
    return graph


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
