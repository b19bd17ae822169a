"""A fitted aligner where no estimator runs: arrays, torch, ONNX, faiss, sentence-transformers.

Every export is made for rows of one language, or holds one map a language. Linear steps that
follow each other are folded into one product; scaling to unit norm is kept as a step. Exports
compute in float32: rows that lie far from the origin, a thousand times their spread, lose three of
its seven digits there. Embeddings of encoders do not.
"""

from posthoc_align.export.chain import AffineStep, Chain, UnitStep, fold, to_arrays
from posthoc_align.export.faiss_index import to_faiss
from posthoc_align.export.onnx_graph import to_onnx
from posthoc_align.export.sentence_transformer import to_sentence_transformers
from posthoc_align.export.torch_module import to_torch

__all__ = [
    "AffineStep",
    "Chain",
    "UnitStep",
    "fold",
    "to_arrays",
    "to_faiss",
    "to_onnx",
    "to_sentence_transformers",
    "to_torch",
]
