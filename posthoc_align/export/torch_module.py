"""A fitted aligner as a torch.nn.Module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posthoc_align.export.chain import fold


def to_torch(model: Any, language: Any = None) -> Any:
    """Return a fitted aligner as a module of torch, in float32 and for evaluation.

    The module can be scripted, compiled, moved and saved as any other. Unlike ``transform`` it
    checks nothing: a row with no direction stays zero where rows are scaled to unit norm.

    Parameters
    ----------
    model : fitted transformer, or Pipeline of such
        As for :func:`posthoc_align.export.fold`.
    language : str, int or sequence of these, optional
        One language: the module is called with rows. A sequence: it is called with rows and with
        each row's position in that sequence (int64), which its attribute ``languages`` keeps.

    Returns
    -------
    torch.nn.Module
        ``module(rows)`` or ``module(rows, codes)``, rows of shape (n_samples, n_features_in), gives
        a tensor of shape (n_samples, n_features_out). A code that is no position gives NaN.

    Raises
    ------
    ValueError
        As :func:`posthoc_align.export.fold`.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from posthoc_align import LanguageCentering
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0], [2.0, 2.0]])
    >>> fitted = LanguageCentering().fit(X, language=["en", "en", "de", "de"])
    >>> to_torch(fitted, "en")(torch.tensor([[2.0, 4.0]]))
    tensor([[0., 1.]])
    >>> to_torch(fitted, ["en", "de"])(torch.tensor([[2.0, 4.0], [2.0, 4.0]]), torch.tensor([0, 1]))
    tensor([[0., 1.],
            [1., 3.]])
    """
    from posthoc_align.export._layers import LanguageRouter, layers

    if isinstance(language, Sequence) and not isinstance(language, str):
        return LanguageRouter([fold(model, name) for name in language], list(language)).eval()
    return layers(fold(model, language)).eval()
