"""Retrieval before and after: language by language into the pivot, and between all languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align._between import weak_between
from posthoc_align.plots._style import (
    AFTER,
    BEFORE,
    FAINT,
    GREY,
    INK,
    BeforeAfterDisplay,
    panels,
    percent,
    quiet,
)
from posthoc_align.plots.tables import IN_CELLS, heatmap_size, plot_heatmap


class RetrievalDisplay(BeforeAfterDisplay):
    """Retrieval into the pivot for every language, before and after alignment.

    Two dots a language, weak alignment in percent; languages in falling order of the second.

    Parameters
    ----------
    before, after : dict of float
        By language, fractions.
    intervals : dict of tuple of float, optional
        By language, the ends of the interval of `after`.
    titles : tuple of str, default=("before", "after")
    measure : str, default="nearest pivot row is the translation, percent"
        What the axis says.

    Attributes
    ----------
    ax_ : Axes
    figure_ : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a language has a value before and none after, or the other way round.

    Examples
    --------
    >>> display = RetrievalDisplay({"de": 0.4, "sw": 0.1}, {"de": 0.6, "sw": 0.2}).plot()
    >>> [tick.get_text() for tick in display.ax_.get_yticklabels()]
    ['de', 'sw']
    """

    def __init__(
        self,
        before: Mapping[Any, float],
        after: Mapping[Any, float],
        *,
        intervals: Mapping[Any, tuple[float, float]] | None = None,
        titles: tuple[str, str] = ("before", "after"),
        measure: str = "nearest pivot row is the translation, percent",
    ) -> None:
        odd = sorted(map(str, before.keys() ^ after.keys()))
        if odd:
            raise ValueError(
                f"The languages {odd} have a value before or after, but not both: pass the same "
                f"languages in each (before has {list(before)}, after {list(after)})."
            )
        self.before, self.after, self.intervals = dict(before), dict(after), dict(intervals or {})
        self.titles, self.measure = titles, measure

    @classmethod
    def from_spaces(
        cls,
        X_before: Array,
        X_after: Array,
        *,
        language: Any,
        pair_id: Any,
        pivot: Any,
        titles: tuple[str, str] = ("before", "after"),
        ax: Any = None,
    ) -> Self:
        """Draw weak alignment into the pivot in two spaces that hold the same rows.

        Parameters
        ----------
        X_before, X_after : array of shape (n_samples, n_features), (n_samples, n_features_out)
        language, pair_id : array-like of shape (n_samples,)
        pivot : str or int
            The language searched in.
        titles : tuple of str, default=("before", "after")
        ax : Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        RetrievalDisplay

        Raises
        ------
        ValueError
            If there are fewer than two languages, the pivot is none of them, an id occurs twice
            in a language, or no language shares 5 pairs with the pivot.
        """
        before, after = (
            {
                name: value
                for name, row in weak_between(X, language, pair_id, pivot=pivot).items()
                if (value := row[pivot]) is not None
            }
            for X in (X_before, X_after)
        )
        return cls(before, after, titles=titles).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw two dots a language, joined by a line.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        RetrievalDisplay
        """
        names = sorted(self.after, key=lambda name: -self.after[name])
        axes = panels(ax, 1, 1, (6.4, 1.3 + 0.26 * len(names)))
        own = axes[0, 0]
        places = np.arange(len(names))
        first = 100 * np.array([self.before[name] for name in names])
        second = 100 * np.array([self.after[name] for name in names])
        own.hlines(places, first, second, color=FAINT, linewidth=3, zorder=1)
        for place, name in enumerate(names):
            if name in self.intervals:
                ends = 100 * np.array(self.intervals[name])
                own.hlines(place, *ends, color=AFTER, linewidth=1.2, zorder=2)
        own.scatter(first, places, color=BEFORE, marker="D", s=26, label=self.titles[0], zorder=3)
        own.scatter(second, places, color=AFTER, marker="o", s=36, label=self.titles[1], zorder=3)
        own.set_yticks(places, [str(name) for name in names], parse_math=False)
        own.set_ylim(len(names) - 0.4, -0.6)
        own.set_xlim(-2, 102)
        own.grid(axis="x", color=FAINT, linewidth=0.6, zorder=0)
        own.set_axisbelow(True)
        quiet(own)
        own.set_xlabel(self.measure, color=GREY, fontsize=8)
        key = own.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9
        )
        for text in key.get_texts():
            text.set_parse_math(False)
            text.set_color(INK)
        return self._drawn(axes)


class LanguagePairDisplay(BeforeAfterDisplay):
    """Retrieval from every language into every other, before and after alignment.

    Two heat maps of one scale: rows ask, columns are searched, weak alignment in percent. An
    aligner fitted towards a pivot shows here what it does to pairs that it has never seen.

    Parameters
    ----------
    before, after : dict of dict
        ``before[asked_in][searched_in]``, a fraction or None.
    titles : tuple of str, default=("before", "after")

    Attributes
    ----------
    ax_ : ndarray of Axes of shape (1, 2)
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> table = {"de": {"de": None, "en": 0.5}, "en": {"de": 0.25, "en": None}}
    >>> [ax.get_title("left") for ax in LanguagePairDisplay(table, table).plot().ax_[0]]
    ['before: mean 37.5', 'after: mean 37.5']
    """

    def __init__(
        self,
        before: Mapping[Any, Mapping[Any, float | None]],
        after: Mapping[Any, Mapping[Any, float | None]],
        *,
        titles: tuple[str, str] = ("before", "after"),
    ) -> None:
        self.before, self.after, self.titles = before, after, titles

    @classmethod
    def from_spaces(
        cls,
        X_before: Array,
        X_after: Array,
        *,
        language: Any,
        pair_id: Any,
        titles: tuple[str, str] = ("before", "after"),
        ax: Any = None,
    ) -> Self:
        """Draw weak alignment between all languages in two spaces that hold the same rows.

        Parameters
        ----------
        X_before, X_after : array of shape (n_samples, n_features), (n_samples, n_features_out)
        language, pair_id : array-like of shape (n_samples,)
        titles : tuple of str, default=("before", "after")
        ax : sequence of 2 Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        LanguagePairDisplay

        Raises
        ------
        ValueError
            If there are fewer than two languages, an id occurs twice in a language, or no two
            languages share 5 pairs.
        """
        before, after = (weak_between(X, language, pair_id) for X in (X_before, X_after))
        return cls(before, after, titles=titles).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the two heat maps.

        Parameters
        ----------
        ax : sequence of 2 Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        LanguagePairDisplay
        """
        tables = (self.before, self.after)
        known = [v for t in tables for row in t.values() for v in row.values() if v is not None]
        names = list(self.before)
        width, height = heatmap_size((len(names), len(names)), names, None)
        if len(names) > IN_CELLS:
            width = height = 1.5 + 0.17 * len(names)  # cells without figures need no room
        axes = panels(ax, 1, 2, (2 * width, height))
        for own, table, title in zip(axes[0], tables, self.titles, strict=True):
            mean = np.mean([v for row in table.values() for v in row.values() if v is not None])
            plot_heatmap(
                table,
                title=f"{title}: mean {percent(float(mean))}",
                limits=(min(known), max(known)),
                ax=own,
            )
            own.set_ylabel("asked in", color=GREY, fontsize=8)
            own.set_xlabel("searched in", color=GREY, fontsize=8)
        return self._drawn(axes)
