"""Pictures of an alignment: the space before and after, retrieval, hubs, what it costs, layers.

Displays compute once and draw, as in scikit-learn: ``SpaceDisplay.from_estimator(aligner, X,
language=...)``, then ``.plot(ax=)``, ``.ax_``, ``.figure_``. Functions take arrays and dicts and
return a figure. Figures are made without pyplot: nothing is shown, no global state is touched, no
display is needed. Save one with ``figure.savefig(path)``.
"""

from posthoc_align.plots.hubness import HubnessDisplay
from posthoc_align.plots.layers import LayerProfileDisplay
from posthoc_align.plots.pareto import ParetoDisplay
from posthoc_align.plots.retrieval import LanguagePairDisplay, RetrievalDisplay
from posthoc_align.plots.space import SpaceDisplay, plot_space
from posthoc_align.plots.tables import plot_heatmap, plot_ladder

__all__ = [
    "HubnessDisplay",
    "LanguagePairDisplay",
    "LayerProfileDisplay",
    "ParetoDisplay",
    "RetrievalDisplay",
    "SpaceDisplay",
    "plot_heatmap",
    "plot_ladder",
    "plot_space",
]
