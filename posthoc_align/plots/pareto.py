"""What alignment costs: retrieval gained against the task and the language information kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from posthoc_align.plots._style import COLOURS, FAINT, GREY, INK, Display, panels, quiet

_KEPT = ("head_pivot", "head_others", "language_id")
_LEAST_SPAN = 10  # points: a difference of one answer must not look like a cliff
_SAYS = {
    "weak": "retrieval into the pivot, percent",
    "head_pivot": "task in the pivot, percent",
    "head_others": "task in the other languages, percent",
    "language_id": "language still told, percent",
}


class ParetoDisplay(Display):
    """Methods as dots: alignment gained to the right, what is kept upwards.

    A line joins the methods that none beats in both (the Pareto front): which of them is best
    depends on what the space is for. Dashed lines mark the one to beat. Language information counts
    as kept, since a user may need it; who wants neutral rows reads that panel upside down.

    Parameters
    ----------
    rows : sequence of dict
        Each with ``method``, ``values`` (measure -> fraction) and optionally ``intervals``
        (measure -> two fractions), as :class:`posthoc_align.result.Comparison` holds them. The row
        "identity", else the first, is the one to beat.
    gained : str, default="weak"
        Measure on the first axis.
    kept : sequence of str, optional
        Measures on the second axis, a panel each; None: those of task in the pivot, task
        elsewhere and language identification that have values.

    Attributes
    ----------
    ax_ : Axes, or ndarray of Axes of shape (1, n_panels)
    figure_ : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no row has values of both measures.

    Examples
    --------
    >>> rows = [{"method": m, "values": {"weak": w, "language_id": i}}
    ...         for m, w, i in (("identity", 0.1, 0.9), ("LSAR", 0.3, 0.5), ("bad", 0.2, 0.4))]
    >>> ParetoDisplay(rows).front("language_id")
    ['identity', 'LSAR']
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        gained: str = "weak",
        kept: Sequence[str] | None = None,
    ) -> None:
        asked = _KEPT if kept is None else tuple(kept)
        taken = [key for key in asked if _complete(rows, (gained, key))]
        if not taken:
            raise ValueError(
                f"No row has values of {gained!r} and of any of {list(asked)}: pass the rows of a "
                "Comparison."
            )
        self.rows, self.gained, self.kept = rows, gained, taken

    @classmethod
    def from_comparison(cls, comparison: Any, *, ax: Any = None) -> Self:
        """Draw the methods of a comparison.

        Parameters
        ----------
        comparison : Comparison
        ax : Axes, or one for each panel, optional
            Where to draw; a new figure if None.

        Returns
        -------
        ParetoDisplay
        """
        return cls(comparison.rows).plot(ax=ax)

    def front(self, kept: str) -> list[str]:
        """Name the methods that no other beats in both measures, from left to right.

        Parameters
        ----------
        kept : str
            Measure on the second axis.

        Returns
        -------
        list of str
        """
        rows = _complete(self.rows, (self.gained, kept))
        dots = np.array([[row["values"][self.gained], row["values"][kept]] for row in rows])
        beaten = [bool(((dots >= d).all(axis=1) & (dots > d).any(axis=1)).any()) for d in dots]
        order = np.argsort(dots[:, 0], kind="stable")
        return [rows[i]["method"] for i in order if not beaten[i]]

    def plot(self, *, ax: Any = None) -> Self:
        """Draw a panel for each measure kept; dots are numbered, the key is beside the last panel.

        Parameters
        ----------
        ax : Axes, or one for each panel, optional
            Where to draw; a new figure if None.

        Returns
        -------
        ParetoDisplay
        """
        height = max(3.8, 0.4 + 0.2 * len(self.rows))  # as high as the key
        axes = panels(ax, 1, len(self.kept), (3.6 * len(self.kept) + 1.8, height))
        for own, kept in zip(axes[0], self.kept, strict=True):
            self._panel(own, kept)
        names = "\n".join(f"{i}  {row['method']}" for i, row in enumerate(self.rows, 1))
        axes[0, -1].annotate(
            names,
            (1.04, 0.5),
            xycoords="axes fraction",
            va="center",
            fontsize=9,
            linespacing=1.6,
            color=INK,
            parse_math=False,
        )
        return self._drawn(axes)

    def _panel(self, ax: Any, kept: str) -> None:
        keys, front = (self.gained, kept), self.front(kept)
        at = {}
        for number, row in enumerate(self.rows, 1):
            if not _complete([row], keys):
                continue
            place = at[row["method"]] = [100 * row["values"][key] for key in keys]
            best = row["method"] in front
            whiskers = [_whiskers(row, key) for key in keys]
            ax.errorbar(
                *([v] for v in place),
                xerr=whiskers[0],
                yerr=whiskers[1],
                fmt="o",
                markersize=13,
                color=COLOURS[0] if best else GREY,
                markerfacecolor=COLOURS[0] if best else "white",
                elinewidth=0.9,
                zorder=3,
            )
            ax.text(
                *place,
                str(number),
                ha="center",
                va="center_baseline",
                fontsize=8.5,
                color="white" if best else INK,
                zorder=4,
            )
        ax.plot(*np.array([at[m] for m in front]).T, color=COLOURS[0], linewidth=1, zorder=1)
        methods = [row["method"] for row in self.rows]
        beaten = "identity" if "identity" in methods else methods[0]
        for value, line in zip(at.get(beaten, ()), (ax.axvline, ax.axhline), strict=False):
            line(value, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
        ax.margins(0.1)
        low, high = ax.get_ylim()
        missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
        ax.set_ylim(low - missing, high + missing)
        ax.grid(color=FAINT, linewidth=0.5)
        ax.set_axisbelow(True)
        quiet(ax)
        ax.tick_params(colors=GREY, labelsize=8)
        ax.set_xlabel(_SAYS.get(keys[0], keys[0]), color=GREY, fontsize=8)
        ax.set_title(_SAYS.get(kept, kept), loc="left", fontsize=10, color=INK, parse_math=False)


def _complete(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the rows that have a finite value of every measure."""
    return [
        row
        for row in rows
        if all((v := row["values"].get(k)) is not None and np.isfinite(v) for k in keys)
    ]


def _whiskers(row: Mapping[str, Any], key: str) -> list[list[float]] | None:
    """How far the interval of a value reaches below and above it, in points."""
    ends = (row.get("intervals") or {}).get(key)
    if ends is None:
        return None
    value = row["values"][key]
    return [[100 * max(0.0, value - ends[0])], [100 * max(0.0, ends[1] - value)]]
