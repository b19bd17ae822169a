"""What all pictures share: colours, an empty figure, how a fraction is written, a display's parts.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind readers can
tell apart; marker shapes say the same a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np

from posthoc_align._arrays import Array
from posthoc_align.align._apply import apply_aligner

INK, EDGE, GREY, FAINT = "#222222", "#444444", "#767676", "#d9d9d9"
# Okabe-Ito without black, which is the pivot's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BEFORE, AFTER = COLOURS[1], COLOURS[0]
GAP = "\N{EN DASH}"


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches, made without pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need Matplotlib: pip install "posthoc-align[plots]"') from error
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def percent(fraction: float, digits: int = 1) -> str:
    """Write a fraction in percent, with a true minus sign and no negative zero."""
    return f"{round(100 * fraction, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def panels(ax: Any, rows: int, columns: int, size: tuple[float, float]) -> np.ndarray:
    """Return Axes in rows and columns: those given, or those of a new figure.

    Parameters
    ----------
    ax : None, Axes, or sequence of Axes
    rows, columns : int
    size : tuple of float
        Width and height of the new figure, in inches.

    Returns
    -------
    ndarray of object of shape (rows, columns)

    Raises
    ------
    ValueError
        If `ax` holds another number of Axes.
    """
    if ax is None:
        return new_figure(*size).subplots(rows, columns, squeeze=False)
    given = list(ax.ravel()) if isinstance(ax, np.ndarray) else ax
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(given) != rows * columns:
        raise ValueError(
            f"axes has {len(given)} entries; this picture has {rows * columns} panels: pass as "
            "many, row by row, or None for a new figure."
        )
    return np.array(given, dtype=object).reshape(rows, columns)


def quiet(ax: Any) -> None:
    """Take away what no value is read from: frame and tick marks."""
    ax.tick_params(length=0, colors=INK, labelsize=9)
    for spine in ax.spines.values():
        spine.set_visible(False)


class Display:
    """A picture whose figures were computed once and can be drawn again.

    Attributes
    ----------
    ax_ : Axes, or ndarray of Axes where there are several panels
    figure_ : matplotlib.figure.Figure
    """

    ax_: Any
    figure_: Any

    def _drawn(self, axes: np.ndarray) -> Self:
        self.ax_ = axes[0, 0] if axes.size == 1 else axes
        self.figure_ = axes[0, 0].get_figure()
        return self


class BeforeAfterDisplay(Display):
    """A picture of two spaces that hold the same rows.

    As in scikit-learn: ``from_...`` computes and draws, ``plot`` draws again, elsewhere.
    """

    from_spaces: ClassVar[Callable[..., Any]]

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Array, *, language: Any, ax: Any = None, **options: Any
    ) -> Self:
        """Draw what a fitted aligner does to rows; held-out ones tell the truth.

        Parameters
        ----------
        estimator : fitted estimator
            Whatever has ``transform``, with or without ``language=``; a Pipeline, too.
        X : array of shape (n_samples, n_features)
        language : array-like of shape (n_samples,)
        ax : Axes, or as many as there are panels, optional
        **options
            Parameters as in ``from_spaces``.

        Returns
        -------
        display
            Of this class, drawn.
        """
        after = apply_aligner(estimator, X, language)
        return cls.from_spaces(X, after, language=language, ax=ax, **options)
