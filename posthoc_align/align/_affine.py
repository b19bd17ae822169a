"""Affine maps of rows, full or of low rank, and the transformers that do one a language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.metaestimators import available_if

from posthoc_align._arrays import Array, check_rows, index_like, upcast
from posthoc_align._blocks import route_rows
from posthoc_align.align._base import UNSEEN, MomentTransformer, require_rows
from posthoc_align.align._on_device import tables_on
from posthoc_align.align._parameters import require_choice
from posthoc_align.languages import check_language
from posthoc_align.moments import LanguageMoments, Moments, Second


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> (x - source) W + target, where W is the product of the factors.

    Parameters
    ----------
    source : ndarray of shape (d_in,)
    factors : tuple of ndarray
        Matrices applied from left to right; none of them: W is the identity.
    target : ndarray of shape (d_out,)
    """

    source: np.ndarray
    factors: tuple[np.ndarray, ...]
    target: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """W, shape (d_in, d_out)."""
        return reduce(np.matmul, self.factors) if self.factors else np.eye(len(self.source))

    def on(self, X: Array) -> Callable[[Array], Array]:
        """The map of blocks of X, with its tables where X lies."""
        source, target, *factors = tables_on(
            self, X, lambda: (self.source, self.target, *self.factors)
        )
        return lambda block: reduce(lambda x, factor: x @ factor, factors, block - source) + target

    def blend(self, strength: float) -> Affine:
        """(1 - strength) x + strength T(x)."""
        keep = 1.0 - strength
        matrix = keep * np.eye(len(self.source)) + strength * self.matrix
        return Affine(self.source, (matrix,), keep * self.source + strength * self.target)

    def inverse(self) -> Affine:
        """The map back.

        Raises
        ------
        ValueError
            If W has no inverse.
        """
        return Affine(self.target, tuple(_inverse(f) for f in reversed(self.factors)), self.source)


@dataclass(frozen=True, eq=False)
class Removal:
    """x -> x - (x - origin) D B + shift: the identity, changed in r directions.

    Parameters
    ----------
    origin : ndarray of shape (d,)
    drop : ndarray of shape (d, r)
        D, what is read from a row.
    back : ndarray of shape (r, d)
        B, what is taken away for it.
    shift : ndarray of shape (d,), optional
        Added to all rows at the end.
    """

    origin: np.ndarray
    drop: np.ndarray
    back: np.ndarray
    shift: np.ndarray | None = None

    @property
    def matrix(self) -> np.ndarray:
        """The linear part I - D B, shape (d, d)."""
        return np.eye(len(self.origin)) - self.drop @ self.back

    def on(self, X: Array) -> Callable[[Array], Array]:
        """The map of blocks of X, with its tables where X lies."""
        given = () if self.shift is None else (self.shift,)
        drop, back, offset, *rest = tables_on(
            self, X, lambda: (self.drop, self.back, self.origin @ self.drop, *given)
        )
        if not rest:
            return lambda block: block - (block @ drop - offset) @ back
        shift = rest[0]
        return lambda block: block - (block @ drop - offset) @ back + shift

    def blend(self, strength: float) -> Removal:
        """(1 - strength) x + strength T(x)."""
        shift = None if self.shift is None else strength * self.shift
        return Removal(self.origin, strength * self.drop, self.back, shift)

    def inverse(self) -> Removal:
        """The map back: I + D (I - B D)^-1 B about the image of the origin.

        Raises
        ------
        ValueError
            If the directions were removed altogether.
        """
        width = len(self.origin)  # as many terms a product, each with its rounding
        core = _inverse(np.eye(self.drop.shape[1]) - self.back @ self.drop, scale=width)
        if self.shift is None:
            return Removal(self.origin, -self.drop @ core, self.back)
        return Removal(self.origin + self.shift, -self.drop @ core, self.back, -self.shift)


def _inverse(matrix: np.ndarray, *, scale: float = 0.0) -> np.ndarray:
    """The inverse of a matrix, or of a difference of larger ones, whose size is `scale`."""
    values = np.linalg.svd(matrix, compute_uv=False)
    noise = len(matrix) * float(np.finfo(np.float64).eps) * max(values.max(initial=0.0), scale)
    well = matrix.shape[0] == matrix.shape[1] and bool(np.all(values > noise))
    if not well:
        raise ValueError(
            "The transformation removes directions and has no inverse. Keep what it removes: "
            "decompose(X) gives both parts; or choose a strength below 1."
        )
    return np.linalg.inv(matrix)


Piece = Affine | Removal


def apply_pieces(pieces: Sequence[Piece | None], codes: np.ndarray, X: Array) -> Array:
    """Do to each row of X what the piece of its code says; None leaves rows as they are."""
    return route_rows([upcast if piece is None else piece.on(X) for piece in pieces], codes, X)


def _has_inverse(transformer: Any) -> bool:
    return bool(transformer.has_inverse)


class AffineTransformer(MomentTransformer):
    """A transformer that does to every row the same affine map, ``piece_``."""

    requires_language: ClassVar[bool] = False
    learns_from_language: ClassVar[bool] = True
    _learned: ClassVar[tuple[str, ...]] = ("languages_", "piece_")

    piece_: Piece

    @property
    def has_inverse(self) -> bool:
        """Whether ``inverse_transform`` is there: not where every fit removes directions."""
        return True

    def _pieces(self) -> list[Piece]:
        """What is done to rows of each of ``languages_``."""
        return [self.piece_] * len(self.languages_)

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Transform rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : ignored
            Accepted for the common signature; all rows are treated the same.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        X = self._check_alike(X, language)
        return apply_pieces([self.piece_], np.zeros(X.shape[0], dtype=np.int64), X)

    @available_if(_has_inverse)
    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Undo ``transform``, where it has an inverse. Parameters as in transform.

        Raises
        ------
        ValueError
            If directions were removed; ``decompose`` keeps them.
        """
        X = self._check_alike(X, language)
        return apply_pieces([self.piece_.inverse()], np.zeros(X.shape[0], dtype=np.int64), X)


class PerLanguageAffine(MomentTransformer):
    """A transformer that does to the rows of each language an affine map of its own.

    A subclass learns in ``_solve_reference`` what all languages share, and in ``_piece_of`` what
    is done to a language of given moments. Policies for languages that fit did not see and
    ``add_language`` follow from that.
    """

    _learned: ClassVar[tuple[str, ...]] = ("languages_", "pieces_", "pooled_piece_")

    pieces_: Sequence[Piece]
    pooled_piece_: Piece | None

    def _solve_reference(self, parts: dict[Any, Moments]) -> None:
        """Learn what the languages share, if anything."""

    def _piece_of(self, part: Moments) -> Piece:
        """What is done to the rows of a language."""
        raise NotImplementedError(f"{type(self).__name__} must define _piece_of.")

    def _solve(self) -> None:
        require_choice("unseen", self.unseen, UNSEEN)
        parts = dict(self.moments_)
        require_rows(parts)
        self.languages_ = list(parts)
        self._solve_reference(parts)
        self.pieces_ = [self._piece_of(part) for part in parts.values()]
        wanted = self.unseen == "global"
        self.pooled_piece_ = self._piece_of(self.moments_.pooled) if wanted else None

    @property
    def has_inverse(self) -> bool:
        """Whether ``inverse_transform`` is there: not where every fit removes directions."""
        return True

    def _pieces(self) -> Sequence[Piece]:
        """What is done to rows of each of ``languages_``."""
        return self.pieces_

    def _whose(self, part: Moments) -> str:
        """What messages call the rows that these are the moments of."""
        for label, known in self.moments_.items():
            if known is part:
                return "X" if label is None else f"Language {label!r}"
        return "A language"  # one that was added, or unseen, or all together

    def add_language(self, X: Any, language: Any) -> Self:
        """Fit one more language; what all share, and the results of all others, stay as they are.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Rows of the new language alone.
        language : str or int
            Its label.
        """
        self._check_new_language(language)
        X = check_rows(self, X)
        added = self._moments_of(X, None, check_language(language, X.shape[0]))
        require_rows(added)
        learned = {name: getattr(self, name) for name in self._learned}
        learned["languages_"] = [*self.languages_, language]
        learned["pieces_"] = [*self.pieces_, self._piece_of(added[language])]
        self.__dict__.update(learned, moments_=self.moments_ + added)
        return self

    def transform(self, X: Any, *, language: Any = None) -> Array:
        """Transform the rows of each language.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        language : str, int or array-like of shape (n_samples,), optional
            May be left out only if fit saw one language.

        Returns
        -------
        array of shape (n_samples, n_features)
            Of X's kind, type and device.
        """
        X, codes, unknown = self._check_transform(X, language)
        pieces = self._pieces_with(unknown, X, codes)
        return apply_pieces(pieces, np.minimum(codes, len(pieces) - 1), X)

    @available_if(_has_inverse)
    def inverse_transform(self, X: Any, *, language: Any = None) -> Array:
        """Undo ``transform``, where it has an inverse. Parameters as in transform.

        Raises
        ------
        ValueError
            If directions were removed; ``decompose`` keeps them.
        """
        X, codes, unknown = self._check_transform(X, language)
        self._require_seen(unknown, "Only fitted languages can be put back.")
        return apply_pieces([piece.inverse() for piece in self.pieces_], codes, X)

    def _pieces_with(
        self, unknown: list[Any], X: Array, codes: np.ndarray
    ) -> Sequence[Piece | None]:
        """The pieces, and behind them one for all unseen languages or one for each."""
        if not unknown:
            return self.pieces_
        self._check_unseen(unknown)
        if self.unseen == "identity":
            return [*self.pieces_, None]
        if self.unseen == "global":
            if self.pooled_piece_ is None:
                raise ValueError(
                    "unseen='global' was set after fit, which did not keep the statistics of all "
                    "rows together. Set it first and fit again."
                )
            return [*self.pieces_, self.pooled_piece_]
        new = unseen_moments(X, codes - len(self.pieces_), unknown, self._second())
        return [*self.pieces_, *(self._piece_of(part) for part in new)]


def unseen_moments(
    X: Array, codes: np.ndarray, unknown: list[Any], second: Second
) -> list[Moments]:
    """Moments of each of the unseen languages of a batch.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    codes : ndarray of int of shape (n_samples,)
        Place among `unknown`, negative for rows of known languages.
    unknown : list of labels
    second : str
        Which second moments to keep.

    Raises
    ------
    ValueError
        If a language has a single row.
    """
    at = np.flatnonzero(codes >= 0)
    new = LanguageMoments.of(X[index_like(at, X)], codes[at], second=second)
    parts = {label: new[code] for code, label in enumerate(unknown)}
    require_rows(parts)
    return list(parts.values())
