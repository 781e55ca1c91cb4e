"""Weights from files as people have them, without executing code."""

import argparse
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nls.engine.checkpoint import require_checksums
from nls.errors import UserError, first_line

# Where training scripts put a state_dict, beside the epoch, the optimizer and the like.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "weights")

# What DataParallel, Lightning and other wrappers, and torch.compile put before every name.
PREFIXES = ("module.", "model.", "network.", "_orig_mod.")

# The counter that torch.optim.swa_utils.AveragedModel keeps beside the weights.
_COUNTER = "n_averaged"

_MOST_KEYS = 5
# Wrappers in one another; a file can also hold itself.
_DEEPEST = 5

# Numbers and settings that training scripts save beside the weights: building them runs no code of the file.
_HARMLESS: list[Any] = [
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    *(type(np.dtype(code)) for code in "?bhilqBHILQefd"),
    argparse.Namespace,
]


@dataclass(frozen=True)
class Unwrapped:
    """What lay between a file and the network's own ``state_dict``.

    Attributes:
        key: where in the file the weights lay, with dots between levels; empty for the file itself.
        prefix: what was removed before every name.
        dtypes: number types that were turned into the network's.
    """

    key: str
    prefix: str
    dtypes: tuple[str, ...]

    def words(self) -> str:
        """Return this in words; empty where there was nothing to unwrap."""
        parts = [
            f"taken from {self.key}" if self.key else "",
            f"the prefix {self.prefix} removed" if self.prefix else "",
            f"{', '.join(self.dtypes)} turned into the network's numbers" if self.dtypes else "",
        ]
        return "; ".join(part for part in parts if part)


def load_weights(model: nn.Module, path: Path, key: str | None = None) -> Unwrapped:
    """Put the weights of a file into ``model``, all of them or none, and return how they lay there.

    The file is a ``state_dict``, or holds one below one of :data:`WRAPPERS`, which may be nested; names may begin
    with some of :data:`PREFIXES`. Where several fit, ``key`` says which to take. Reading executes no code.

    Raises:
        UserError: the file cannot be read (see :func:`read`), has no key ``key``, or holds nothing that fits, or
            several things; the first name that is missing, or has another shape, is named.
    """
    wanted = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    content = read(path)
    found = dict(_below(content, key) if key is not None else _candidates(content))
    if not found:
        first = next(iter(wanted.items()), None)
        missing = "" if first is None else f"; the first name that is missing is {_described(*first)}"
        nothing = "was found (--weights-key names its key)" if key is None else f"under {key}"
        raise UserError(f"{path}: no state_dict {nothing}; {_kept(content)}{missing}")
    variants = {place: _best_variant(state, wanted) for place, state in found.items()}
    fitting = {place: variant for place, variant in variants.items() if not _mismatch(variant[1], wanted)}
    if len(fitting) > 1:
        raise UserError(f"{path}: {', '.join(fitting)} all fit the network: choose one with --weights-key")
    if not fitting:
        place, (_, state) = max(variants.items(), key=lambda item: _common(item[1][1], wanted))
        under = f" under {place}," if place else ""
        # The keys of the file, or of what was nearest to fit where that is the file itself.
        raise UserError(f"{path}:{under} {_mismatch(state, wanted)}; {_kept(content)}")
    ((place, (prefix, state)),) = fitting.items()
    dtypes = {str(value.dtype) for name, value in state.items() if value.dtype != wanted[name].dtype}
    model.load_state_dict({name: state.get(name, value) for name, value in wanted.items()}, strict=False)
    return Unwrapped(place, prefix, tuple(sorted(name.removeprefix("torch.") for name in dtypes)))


def read(path: Path) -> Mapping[str, Any]:
    """Read what a ``.safetensors`` file, or one of ``torch.save``, holds, which is a mapping.

    Raises:
        UserError: the file is missing or damaged, would execute code, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            require_checksums(path)
            _refuse_torchscript(path)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError) as error:
        # The reader names the function that the file asks for; a damaged file asks for none.
        if "global" in str(error).lower():
            raise UserError(
                f"{path}: refused, because reading it would execute code: save model.state_dict(), not the model"
            ) from error
        raise UserError(f"{path}: is no file of weights, or is damaged: write it anew") from error
    except (SafetensorError, RuntimeError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as weights ({first_line(error)}): write it anew") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, no state_dict: save model.state_dict()")
    return content


def _refuse_torchscript(path: Path) -> None:
    with zipfile.ZipFile(path) as parts:
        if any("/code/" in name for name in parts.namelist()):
            raise UserError(f"{path}: is a TorchScript program: save model.state_dict(), not the model")


def _candidates(content: Mapping[Any, Any], place: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield every state_dict of the file with its place: the file itself, or what lies below a wrapper's name."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        yield place, content
        return
    for name in WRAPPERS if place.count(".") < _DEEPEST else ():
        if isinstance(content.get(name), Mapping):
            yield from _candidates(content[name], f"{place}.{name}" if place else name)


def _below(content: Mapping[Any, Any], key: str) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield what lies at a key, or at a way of keys with dots between them."""
    inner: Any = _at(content, key)
    if inner is None:
        inner = content
        for name in key.split("."):
            inner = _at(inner, name) if isinstance(inner, Mapping) else None
    if isinstance(inner, Mapping):
        yield from _candidates(inner, key)


def _at(content: Mapping[Any, Any], name: str) -> Any:
    """Return what lies at a key; a file may have numbers for keys, and a command line has words."""
    return next((value for key, value in content.items() if str(key) == name), None)


def _best_variant(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[str, Mapping[str, Tensor]]:
    """Return the prefix whose removal brings most names into the network, and the state_dict without it."""
    prefix = ""
    variants = [("", state)]
    while True:
        names = [name for name in state if name != _COUNTER]
        shared = [each for each in PREFIXES if names and all(str(name).startswith(each) for name in names)]
        if not shared:
            return max(variants, key=lambda variant: _common(variant[1], wanted))
        prefix += shared[0]
        state = {name.removeprefix(shared[0]): state[name] for name in names}
        variants.append((prefix, state))


def _common(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> int:
    return sum(name in wanted for name in state)


def _mismatch(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Return the first way in which a state_dict does not fit the network; None if it fits."""
    for name, value in wanted.items():
        if name not in state:
            # Files written before PyTorch 0.4.1 lack it, and nothing but training reads it.
            if name.endswith("num_batches_tracked"):
                continue
            return f"lacks {_described(name, value)}, which the network has"
        if state[name].shape != value.shape:
            return f"{name} has shape {tuple(state[name].shape)}, the network's has {tuple(value.shape)}"
        if state[name].layout != torch.strided or state[name].is_meta:
            return f"{name} is sparse, or has no values"
        if state[name].is_floating_point() != value.is_floating_point():
            return f"{name} holds {state[name].dtype}, the network's {value.dtype}"
    extra = next((name for name in state if name not in wanted), None)
    return None if extra is None else f"holds {_described(extra, state[extra])}, which the network lacks"


def _described(name: str, value: Tensor) -> str:
    return f"{name} {tuple(value.shape)}"


def _kept(content: Mapping[Any, Any]) -> str:
    """Return the first keys of the file in words."""
    names = [str(name) for name in content]
    more = f" and {len(names) - _MOST_KEYS} more" if len(names) > _MOST_KEYS else ""
    return f"its keys are {', '.join(names[:_MOST_KEYS])}{more}" if names else "it is empty"
