"""Networks in files: sparse weights in safetensors, and ONNX for everything else."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nls.engine.files import written_whole
from nls.errors import UserError, first_line
from nls.universality.network import ReLUNetwork, SparseLinear

_FORMAT = "nls.universality.ReLUNetwork 1"
_PARTS = ("rows", "columns", "values", "bias")


def save_network(network: ReLUNetwork, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a network as safetensors, whole or not at all.

    For layer ``i`` it holds the compressed rows ``i.rows`` (out + 1), ``i.columns`` and ``i.values`` (one entry a
    weight) and ``i.bias`` (out); between the layers is a ReLU.

    Args:
        network: the network.
        path: where to.
        notes: text to keep in the file's header.
    """
    tensors = {
        f"{i}.{part}": getattr(layer, part).detach().cpu()
        for i, layer in enumerate(network.layers)
        for part in _PARTS
    }
    header = {**(notes or {}), "format": _FORMAT, "dimension": str(network.dimension)}
    with written_whole(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_network(path: str | Path) -> ReLUNetwork:
    """Read a network that ``save_network`` wrote.

    Raises:
        UserError: if the file is missing, is not such a file, or its parts do not fit together.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if header.get("format") != _FORMAT:
        raise UserError(f"{path} is not a network written by `nls represent`; write it anew")
    layers: list[SparseLinear] = []
    try:
        width = int(header["dimension"])
        for i in range(len(tensors) // len(_PARTS)):
            rows, columns, values, bias = (tensors[f"{i}.{part}"] for part in _PARTS)
            size = (len(bias), width)
            weight = torch.sparse_csr_tensor(rows, columns, values, size, check_invariants=True)
            layers.append(SparseLinear(weight, bias))
            width = len(bias)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); write it anew") from error
    return ReLUNetwork(layers)


def export_onnx(network: ReLUNetwork, path: str | Path) -> None:
    """Write a network as ONNX: ``Gemm`` and ``Relu`` on an input ``points`` (n, d) and an output ``values`` (n, 1).

    The weights are dense there, since not every tool reads sparse ones.

    Raises:
        UserError: if the package onnx is missing.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise UserError("ONNX export needs the package onnx; run `pip install nls[onnx]`") from error
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(str(network.dtype).removeprefix("torch.")))
    nodes, weights, last = [], [], "points"
    for i, layer in enumerate(network.layers):
        output = "values" if i == network.depth else f"linear{i}"
        weights += [
            numpy_helper.from_array(layer.weight.detach().to_dense().cpu().numpy(), f"weight{i}"),
            numpy_helper.from_array(layer.bias.detach().cpu().numpy(), f"bias{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"weight{i}", f"bias{i}"], [output], transB=1))
        last = output
        if i < network.depth:
            nodes.append(helper.make_node("Relu", [output], [f"relu{i}"]))
            last = f"relu{i}"
    graph = helper.make_graph(
        nodes,
        "relu_network",
        [helper.make_tensor_value_info("points", kind, ["n", network.dimension])],
        [helper.make_tensor_value_info("values", kind, ["n", 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if model.ByteSize() >= 2**31:
        raise UserError(f"{path} would pass ONNX's limit of 2 GiB; take fewer faces or --dtype float32")
    onnx.checker.check_model(model)
    assert kind in (TensorProto.FLOAT, TensorProto.DOUBLE)
    with written_whole(Path(path)) as temporary:
        temporary.write_bytes(model.SerializeToString())
