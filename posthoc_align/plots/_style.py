"""What all pictures share: colours, an empty figure, how a fraction is written.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind readers can
tell apart; marker shapes say the same a second time.
"""

from __future__ import annotations

from typing import Any

INK, EDGE, GREY, FAINT = "#222222", "#444444", "#767676", "#d9d9d9"
# Okabe-Ito without black, which is the pivot's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
GAP = "\N{EN DASH}"


def new_figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need Matplotlib: pip install "posthoc-align[plots]"') from error
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def percent(fraction: float, digits: int = 1) -> str:
    """Write a fraction in percent, with a true minus sign and no negative zero."""
    return f"{round(100 * fraction, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")
