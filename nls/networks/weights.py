"""Weights from files, without executing code."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nls.errors import UserError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a ``state_dict`` from a ``.safetensors`` file or a file of ``torch.save``.

    Raises:
        UserError: the file is missing or damaged, would execute code, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The reader names the function that the file asks for; a damaged file asks for none.
        if "global" in str(error).lower():
            raise UserError(
                f"{path}: refused, because reading it would execute code: save model.state_dict(), not the model"
            ) from error
        raise UserError(f"{path}: is no file of weights, or is damaged: write it anew") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as weights ({reason}): write it anew") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no plain state_dict of tensors: save model.state_dict()")
    return dict(content)


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of a file into ``model``, all of them or none.

    Raises:
        UserError: see :func:`read_weights`; or names and shapes do not fit: the first mismatch is named.
    """
    weights, wanted = read_weights(path), model.state_dict()
    for name, value in wanted.items():
        if name not in weights:
            raise UserError(f"{path}: lacks {name} {tuple(value.shape)}, which the network has")
        if weights[name].shape != value.shape:
            raise UserError(
                f"{path}: {name} has shape {tuple(weights[name].shape)}, the network's has {tuple(value.shape)}"
            )
    extra = next((name for name in weights if name not in wanted), None)
    if extra is not None:
        raise UserError(f"{path}: holds {extra} {tuple(weights[extra].shape)}, which the network lacks")
    model.load_state_dict(weights)
