"""The space before and after, on its two main axes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, check_rows, index_like, to_host
from posthoc_align.languages import check_language, check_pair_id, pair_rows
from posthoc_align.plots._style import COLOURS, EDGE, FAINT, GREY, INK, new_figure, percent

# 7 and 8 have no common divisor: 56 languages get 56 pairs, and neighbours share neither part.
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
_SHARED = "."  # of languages beyond the 56
_MOST = len(COLOURS) * len(_SHAPES)
_PER_LANGUAGE = 200  # dots a language: more hide one another


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

    Each space has its own principal axes, of at most 200 evenly spaced rows a language, so that
    every language weighs the same. Two dimensions out of hundreds: what is apart here is apart,
    what lies together here need not be aligned. Memory O(200 L d) for L languages.

    Parameters
    ----------
    X_before, X_after : array of shape (n_samples, n_features), (n_samples, n_features_out)
        The same rows in both spaces.
    language : array-like of shape (n_samples,), or scalar
    label : array-like of shape (n_samples,), optional
        Task labels: two more panels show the same dots coloured by label.
    pivot : str or int, optional
        Language drawn in black, and first in the legend.
    pair_id : array-like of shape (n_samples,), optional
        With it, grey lines join `n_links` pivot rows to their translations (needs `pivot`).
    n_links : int, default=5
    title_before, title_after : str
    axes : sequence of 2 Axes (4 with `label`), optional
        Where to draw; a new figure if None.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If row counts differ, a space has fewer than 2 columns, `pivot` is no language, or
        missing with `pair_id`, `axes` are of another number, or there are fewer than 3 rows.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 8))
    >>> figure = plot_space(X, X - X.mean(axis=0), ["en", "de"] * 20, pivot="en")
    >>> [ax.get_title("left") for ax in figure.axes]
    ['before', 'after']
    """
    spaces = [
        check_rows(None, X_before, name="X_before"),
        check_rows(None, X_after, name="X_after"),
    ]
    n_rows = spaces[0].shape[0]
    if spaces[1].shape[0] != n_rows:
        raise ValueError(
            f"X_before has {n_rows} rows and X_after {spaces[1].shape[0]}: pass the same rows."
        )
    if n_rows < 3 or min(X.shape[1] for X in spaces) < 2:
        raise ValueError(
            f"The spaces have shapes {[tuple(X.shape) for X in spaces]}: a picture needs at "
            "least 3 rows and 2 columns."
        )
    languages = check_language(language, n_rows)
    if languages is None:
        raise ValueError("plot_space needs the language of each row, to colour by; got None.")
    names = np.unique(languages).tolist()
    if pivot is not None and pivot not in names:
        raise ValueError(f"pivot={pivot!r} is not among the languages {names}: name one of them.")
    if pair_id is not None and pivot is None:
        raise ValueError("pair_id came without pivot: links start at pivot rows. Pass pivot=.")
    labels = check_language(label, n_rows)

    shown = np.concatenate([_spread(np.flatnonzero(languages == name)) for name in names])
    points, variance = zip(*(_principal(X, shown) for X in spaces), strict=True)
    rows = 1 if labels is None else 2
    if axes is None:
        columns = _legend_columns(len(names))
        figure = new_figure(8.6 + 0.9 * columns, 4.1 * rows)
        panels = figure.subplots(rows, 2, squeeze=False)
    else:
        if len(axes) != 2 * rows:
            raise ValueError(f"axes has {len(axes)} entries; expected {2 * rows}, two a row.")
        panels = np.array(axes, dtype=object).reshape(rows, 2)
        figure = panels[0, 0].get_figure()

    colouring = [(languages, pivot, "language")]
    if labels is not None:
        colouring.append((labels, None, "label"))
    for row, (groups, first, what) in enumerate(colouring):
        styles = _styles(np.unique(groups).tolist(), first)
        for column, title in enumerate((title_before, title_after)):
            ax = panels[row, column]
            _scatter(ax, points[column], groups[shown], styles)
            _dress(ax, variance[column], title if row == 0 else f"{title}, by {what}")
            _name_clusters(ax, points[column], groups[shown])
        _legend(panels[row, 1], styles)
    if pair_id is not None:
        ids = check_pair_id(pair_id, n_rows)[shown]
        for ax, dots in zip(panels[0], points, strict=True):
            _links(ax, dots, languages[shown], ids, pivot, n_links)
    return figure


def _spread(rows: np.ndarray) -> np.ndarray:
    """Return at most `_PER_LANGUAGE` of the rows, evenly spaced."""
    if len(rows) <= _PER_LANGUAGE:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _PER_LANGUAGE).astype(int)]


def _principal(X: Array, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates of the rows on two principal axes, and the share of variance of each."""
    from sklearn.decomposition import PCA

    rows = to_host(X[index_like(shown, X)])  # few enough to leave their device
    if not np.isfinite(rows).all():
        raise ValueError("The spaces contain NaN or infinity: remove or repair such rows.")
    if not np.ptp(rows, axis=0).any():
        return np.zeros((len(rows), 2)), np.zeros(2)
    pca = PCA(n_components=2, random_state=0)
    return pca.fit_transform(rows), pca.explained_variance_ratio_


def _styles(names: Sequence[Any], pivot: Any) -> dict[Any, tuple[str, str]]:
    """Choose colour and shape of each group, in the order of the legend: the pivot first.

    Groups beyond what can be told apart share a grey dot.
    """
    styles = {} if pivot is None else {pivot: ("black", "o")}
    for i, name in enumerate(name for name in names if name != pivot):
        own = (COLOURS[i % len(COLOURS)], _SHAPES[i % len(_SHAPES)])
        styles[name] = own if i < _MOST else (GREY, _SHARED)
    return styles


def _scatter(
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


def _legend(ax: Any, styles: Mapping[Any, tuple[str, str]]) -> None:
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
        ncols=_legend_columns(len(keys)),
        frameon=False,
        fontsize=9,
        handletextpad=0.2,
        columnspacing=0.8,
        labelspacing=0.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _legend_columns(n: int) -> int:
    return 1 + (n - 1) // 17


def _name_clusters(ax: Any, points: np.ndarray, groups: np.ndarray) -> None:
    """Write the name of each group at its middle, where that is apart from all other middles."""
    from matplotlib.patheffects import withStroke

    names = np.unique(groups).tolist()
    middles = np.array([np.median(points[groups == name], axis=0) for name in names])
    apart = np.linalg.norm(middles[:, None] - middles[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    for name, middle, nearest in zip(names, middles, apart.min(axis=1), strict=True):
        if nearest > 0.07 * np.ptp(points, axis=0).max():
            ax.text(
                *middle,
                str(name),
                ha="center",
                va="center",
                fontsize=10,
                fontweight="bold",
                parse_math=False,
                color=INK,
                path_effects=[withStroke(linewidth=3, foreground="white")],
                zorder=9,
            )


def _dress(ax: Any, variance: np.ndarray, title: str) -> None:
    title = textwrap.fill(title, 52)  # as wide as a panel
    ax.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False)
    ax.set_xlabel(f"first axis, {percent(variance[0], 0)} % of variance", color=GREY, fontsize=8)
    ax.set_ylabel(f"second axis, {percent(variance[1], 0)} %", color=GREY, fontsize=8)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal", adjustable="datalim")
    for spine in ax.spines.values():
        spine.set_color(FAINT)


def _links(
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
