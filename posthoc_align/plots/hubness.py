"""How often rows come up as neighbours: hubs are near to everything, anti-hubs to nothing."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from posthoc_align._arrays import Array, check_rows, index_like
from posthoc_align.languages import check_language
from posthoc_align.metrics import hubness
from posthoc_align.plots._style import (
    AFTER,
    BEFORE,
    FAINT,
    GREY,
    BeforeAfterDisplay,
    panels,
    percent,
    quiet,
)


class HubnessDisplay(BeforeAfterDisplay):
    """How often each pivot row is among the k nearest of the rows of another language.

    In a space without hubs the counts gather around their mean. A long tail to the right are hubs,
    the bar at 0 anti-hubs, which no search ever finds [1]_. Each language asks apart.

    Parameters
    ----------
    before, after : ndarray of int of shape (n_counts,)
        One count for each language that asks and each pivot row.
    k : int
        Size of the neighbourhoods; the mean count times the pivot's rows over a language's rows.
    titles : tuple of str, default=("before", "after")

    Attributes
    ----------
    ax_ : Axes
    figure_ : matplotlib.figure.Figure

    References
    ----------
    .. [1] M. Radovanovic, A. Nanopoulos, M. Ivanovic, "Hubs in space: popular nearest neighbors in
       high-dimensional data", JMLR 11 (2010).

    Examples
    --------
    >>> display = HubnessDisplay(np.array([0, 0, 4]), np.array([1, 2, 1]), k=1).plot()
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['before: 66.7 % never found, most 4 times', 'after: 0.0 % never found, most 2 times']
    """

    def __init__(
        self,
        before: np.ndarray,
        after: np.ndarray,
        *,
        k: int,
        titles: tuple[str, str] = ("before", "after"),
    ) -> None:
        self.before, self.after, self.k, self.titles = before, after, k, titles

    @classmethod
    def from_spaces(
        cls,
        X_before: Array,
        X_after: Array,
        *,
        language: Any,
        pivot: Any,
        k: int = 10,
        titles: tuple[str, str] = ("before", "after"),
        ax: Any = None,
    ) -> Self:
        """Count neighbours in two spaces that hold the same rows.

        Time O(n_pivot n_samples d), memory O(n_samples k).

        Parameters
        ----------
        X_before, X_after : array of shape (n_samples, n_features), (n_samples, n_features_out)
        language : array-like of shape (n_samples,)
        pivot : str or int
            The language searched in.
        k : int, default=10
            Neighbours of each row; at most the pivot's rows.
        titles : tuple of str, default=("before", "after")
        ax : Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        HubnessDisplay

        Raises
        ------
        ValueError
            If the pivot is no language or the only one, or `k` is larger than its rows.
        """
        before, after = (_counts(X, language, pivot, k) for X in (X_before, X_after))
        return cls(before, after, k=k, titles=titles).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the two histograms over each other.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        HubnessDisplay
        """
        axes = panels(ax, 1, 1, (6.4, 3.4))
        own = axes[0, 0]
        most = int(max(self.before.max(), self.after.max()))
        step = max(1, -(-(most + 1) // 40))  # at most 40 bars: one a count as long as they fit
        edges = np.arange(0, most + step + 1, step) - 0.5
        looks = ((BEFORE, "//", self.before), (AFTER, None, self.after))
        for (colour, hatch, counts), title in zip(looks, self.titles, strict=True):
            own.hist(
                counts,
                bins=edges,
                weights=np.full(len(counts), 100 / len(counts)),
                histtype="stepfilled",
                facecolor=(*_rgb(colour), 0.25),
                edgecolor=colour,
                hatch=hatch,
                linewidth=1.5,
                label=f"{title}: {percent(float(np.mean(counts == 0)))} % never found, "
                f"most {counts.max()} times",
            )
        own.set_yscale("log")
        own.grid(axis="y", color=FAINT, linewidth=0.6)
        own.set_axisbelow(True)
        quiet(own)
        own.tick_params(colors=GREY, labelsize=8)
        own.yaxis.set_major_formatter("{x:g} %")
        own.set_xlabel(
            f"times a row of the pivot is among the {self.k} nearest of another language's rows",
            color=GREY,
            fontsize=8,
        )
        own.set_ylabel("share of rows", color=GREY, fontsize=8)
        key = own.legend(loc="upper right", frameon=False, fontsize=9)
        for text in key.get_texts():
            text.set_parse_math(False)
        return self._drawn(axes)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _counts(X: Array, language: Any, pivot: Any, k: int) -> np.ndarray:
    """How often each pivot row is among the k nearest, one language after the other."""
    X = check_rows(None, X)
    languages = check_language(language, X.shape[0])
    names = [] if languages is None else np.unique(languages).tolist()
    if pivot not in names or len(names) < 2:
        raise ValueError(
            f"pivot={pivot!r} must be one of two languages or more; the languages are {names}."
        )
    pool = np.flatnonzero(languages == pivot)
    found = []
    for name in names:
        if name != pivot:
            asking = X[index_like(np.flatnonzero(languages == name), X)]
            found.append(hubness(asking, X[index_like(pool, X)], k=k).occurrence)
    return np.concatenate(found)
