"""Measures over the layers of an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from posthoc_align.plots._style import (
    AFTER,
    BEFORE,
    FAINT,
    GREY,
    INK,
    Display,
    panels,
    quiet,
)

if TYPE_CHECKING:
    from posthoc_align.layer_profile import LayerProfile

_SHOWN = ("weak", "strong", "language_id", "head_others")
_SAYS = {
    "weak": "weak alignment",
    "strong": "strong alignment",
    "language_id": "language id",
    "head_others": "task in the other languages",
}


class LayerProfileDisplay(Display):
    """Measures over the layers, before and after alignment, with the best layer marked.

    Parameters
    ----------
    profile : LayerProfile

    Attributes
    ----------
    ax_ : Axes, or ndarray of Axes of shape (1, n_panels)
        A panel each for weak and strong alignment, language identification and, with labels, the
        task in the other languages.
    figure_ : matplotlib.figure.Figure
    """

    def __init__(self, profile: LayerProfile) -> None:
        self.profile = profile

    def plot(self, *, ax: Any = None) -> Self:
        """Draw a line a panel for the layers as they are, and one for them aligned.

        Parameters
        ----------
        ax : Axes, or as many as there are panels, optional
            Where to draw; a new figure if None.

        Returns
        -------
        LayerProfileDisplay
        """
        taken = {measure.key: measure for measure in self.profile.measures}
        shown = [key for key in _SHOWN if key in taken]
        axes = panels(ax, 1, len(shown), (3.1 * len(shown), 3.1))
        layers = [row["layer"] for row in self.profile.rows]
        names, best = [_short(layer) for layer in layers], layers.index(self.profile.best_layer)
        for own, key in zip(axes[0], shown, strict=True):
            self._line(own, key, "before", BEFORE, "D", (0, (4, 2)))
            if self.profile.aligned:
                self._line(own, key, "after", AFTER, "o", "-")
            own.axvline(best, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
            step = -(-len(names) // 13)  # as many names as have room
            at = sorted({*range(0, len(names), step), best})
            at = [i for i in at if i == best or abs(i - best) >= step]
            own.set_xticks(at, [names[i] for i in at], parse_math=False)
            own.set_ylim(-2, 102)
            own.grid(axis="y", color=FAINT, linewidth=0.6)
            own.set_axisbelow(True)
            quiet(own)
            own.tick_params(colors=GREY, labelsize=8)
            way = "" if taken[key].higher_is_better else " (lower: more neutral)"
            own.set_title(_SAYS[key] + way, loc="left", fontsize=9.5, color=INK)
            own.set_xlabel(
                f"layer; best on dev pairs: {names[best]}", color=GREY, fontsize=8, parse_math=False
            )
        axes[0, 0].set_ylabel("percent", color=GREY, fontsize=8)
        if self.profile.aligned:
            axes[0, 0].legend(frameon=False, fontsize=8.5, loc="best")
        return self._drawn(axes)

    def _line(self, ax: Any, key: str, side: str, colour: str, marker: str, dash: Any) -> None:
        rows = [row[side] for row in self.profile.rows]
        values = np.array([row["values"].get(key, np.nan) for row in rows], dtype=float)
        places = np.arange(len(values))
        ax.plot(
            places,
            100 * values,
            color=colour,
            marker=marker,
            linestyle=dash,
            markersize=4,
            linewidth=1.4,
            label=side,
        )
        ends = [(row.get("intervals") or {}).get(key) for row in rows]
        if all(end is not None for end in ends):
            low, high = 100 * np.array(ends, dtype=float).T
            ax.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)


def _short(layer: Any) -> str:
    """The end of a long name: that is where layers differ."""
    name = str(layer)
    return name if len(name) <= 10 else "\N{HORIZONTAL ELLIPSIS}" + name[-9:]
