"""How strongly to align: any step between leaving the space alone and the full transformation."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from sklearn.base import clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from posthoc_align._arrays import Array, cast_like, check_rows, check_target, upcast
from posthoc_align._blocks import map_rows
from posthoc_align.align._affine import apply_pieces
from posthoc_align.align._apply import call_aligner
from posthoc_align.align._base import LanguageTransformer, as_array
from posthoc_align.align._map import explained_variance
from posthoc_align.align._parameters import require_share


class Blend(LanguageTransformer):
    r"""Apply a transformation at a chosen strength.

    Maps x to :math:`(1-s)\,x+s\,T(x)`, where T is any transformer or map of this package that
    keeps the width. Bringing languages together costs something that tells them apart; s is how
    much of it to pay.

    Parameters
    ----------
    estimator : estimator
        T: a language transformer, an aligner, or a map between two spaces (then the blend is
        a map itself, ``fit(X, y)``, and goes into :class:`PivotAligner`).
    strength : float in [0, 1], default=0.5
        s. 0 leaves rows as they are, 1 is T.
    language_from : {"index"}, optional
        As in :class:`LanguageCentering`.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    languages_ : list
        As in the estimator; ``[None]`` for a map.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If `strength` is not in [0, 1], or T changes the width.

    Notes
    -----
    ``decompose`` gives what the blend leaves and what it takes away, which add up to X.
    ``inverse_transform`` restores rows where T is affine (centring, scaling, whitening, Gaussian
    transport, LSAR, LIR, LEACE, linear maps …): at a strength below 1 even projections have an
    inverse, since they only weaken the directions they would remove.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import Blend, LanguageCentering
    >>> X = np.array([[0.0], [2.0], [10.0], [30.0]])
    >>> half = Blend(LanguageCentering(), strength=0.5)
    >>> Z = half.fit_transform(X, language=["en", "en", "de", "de"])
    >>> Z
    array([[-0.5],
           [ 1.5],
           [ 0. ],
           [20. ]])
    >>> half.inverse_transform(Z, language=["en", "en", "de", "de"]).ravel()
    array([ 0.,  2., 10., 30.])
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"language": True, "pair_id": True}

    estimator_: Any

    def __init__(
        self,
        estimator: Any,
        *,
        strength: float = 0.5,
        language_from: str | None = None,
    ) -> None:
        self.estimator = estimator
        self.strength = strength
        self.language_from = language_from

    @property
    def requires_pairs(self) -> bool:
        """Whether the estimator is a map fitted on rows that correspond."""
        return bool(getattr(self.estimator, "requires_pairs", True))

    @property
    def requires_language(self) -> bool:  # type: ignore[override]  # a fact of the estimator here
        """Whether ``transform`` depends on the language of a row."""
        return bool(getattr(self.estimator, "requires_language", False))

    def fit(self, X: Any, y: Any = None, *, language: Any = None, pair_id: Any = None) -> Self:
        """Fit the estimator.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array, optional
            As the estimator takes it: the target space of a map, classes, or nothing.
        language, pair_id : optional
            As the estimator takes them.
        """
        fitted = clone(self.estimator)
        if has_fit_parameter(fitted, "language"):
            X, language = self._check_fit(X, language)
        else:
            X = check_rows(self, X, reset=True)
        require_share("strength", self.strength)
        given = {"language": language, "pair_id": pair_id}
        given = {name: value for name, value in given.items() if value is not None}
        refused = [name for name in given if not has_fit_parameter(fitted, name)]
        if refused:
            name = type(fitted).__name__
            raise TypeError(
                f"{name}.fit takes no {' and no '.join(refused)}: leave it out, or pass "
                f"PivotAligner(Blend({name}())), which fits one a language."
            )
        self.estimator_ = fitted.fit(X, y, **given)
        self.languages_ = getattr(self.estimator_, "languages_", [None])
        return self

    def fit_transform(
        self, X: Any, y: Any = None, *, language: Any = None, **fit_params: Any
    ) -> Array:
        """Do ``fit(X, y, ...).transform(X, language=language)``. Parameters as in :meth:`fit`."""
        return self.fit(X, y, language=language, **fit_params).transform(X, language=language)

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Transform rows at the chosen strength.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            As the estimator takes it; maps take none.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        check_is_fitted(self)
        require_share("strength", self.strength)
        language = self._labels_of(X, language)
        X = check_rows(self, X)
        full = as_array(call_aligner(self.estimator_, "transform", upcast(X), language))
        if full.shape[1] != X.shape[1]:
            raise ValueError(
                f"{type(self.estimator_).__name__} maps {X.shape[1]} features to {full.shape[1]}: "
                "rows of different spaces cannot be blended. Use the estimator itself."
            )
        if self.strength == 1:
            return cast_like(full, X)
        keep, part = 1.0 - self.strength, self.strength
        return map_rows(lambda x, rows: keep * x + part * full[rows], X)

    @available_if(lambda self: hasattr(self.estimator, "score"))
    def score(self, X: Any, y: Any) -> float:
        """Share of the variance of y that the blend explains, for a map: see its own ``score``.

        Parameters
        ----------
        X, y : arrays of shape (n_samples, n_features)

        Returns
        -------
        float
        """
        mapped = as_array(self.transform(X))
        y = check_target(y, mapped)
        if y.shape[1] != mapped.shape[1]:
            raise ValueError(
                f"y has {y.shape[1]} features, but the blend maps to {mapped.shape[1]}. Pass rows "
                "of the target space."
            )
        return explained_variance(y, mapped)

    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Undo ``transform``, where it has an inverse. Parameters as in transform.

        Raises
        ------
        ValueError
            If the estimator is not affine, or directions were removed at strength 1.
        """
        check_is_fitted(self)
        require_share("strength", self.strength)
        if not hasattr(self.estimator_, "_pieces"):
            if self.strength == 1 and hasattr(self.estimator_, "inverse_transform"):
                language = self._labels_of(X, language)
                return call_aligner(self.estimator_, "inverse_transform", X, language)
            raise ValueError(
                f"{type(self.estimator_).__name__} is not affine, so that its blend has no closed "
                "inverse. Keep what it takes away: decompose(X) gives both parts."
            )
        X, codes, unknown = self._check_transform(X, language if self.requires_language else None)
        self._require_seen(unknown, "Only fitted languages can be put back.")
        pieces = [piece.blend(self.strength).inverse() for piece in self.estimator_._pieces()]
        return apply_pieces(pieces, codes, X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags = get_tags(self.estimator).target_tags
        return tags
