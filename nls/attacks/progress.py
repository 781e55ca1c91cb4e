"""How far an attack on a model is: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nls.attacks.cost import GRADIENT, most_passes
from nls.attacks.library import AUTOATTACK, LIBRARY_ATTACKS, Effort
from nls.attacks.report import PGD_ATTACKS, CarryOut
from nls.engine.progress import LINE_SECONDS


@contextmanager
def shown(
    model: nn.Module,
    examples: int,
    classes: int,
    attacks: Sequence[str],
    effort: Effort,
    *,
    steps: int,
    restarts: int,
) -> Iterator[CarryOut]:
    """Yield what carries out the pieces of :func:`nls.attacks.attack` and shows how far they are.

    The bar counts examples that passed through the model, :data:`GRADIENT` times with a gradient. What is to come is
    the most that it can be: examples that break leave early, and the time left shrinks faster than it passes.
    """
    # In the order of the work.
    names = [name for name in attacks if name in PGD_ATTACKS]
    names += [name for name in attacks if name in LIBRARY_ATTACKS]
    names += [name for name in AUTOATTACK if "autoattack" in attacks and name not in names]
    starts, total = {}, 0
    for name in names:
        starts[name] = total
        total += examples * most_passes(name, effort, classes, steps=steps, starts=restarts)
    bar = tqdm(
        total=total,
        disable=None,
        dynamic_ncols=True,
        bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed} gone, at most {remaining} left",
    )
    spoken = time.monotonic()

    def count(model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        onward(bar.n + len(inputs[0]) * (GRADIENT if torch.is_grad_enabled() else 1))

    def onward(place: float) -> None:
        bar.update(max(0, min(place, total) - bar.n))

    def carry_out(work: str, do: Callable[[], Tensor]) -> Tensor:
        nonlocal spoken
        # The attacks before are over, however much they left out.
        onward(starts.get(work.partition(",")[0], 0))
        bar.set_description(work)
        if bar.disable and time.monotonic() - spoken > LINE_SECONDS:
            spoken = time.monotonic()
            print(work, flush=True)
        return do()

    hook = model.register_forward_hook(count)
    try:
        with bar:
            yield carry_out
            onward(total)
    finally:
        hook.remove()
