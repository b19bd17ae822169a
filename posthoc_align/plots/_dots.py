"""Dots in a plane, coloured by group: what pictures of a space are drawn with."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posthoc_align.languages import pair_rows
from posthoc_align.plots._style import COLOURS, EDGE, FAINT, GREY, INK

# 7 and 8 have no common divisor: 56 languages get 56 pairs, and neighbours share neither part.
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
_SHARED = "."  # of languages beyond the 56
_MOST = len(COLOURS) * len(_SHAPES)
_CROWD = 20  # groups beyond which names are written smaller


def choose_styles(names: Sequence[Any], pivot: Any) -> dict[Any, tuple[str, str]]:
    """Choose colour and shape of each group, in the order of the legend: the pivot first.

    Groups beyond what can be told apart share a grey dot.
    """
    styles = {} if pivot is None else {pivot: ("black", "o")}
    for i, name in enumerate(name for name in names if name != pivot):
        own = (COLOURS[i % len(COLOURS)], _SHAPES[i % len(_SHAPES)])
        styles[name] = own if i < _MOST else (GREY, _SHARED)
    return styles


def scatter(
    ax: Any, points: np.ndarray, groups: np.ndarray, styles: Mapping[Any, tuple[str, str]]
) -> None:
    """Draw all dots in one shuffled heap, so that no group lies wholly on top of another."""
    from matplotlib.collections import PathCollection
    from matplotlib.markers import MarkerStyle
    from matplotlib.transforms import IdentityTransform

    markers = {shape: MarkerStyle(shape) for _, shape in styles.values()}
    outlines = {s: m.get_path().transformed(m.get_transform()) for s, m in markers.items()}
    heap = np.random.default_rng(0).permutation(len(points))
    own = [styles[name] for name in groups[heap].tolist()]
    dots = PathCollection(
        [outlines[shape] for _, shape in own],
        sizes=[24 if len(points) < 300 else 14 if len(points) < 3000 else 10],
        facecolors=[colour for colour, _ in own],
        offsets=points[heap],
        offset_transform=ax.transData,
        alpha=0.85,
        zorder=3,
        linewidths=0.25,
        edgecolors=EDGE,
    )
    dots.set_transform(IdentityTransform())
    ax.add_collection(dots)
    ax.autoscale_view()


def legend(ax: Any, styles: Mapping[Any, tuple[str, str]]) -> None:
    """Name each group to the right of a panel."""
    from matplotlib.lines import Line2D

    keys = [(str(name), *style) for name, style in styles.items() if style[1] != _SHARED]
    if len(keys) < len(styles):
        keys.append((f"{len(styles) - len(keys)} others", GREY, _SHARED))
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            color=colour,
            marker=shape,
            markersize=6,
            markeredgecolor=EDGE,
            markeredgewidth=0.25,
            label=text,
        )
        for text, colour, shape in keys
    ]
    legend = ax.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        ncols=legend_columns(len(keys)),
        frameon=False,
        fontsize=9,
        handletextpad=0.2,
        columnspacing=0.8,
        labelspacing=0.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def legend_columns(n: int) -> int:
    """Columns of a legend of n groups: 17 lines are as high as a panel."""
    return 1 + (n - 1) // 17


def name_clusters(ax: Any, points: np.ndarray, groups: np.ndarray) -> None:
    """Write the name of each group at its middle, where no other group's middle is near.

    Near is what would make names overlap, and what lies within the group: 7 % of the picture, and
    half the distance of the group's own dots from their middle.
    """
    from matplotlib.patheffects import withStroke

    names = np.unique(groups).tolist()
    own = [points[groups == name] for name in names]
    middles = np.array([np.median(dots, axis=0) for dots in own])
    spread = [
        np.median(np.linalg.norm(dots - middle, axis=1))
        for dots, middle in zip(own, middles, strict=True)
    ]
    apart = np.linalg.norm(middles[:, None] - middles[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    least = 0.07 * np.ptp(points, axis=0).max()
    for name, middle, nearest, wide in zip(names, middles, apart.min(axis=1), spread, strict=True):
        if nearest > max(least, 0.5 * wide):
            ax.text(
                *middle,
                str(name),
                ha="center",
                va="center",
                fontsize=10 if len(names) <= _CROWD else 7.5,
                fontweight="bold",
                parse_math=False,
                color=INK,
                path_effects=[withStroke(linewidth=3, foreground="white")],
                zorder=9,
            )


def dress(ax: Any, title: str, axis_names: Sequence[str]) -> None:
    """Title and axis names of a panel whose coordinates have no unit."""
    title = textwrap.fill(title, 52)  # as wide as a panel
    ax.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False)
    ax.set_xlabel(axis_names[0], color=GREY, fontsize=8)
    ax.set_ylabel(axis_names[1], color=GREY, fontsize=8)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal", adjustable="datalim")
    for spine in ax.spines.values():
        spine.set_color(FAINT)


def links(
    ax: Any, points: np.ndarray, groups: np.ndarray, ids: np.ndarray, pivot: Any, n_links: int
) -> None:
    """Join some pivot rows with their translations."""
    at_pivot = np.flatnonzero(groups == pivot)
    chosen = at_pivot[np.linspace(0, len(at_pivot) - 1, min(n_links, len(at_pivot))).astype(int)]
    for name in np.unique(groups):
        if name == pivot:
            continue
        own = np.flatnonzero(groups == name)
        for a, b in zip(*pair_rows(ids[chosen], ids[own]), strict=True):
            ends = points[[chosen[a], own[b]]]
            ax.plot(*ends.T, color="#555555", linewidth=0.6, alpha=0.8, zorder=8)
