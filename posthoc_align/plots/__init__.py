"""Pictures of an alignment: the space before and after, a heat map, a ladder of methods.

Functions take arrays and dicts and return a Matplotlib figure made without pyplot: nothing is
shown, no global state is touched, no display is needed. Save one with ``figure.savefig(path)``.
"""

from posthoc_align.plots.space import plot_space
from posthoc_align.plots.tables import plot_heatmap, plot_ladder

__all__ = ["plot_heatmap", "plot_ladder", "plot_space"]
