"""Mix the layers of an encoder with weights learned from translations."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, check_rows, index_like, like, namespace, to_host, upcast
from posthoc_align._blocks import map_rows, require_finite
from posthoc_align.align._on_device import tables_on
from posthoc_align.align._parameters import require_number
from posthoc_align.align._training.losses import softmax_loss, unit
from posthoc_align.align.layerwise import layer_columns
from posthoc_align.languages import (
    check_language,
    check_pair_id,
    language_of,
    pair_rows,
    require_unique_pairs,
)


class LayerMixing(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Replace the layers of an encoder by their weighted sum, with weights learned from pairs.

    The layers lie side by side in the columns. A row becomes :math:`\sum_k w_k x_k / s_k` with
    s_k the root mean square norm of layer k and w the softmax of as many numbers as there are
    layers, those for which a mixed row and the mixed row of its translation have the highest cosine
    among n candidates (InfoNCE). This is the lens of [1]_ on frozen embeddings, of sentences rather
    than of tokens. Weights are the same for all languages, so new ones need no fit.

    Parameters
    ----------
    n_layers : int, default=1
        Number of layers; it divides the number of columns.
    temperature : float, default=0.05
        Of the softmax over candidates.
    penalty : float, default=0.001
        Weight of the mean squared logit, which keeps the weights from a single layer where the
        pairs hardly say so. Larger: nearer to the plain mean.
    max_pairs : int, default=1000
        Most pairs of two languages to look at, drawn at random; an iteration takes time and memory
        of their square for every language.
    max_iter : int, default=100
        Most iterations of L-BFGS.
    random_state : int, RandomState instance or None, default=None
        For drawing pairs.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    weights_ : ndarray of shape (n_layers,)
        They sum to 1.
    norms_ : ndarray of shape (n_layers,)
        s_k.
    loss_ : float
        InfoNCE at ``weights_``, in nats; nan for a single layer.
    uniform_loss_ : float
        InfoNCE at equal weights.
    n_iter_ : int
        Iterations of L-BFGS; 1 for a single layer.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If the columns do not divide into ``n_layers``, a layer is zero in all rows, or two or more
        layers come without ``language`` and ``pair_id`` or with too few pairs.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` was too small.

    Notes
    -----
    Each language is paired with the one that has most rows (the first of equals). The loss is
    not convex in the logits; the search starts at equal weights, so it never ends above them.

    References
    ----------
    .. [1] C.-c. Tien, S. Steinert-Threlkeld, "Bilingual alignment transfers to multilingual
       alignment for unsupervised parallel text mining", ACL 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import LayerMixing
    >>> rng = np.random.default_rng(0)
    >>> same, noise = rng.normal(size=(20, 4)), rng.normal(size=(40, 4))
    >>> X = np.hstack([np.vstack([same, same]), noise])  # the first layer is shared, not the second
    >>> mixing = LayerMixing(n_layers=2)
    >>> Z = mixing.fit_transform(X, language=["en"] * 20 + ["de"] * 20, pair_id=[*range(20)] * 2)
    >>> Z.shape, bool(mixing.weights_[0] > 0.8)
    ((40, 4), True)
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"language": True}

    weights_: np.ndarray
    norms_: np.ndarray
    n_features_in_: int

    def __init__(
        self,
        *,
        n_layers: int = 1,
        temperature: float = 0.05,
        penalty: float = 0.001,
        max_pairs: int = 1000,
        max_iter: int = 100,
        random_state: Any = None,
        language_from: str | None = None,
    ) -> None:
        self.n_layers = n_layers
        self.temperature = temperature
        self.penalty = penalty
        self.max_pairs = max_pairs
        self.max_iter = max_iter
        self.random_state = random_state
        self.language_from = language_from

    def fit(self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None) -> Self:
        """Learn the weights from translation pairs.

        Parameters
        ----------
        X : array of shape (n_samples, n_layers * n_features)
        y : ignored
        language : str, int or array-like of shape (n_samples,), optional
            Label of each row; needed for two layers or more.
        pair_id : array-like of shape (n_samples,), optional
            Rows of different languages with the same id translate each other; needed likewise.
        """
        language = language_of(X, language, self.language_from)
        X = check_rows(self, X, reset=True)
        columns = layer_columns(X.shape[1], self.n_layers)
        self._check_parameters()
        require_finite(X)
        self.norms_ = np.array([_root_mean_square(X[:, part]) for part in columns])
        self.n_iter_, self.loss_, self.uniform_loss_ = 1, np.nan, np.nan
        self.weights_ = np.ones(len(columns)) / len(columns)
        if len(columns) == 1:
            return self
        if np.any(self.norms_ == 0):
            raise ValueError(
                f"Layers {np.flatnonzero(self.norms_ == 0).tolist()} are zero in all rows: leave "
                "them out."
            )
        self._learn(self._pairs(X, language, pair_id), len(columns))
        return self

    def _check_parameters(self) -> None:
        positive = "a number > 0"
        require_number("temperature", self.temperature, Real, lambda t: 0 < t < np.inf, positive)
        require_number("penalty", self.penalty, Real, lambda p: 0 <= p < np.inf, "a number >= 0")
        require_number("max_pairs", self.max_pairs, Integral, lambda n: n >= 2, "an integer >= 2")
        require_number("max_iter", self.max_iter, Integral, lambda n: n >= 1, "an integer >= 1")

    def _pairs(self, X: Array, language: Any, pair_id: Any) -> list[tuple[Array, Array]]:
        """For each language but one, its rows and their translations, (n, n_layers, width)."""
        labels = check_language(language, X.shape[0])
        if labels is None or pair_id is None:
            raise ValueError(
                "LayerMixing learns its weights from translations, but fit got no "
                f"{'language' if labels is None else 'pair_id'}. Pass language= and pair_id=; for "
                "a plain mean of the layers no estimator is needed."
            )
        ids = check_pair_id(pair_id, X.shape[0])
        require_unique_pairs(labels, ids)
        names, counts = np.unique(labels, return_counts=True)
        anchor = names.tolist()[int(np.argmax(counts))]
        there = np.flatnonzero(labels == anchor)
        random = check_random_state(self.random_state)
        pairs = []
        for name in names[names != anchor].tolist():
            here = np.flatnonzero(labels == name)
            own, other = pair_rows(ids[here], ids[there])
            if len(own) < 2:
                continue
            if len(own) > self.max_pairs:
                kept = np.sort(random.permutation(len(own))[: self.max_pairs])
                own, other = own[kept], other[kept]
            pairs.append((self._layers(X, here[own]), self._layers(X, there[other])))
        if not pairs:
            raise ValueError(
                f"No language shares 2 or more pair_id with {anchor!r}, the one of most rows: "
                "check that pair_id is shared across languages."
            )
        return pairs

    def _layers(self, X: Array, at: np.ndarray) -> Array:
        rows = upcast(X[index_like(at, X)])
        layers = namespace(X).reshape(rows, (len(at), len(self.norms_), -1))
        return layers / like(self.norms_[:, None], X)

    def _learn(self, pairs: list[tuple[Array, Array]], n_layers: int) -> None:
        import torch

        sides = [tuple(torch.as_tensor(side) for side in pair) for pair in pairs]
        dtype, device = sides[0][0].dtype, sides[0][0].device

        def loss_of(logits: Any) -> Any:
            weights = torch.softmax(logits, dim=0)
            losses = [
                softmax_loss(
                    *(unit(torch.einsum("nkd,k->nd", side, weights)) for side in pair),
                    temperature=self.temperature,
                )
                for pair in sides
            ]
            return torch.stack(losses).mean()

        def objective(start: np.ndarray) -> tuple[float, np.ndarray]:
            logits = torch.tensor(start, dtype=dtype, device=device, requires_grad=True)
            value = loss_of(logits) + self.penalty * torch.mean(logits**2)
            value.backward()
            return value.item(), to_host(logits.grad)

        def plain(logits: np.ndarray) -> float:
            with torch.no_grad():
                return loss_of(torch.tensor(logits, dtype=dtype, device=device)).item()

        start = np.zeros(n_layers)
        found = minimize(
            objective, start, jac=True, method="L-BFGS-B", options={"maxiter": self.max_iter}
        )
        if found.nit >= self.max_iter and not found.success:
            warnings.warn(
                f"The layer weights did not converge within max_iter={self.max_iter} iterations. "
                "Raise max_iter.",
                ConvergenceWarning,
                stacklevel=4,
            )
        shifted = np.exp(found.x - np.max(found.x))
        self.weights_, self.n_iter_ = shifted / np.sum(shifted), int(found.nit)
        self.loss_, self.uniform_loss_ = plain(found.x), plain(start)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Array:
        """Do ``fit(X, y, **fit_params).transform(X)``. Parameters as in :meth:`fit`."""
        return self.fit(X, y, **fit_params).transform(X)

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Mix the layers of each row.

        Parameters
        ----------
        X : array of shape (n_samples, n_layers * n_features)
        language : ignored
            Accepted for the common signature; all rows are treated the same.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device. A single layer comes back as it is.
        """
        check_is_fitted(self)
        X = check_rows(self, X)
        check_language(language, X.shape[0])
        if len(self.weights_) == 1:
            return map_rows(lambda x, _: x, X)
        weights = tables_on(self, X, lambda: (self.weights_ / self.norms_,))[0]
        columns = layer_columns(self.n_features_in_, len(weights))

        def mix(x: Array, _: slice) -> Array:
            return sum(x[:, part] * weights[k] for k, part in enumerate(columns))

        return map_rows(mix, X, width=self._n_features_out)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_ // len(self.weights_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags


def _root_mean_square(X: Array) -> float:
    """Root of the mean squared norm of the rows."""
    xp = namespace(X)
    x = upcast(X)
    return float(np.sqrt(float(xp.mean(xp.sum(x * x, axis=1)))))
