"""Tables as pictures: methods against languages, methods against measures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from posthoc_align.plots._style import COLOURS, FAINT, GAP, GREY, INK, new_figure, percent

_NAMES: dict[str, Any] = {"fontsize": 9, "parse_math": False}  # "$" is a letter of a name
IN_CELLS = 20  # columns up to which a heat map has room for its figures


def plot_heatmap(
    table: Mapping[Any, Mapping[Any, float | None]],
    *,
    title: str | None = None,
    higher_is_better: bool = True,
    limits: tuple[float, float] | None = None,
    ax: Any = None,
) -> Any:
    """Draw a value for every method and language as a heat map in percent.

    Parameters
    ----------
    table : dict of dict
        ``table[method][language]``, a fraction; None, NaN or absent where there is none.
        Rows and columns keep the order they are first met in.
    title : str, optional
    higher_is_better : bool, default=True
        Dark is better; False turns the colours round.
    limits : tuple of float, optional
        Fractions at the two ends of the colours, so that several maps compare; None: the least
        and the greatest value.
    ax : Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    figure : matplotlib.figure.Figure
        With up to 20 columns each cell says its value.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If the table has no values.

    Examples
    --------
    >>> figure = plot_heatmap({"identity": {"de": 0.25, "sw": None}, "LSAR": {"de": 0.5}})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['25.0', '–', '50.0', '–']
    """
    values, methods, languages = _matrix(table)
    figure = (
        ax.get_figure()
        if ax is not None
        else new_figure(*heatmap_size(values.shape, methods, title))
    )
    if ax is None:
        ax = figure.subplots()
    import matplotlib as mpl

    shades = mpl.colormaps["Blues" if higher_is_better else "Blues_r"]
    low, high = limits or (np.nanmin(values), np.nanmax(values))
    low, high = 100 * low, 100 * high
    image = ax.imshow(
        np.ma.masked_invalid(100 * values),
        cmap=shades.with_extremes(bad="white"),
        vmin=low,
        vmax=high if high > low else low + 1,
        aspect="auto",
    )
    ax.set_yticks(range(len(methods)), [_wrapped(m) for m in methods], **_NAMES)
    ax.set_xticks(range(len(languages)), [str(name) for name in languages], **_NAMES)
    crowded = max(len(str(name)) for name in languages) > 4 or len(languages) > IN_CELLS
    ax.tick_params(
        axis="x",
        rotation=90 if crowded else 0,
        top=True,
        labeltop=True,
        bottom=False,
        labelbottom=False,
    )
    ax.tick_params(length=0, colors=INK)
    for edge in ax.spines.values():
        edge.set_visible(False)
    ax.set_xticks(np.arange(len(languages) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(methods) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    if len(languages) <= IN_CELLS:
        for (i, j), value in np.ndenumerate(values):
            red, green, blue, _ = image.cmap(image.norm(100 * value)) if value == value else [1] * 4
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5
            text = percent(value) if value == value else GAP
            ax.text(
                j, i, text, ha="center", va="center", fontsize=8.5, color="white" if dark else INK
            )
    else:
        bar = figure.colorbar(image, ax=ax, fraction=0.02, pad=0.01)
        bar.set_label("percent", color=GREY, fontsize=8)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, colors=GREY)
    if title:
        ax.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False, pad=10)
    return figure


def heatmap_size(
    shape: tuple[int, ...], methods: Sequence[Any], title: str | None
) -> tuple[float, float]:
    """Return width and height in inches that give every text its room."""
    width = 0.55 if shape[1] <= IN_CELLS else 0.22
    longest = max(len(line) for m in methods for line in _wrapped(m).split("\n"))
    cells = max(width * shape[1], 0.09 * len(title or ""))
    return 0.6 + 0.085 * longest + cells, 1.1 + 0.42 * shape[0]


def plot_ladder(
    table: Mapping[Any, Mapping[str, float | None]],
    *,
    titles: Mapping[str, str] | None = None,
    lower_is_better: Iterable[str] = (),
    title: str | None = None,
) -> Any:
    """Draw methods against measures as small multiples of bars, in percent.

    The best bar of each panel is coloured; a line marks the first method, the one to beat.

    Parameters
    ----------
    table : dict of dict
        ``table[method][measure]``, a fraction; None, NaN or absent where there is none.
        The first method is the baseline.
    titles : dict, optional
        What to call each measure.
    lower_is_better : iterable of str, default=()
        Measures whose best value is the lowest.
    title : str, optional
        Of the whole figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        One panel a measure that has a value, at most 4 side by side.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If the table has no values.

    Examples
    --------
    >>> figure = plot_ladder({"identity": {"weak": 0.16}, "ridge": {"weak": 0.38}})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['16.0', '38.0']
    """
    values, methods, measures = _matrix(table)
    taken = np.isfinite(values).any(axis=0)
    values, measures = (
        values[:, taken],
        [m for m, here in zip(measures, taken, strict=True) if here],
    )
    lower = set(lower_is_better)
    across = min(4, len(measures))
    down = -(-len(measures) // across)
    figure = new_figure(1.9 + 2.2 * across, down * (0.75 + 0.3 * len(methods)) + 0.3)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for ax in panels[len(measures) :]:
        ax.set_visible(False)
    for ax, measure, column in zip(panels, measures, values.T, strict=False):
        best = np.nanmin(column) if measure in lower else np.nanmax(column)
        _bars(ax, column, np.round(column, 3) == np.round(best, 3))
        name = (titles or {}).get(measure, str(measure))
        way = "lower is better" if measure in lower else "higher is better"
        ax.set_title(name, loc="left", fontsize=10, color=INK, parse_math=False)
        ax.xaxis.set_label_position("top")
        ax.set_xlabel(way, loc="left", fontsize=7.5, color=GREY)
    for ax in panels[::across]:
        ax.set_yticks(range(len(methods)), [_wrapped(m) for m in methods], **_NAMES)
    panels[0].set_ylim(len(methods) - 0.4, -0.6)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    return figure


def _bars(ax: Any, column: np.ndarray, best: np.ndarray) -> None:
    places = np.arange(len(column))
    known = np.isfinite(column)
    colours = np.where(best, COLOURS[0], "#b8c4cc")
    ax.barh(places[known], column[known], color=colours[known], height=0.68)
    low, high = min(0.0, np.nanmin(column)), max(0.0, np.nanmax(column))
    room = (high - low) or 1.0
    ax.set_xlim(low - 0.02 * room, high + 0.28 * room)
    for place, value in zip(places, column, strict=True):
        text = percent(value) if np.isfinite(value) else GAP
        ax.text(
            max(value, 0.0) + 0.03 * room if np.isfinite(value) else 0.03 * room,
            place,
            text,
            va="center",
            fontsize=8.5,
            color=INK,
        )
    if known[0]:
        ax.axvline(column[0], color=GREY, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
    ax.axvline(0, color=FAINT, linewidth=1)
    ax.tick_params(length=0, colors=INK)
    ax.set_xticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _matrix(
    table: Mapping[Any, Mapping[Any, float | None]],
) -> tuple[np.ndarray, list[Any], list[Any]]:
    """Return a dict of dicts as values with NaN for gaps, row names, column names."""
    rows = list(table)
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    cells = [[table[row].get(name) for name in columns] for row in rows]
    values = np.array([[np.nan if v is None else float(v) for v in row] for row in cells])
    values[~np.isfinite(values)] = np.nan
    if not values.size or not np.isfinite(values).any():
        raise ValueError(
            f"The table has {len(rows)} rows and {len(columns)} columns and no value: expected "
            "table[row][column] with fractions, e.g. {'identity': {'de': 0.25}}."
        )
    return values, rows, columns


def _wrapped(name: Any) -> str:
    return "\n".join(textwrap.wrap(str(name), 28)) or str(name)
