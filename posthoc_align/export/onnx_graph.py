"""A fitted aligner as an ONNX file."""

from __future__ import annotations

from typing import Any

import numpy as np

from posthoc_align._array_files import PathLike
from posthoc_align.export.chain import AffineStep, fold

OPSET = 17  # read by onnxruntime from 1.12 on


def to_onnx(model: Any, path: PathLike, language: Any = None) -> None:
    """Write what a fitted aligner does to rows of one language as an ONNX file, in float32.

    The graph takes ``rows`` of shape (n_samples, n_features_in) and gives ``aligned`` of shape
    (n_samples, n_features_out); n_samples is free.

    Parameters
    ----------
    model : fitted transformer, or Pipeline of such
        As for :func:`posthoc_align.export.fold`.
    path : str or path
    language : str or int, optional
        As for :func:`posthoc_align.export.fold`.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        As :func:`posthoc_align.export.fold`.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ImportError('ONNX files need onnx: pip install "posthoc-align[export]"') from error
    chain = fold(model, language)
    nodes, tables, name = [], [], "rows"
    for i, step in enumerate(chain.steps):
        if isinstance(step, AffineStep):
            for kind, table in (("matrix", step.matrix), ("offset", step.offset)):
                tables.append(numpy_helper.from_array(table.astype(np.float32), f"{kind}{i}"))
            nodes.append(helper.make_node("Gemm", [name, f"matrix{i}", f"offset{i}"], [f"step{i}"]))
        else:
            nodes.append(helper.make_node("LpNormalization", [name], [f"step{i}"], axis=-1, p=2))
        name = f"step{i}"
    nodes.append(helper.make_node("Identity", [name], ["aligned"]))
    ends = [
        helper.make_tensor_value_info(label, TensorProto.FLOAT, ["n_samples", width])
        for label, width in (("rows", chain.n_features_in), ("aligned", chain.n_features_out))
    ]
    graph = helper.make_graph(nodes, "posthoc_align", ends[:1], ends[1:], tables)
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, path)
