"""The space before and after, in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from posthoc_align._arrays import Array, check_rows, index_like, to_host
from posthoc_align.languages import check_language, check_pair_id
from posthoc_align.plots._dots import (
    choose_styles,
    dress,
    legend,
    legend_columns,
    links,
    name_clusters,
    scatter,
)
from posthoc_align.plots._style import BeforeAfterDisplay, panels, percent

_PER_LANGUAGE = 200  # dots a language: more hide one another
_TSNE_ROWS = 1000  # its time grows faster than the rows: about 3 s for as many on one core
_TSNE_STEPS = 500  # after which the clusters of some thousand rows stay where they are
_PCA_FIRST = 30  # axes that t-SNE reads, as its authors advise for wide rows

PROJECTIONS = ("pca", "tsne")


class SpaceDisplay(BeforeAfterDisplay):
    """A space before and after alignment, as dots in a plane, coloured by language and by label.

    Two dimensions out of hundreds: what is apart here is apart, what lies together here need not
    be aligned. Make one by :meth:`from_spaces` or :meth:`from_estimator`.

    Parameters
    ----------
    before, after : ndarray of shape (n_shown, 2)
        Coordinates of the rows shown.
    language : ndarray of shape (n_shown,)
    axis_names : sequence of two pairs of str
        What to call the axes before and after.
    label : ndarray of shape (n_shown,), optional
        Two more panels show the same dots coloured by label.
    pair_id : ndarray of shape (n_shown,), optional
        With it, grey lines join pivot rows to their translations.
    pivot : str or int, optional
        Language drawn in black, and first in the legend.
    n_links : int, default=5
        How many pivot rows are joined to their translations, where pair ids are known.
    titles : tuple of str, default=("before", "after")

    Attributes
    ----------
    ax_ : ndarray of Axes of shape (1, 2), or (2, 2) with labels
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 8))
    >>> display = SpaceDisplay.from_spaces(X, X - X.mean(axis=0), language=["en", "de"] * 20)
    >>> display.before.shape, display.ax_.shape
    ((40, 2), (1, 2))
    """

    def __init__(
        self,
        before: np.ndarray,
        after: np.ndarray,
        language: np.ndarray,
        *,
        axis_names: Sequence[Sequence[str]],
        label: np.ndarray | None = None,
        pair_id: np.ndarray | None = None,
        pivot: Any = None,
        n_links: int = 5,
        titles: tuple[str, str] = ("before", "after"),
    ) -> None:
        self.before, self.after, self.language = before, after, language
        self.axis_names, self.label, self.pair_id = axis_names, label, pair_id
        self.pivot, self.n_links, self.titles = pivot, n_links, titles

    @classmethod
    def from_spaces(
        cls,
        X_before: Array,
        X_after: Array,
        *,
        language: Any,
        label: Any = None,
        pair_id: Any = None,
        pivot: Any = None,
        n_links: int = 5,
        projection: str = "pca",
        titles: tuple[str, str] = ("before", "after"),
        ax: Any = None,
    ) -> Self:
        """Draw two spaces that hold the same rows.

        Each space has its own axes, fitted on evenly spaced rows, as many of each language:
        at most 200 a language, for t-SNE 1000 in all. Memory O(200 L d) for L languages; PCA takes
        well under a second, t-SNE about 3 seconds a space.

        Parameters
        ----------
        X_before, X_after : array of shape (n_samples, n_features), (n_samples, n_features_out)
        language : array-like of shape (n_samples,), or scalar
        label : array-like of shape (n_samples,), optional
            Task labels: two more panels show the same dots coloured by label.
        pair_id : array-like of shape (n_samples,), optional
            With it, grey lines join `n_links` pivot rows to their translations (needs `pivot`).
        pivot : str or int, optional
            Language drawn in black, and first in the legend.
        n_links : int, default=5
        projection : {"pca", "tsne"}, default="pca"
            The two main axes of variance; or neighbours kept as neighbours (t-SNE [1]_, seeded),
            where distances between clusters and their sizes mean nothing.
        titles : tuple of str, default=("before", "after")
        ax : sequence of 2 Axes (4 with `label`), optional
            Where to draw; a new figure if None.

        Returns
        -------
        SpaceDisplay

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        ValueError
            If row counts differ, a space has fewer than 2 columns or 3 rows, holds NaN, `pivot` is
            no language, or missing with `pair_id`, or `ax` is of another number.

        References
        ----------
        .. [1] L. van der Maaten, G. Hinton, "Visualizing data using t-SNE", JMLR 9 (2008).
        """
        spaces = [
            check_rows(None, X_before, name="X_before"),
            check_rows(None, X_after, name="X_after"),
        ]
        languages = _check(spaces, language, pivot, pair_id, projection)
        names, n_rows = np.unique(languages).tolist(), len(languages)
        labels = check_language(label, n_rows, name="label")
        ids = None if pair_id is None else check_pair_id(pair_id, n_rows)
        most = _PER_LANGUAGE if projection == "pca" else max(2, _TSNE_ROWS // len(names))
        shown = np.concatenate([_spread(np.flatnonzero(languages == n), most) for n in names])
        project = _principal if projection == "pca" else _neighbours
        (before, names_before), (after, names_after) = (project(X, shown) for X in spaces)
        display = cls(
            before,
            after,
            languages[shown],
            axis_names=(names_before, names_after),
            label=None if labels is None else labels[shown],
            pair_id=None if ids is None else ids[shown],
            pivot=pivot,
            n_links=n_links,
            titles=titles,
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the dots.

        Parameters
        ----------
        ax : sequence of 2 Axes (4 with labels), optional
            Where to draw; a new figure if None.

        Returns
        -------
        SpaceDisplay
        """
        colouring = [(self.language, self.pivot, "language")]
        if self.label is not None:
            colouring.append((self.label, None, "label"))
        columns = max(legend_columns(len(np.unique(groups))) for groups, _, _ in colouring)
        axes = panels(ax, len(colouring), 2, (8.6 + 0.9 * columns, 4.1 * len(colouring)))
        for row, (groups, first, what) in enumerate(colouring):
            styles = choose_styles(np.unique(groups).tolist(), first)
            for column, points in enumerate((self.before, self.after)):
                title = self.titles[column] if row == 0 else f"{self.titles[column]}, by {what}"
                scatter(axes[row, column], points, groups, styles)
                dress(axes[row, column], title, self.axis_names[column])
                name_clusters(axes[row, column], points, groups)
            legend(axes[row, 1], styles)
        if self.pair_id is not None:
            for column, points in enumerate((self.before, self.after)):
                links(
                    axes[0, column], points, self.language, self.pair_id, self.pivot, self.n_links
                )
        return self._drawn(axes)


def plot_space(
    X_before: Array,
    X_after: Array,
    language: Any,
    *,
    label: Any = None,
    pivot: Any = None,
    pair_id: Any = None,
    n_links: int = 5,
    title_before: str = "before",
    title_after: str = "after",
    axes: Sequence[Any] | None = None,
) -> Any:
    """Draw a space before and after alignment on its two main axes of variance.

    Parameters as in :meth:`SpaceDisplay.from_spaces`, whose ``figure_`` this is.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 8))
    >>> figure = plot_space(X, X - X.mean(axis=0), ["en", "de"] * 20, pivot="en")
    >>> [ax.get_title("left") for ax in figure.axes]
    ['before', 'after']
    """
    display = SpaceDisplay.from_spaces(
        X_before,
        X_after,
        language=language,
        label=label,
        pivot=pivot,
        pair_id=pair_id,
        n_links=n_links,
        titles=(title_before, title_after),
        ax=axes,
    )
    return display.figure_


def _check(
    spaces: Sequence[Array], language: Any, pivot: Any, pair_id: Any, projection: str
) -> np.ndarray:
    """Return the language of each row of two spaces that can be drawn."""
    n_rows = int(spaces[0].shape[0])
    if spaces[1].shape[0] != n_rows:
        raise ValueError(
            f"X_before has {n_rows} rows and X_after {spaces[1].shape[0]}: pass the same rows."
        )
    if n_rows < 3 or min(X.shape[1] for X in spaces) < 2:
        raise ValueError(
            f"The spaces have shapes {[tuple(X.shape) for X in spaces]}: a picture needs at "
            "least 3 rows and 2 columns."
        )
    if projection not in PROJECTIONS:
        raise ValueError(f"projection={projection!r} is not known: choose one of {PROJECTIONS}.")
    languages = check_language(language, n_rows)
    if languages is None:
        raise ValueError("The picture needs the language of each row, to colour by; got None.")
    names = np.unique(languages).tolist()
    if pivot is not None and pivot not in names:
        raise ValueError(f"pivot={pivot!r} is not among the languages {names}: name one of them.")
    if pair_id is not None and pivot is None:
        raise ValueError("pair_id came without pivot: links start at pivot rows. Pass pivot=.")
    return languages


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many of the rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _shown(X: Array, shown: np.ndarray) -> np.ndarray:
    rows = to_host(X[index_like(shown, X)])  # few enough to leave their device
    if not np.isfinite(rows).all():
        raise ValueError("The spaces contain NaN or infinity: remove or repair such rows.")
    return rows


def _principal(X: Array, shown: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Return coordinates of the rows on two principal axes, and what the axes are."""
    from sklearn.decomposition import PCA

    rows, share = _shown(X, shown), np.zeros(2)
    points = np.zeros((len(rows), 2))
    if np.ptp(rows, axis=0).any():
        pca = PCA(n_components=2, random_state=0)
        points, share = pca.fit_transform(rows), pca.explained_variance_ratio_
    return points, (
        f"first axis, {percent(share[0], 0)} % of variance",
        f"second axis, {percent(share[1], 0)} %",
    )


def _neighbours(X: Array, shown: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Return coordinates of the rows by t-SNE, and what the axes are."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = _shown(X, shown)
    points = np.zeros((len(rows), 2))
    if np.ptp(rows, axis=0).any():
        axes = min(_PCA_FIRST, *rows.shape)
        rows = PCA(n_components=axes, random_state=0).fit_transform(rows)
        rows /= np.abs(rows).max()  # the start is scaled anyway; keeps huge values in range
        points = TSNE(
            perplexity=min(30.0, (len(rows) - 1) / 3),
            init="pca" if axes > 1 else "random",
            max_iter=_TSNE_STEPS,
            random_state=0,
        ).fit_transform(rows)
    return points, ("t-SNE: neighbours stay neighbours", "distances have no unit")
