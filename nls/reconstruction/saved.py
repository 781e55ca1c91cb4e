"""A trained network in a file, and meshes of it at any resolution."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from nls.engine.files import written_whole
from nls.errors import UserError
from nls.networks.weights import load_weights, read
from nls.reconstruction.frame import Frame
from nls.reconstruction.igr import Igr
from nls.reconstruction.levelset import LevelSet
from nls.reconstruction.methods import Method
from nls.reconstruction.surface import mesh_level_set

_KEY = "nls.reconstruction"


@dataclass(frozen=True)
class SavedNetwork:
    """A network whose zero level set is a surface, and where the unit ball lies that it knows."""

    network: nn.Module
    frame: Frame

    def mesh(self, resolution: int, device: torch.device) -> trimesh.Trimesh:
        """Return the surface in the cloud's coordinates: the bytes that the reconstruction had at its resolution."""
        found, _ = mesh_level_set(self.network.to(device), resolution, device)
        found.vertices = self.frame.outside(np.asarray(found.vertices, dtype=np.float64))
        return found


def save_network(path: Path, network: nn.Module, method: Method, frame: Frame) -> None:
    """Write a network whole as safetensors, with its method's settings and the frame in the file's metadata."""
    about = {
        "method": method.model_dump(mode="json"),
        "centre": [float(value) for value in frame.centre],
        "radius": frame.radius,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with written_whole(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(about)}))


def load_network(path: Path) -> SavedNetwork:
    """Read what :func:`save_network` wrote.

    Raises:
        UserError: the file is missing or damaged, or is no saved network of a level set.
    """
    text = _metadata(path)
    try:
        about: dict[str, Any] = json.loads(text)
        method = TypeAdapter(Method).validate_python(about["method"])
        frame = Frame(np.array(about["centre"], dtype=np.float64), float(about["radius"]))
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise UserError(
            f"{path}: its settings cannot be read; it may be of another version of nls: reconstruct again"
        ) from error
    if not isinstance(method, LevelSet | Igr):
        raise UserError(f"{path}: method {method.method} has no level set to mesh")
    try:
        network = method.network_for(read(path))
    except KeyError as error:
        raise UserError(f"{path}: lacks the weights {error}: reconstruct again") from error
    load_weights(network, path)
    return SavedNetwork(network, frame)


def _metadata(path: Path) -> str:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except FileNotFoundError as error:
        raise UserError(f"cannot read {path}: there is no such file") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no safetensors file, or is damaged: save the network again") from error
    if text is None:
        raise UserError(f"{path}: is no network of `nls reconstruct --save-network`")
    return text
