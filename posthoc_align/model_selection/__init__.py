"""Choose and validate aligners and what stands behind them, with the language of each row known.

Scorers that scikit-learn's tools take for ``scoring=``: :func:`make_language_scorer` and
:func:`make_retrieval_scorer`. Splitters for ``cv=``: :class:`ZeroShotSplit` and
:class:`PairGroupKFold`, with :func:`check_no_leakage` to be sure. Aligners that judge on held-out
rows: :class:`AutoAligner` and :class:`DoNoHarm`. What a move to another encoder keeps:
:func:`migration_report`.

To leave out one language at a time there is scikit-learn's own ``LeaveOneGroupOut`` with the
language as group. It knows nothing of translations: on parallel data all of a test sentence's
are in training.

>>> from sklearn.model_selection import LeaveOneGroupOut
>>> X, language = [[0.0], [1.0], [2.0]], ["de", "en", "fr"]
>>> [test.tolist() for _, test in LeaveOneGroupOut().split(X, groups=language)]
[[0], [1], [2]]
"""

from posthoc_align.model_selection.auto import AutoAligner
from posthoc_align.model_selection.do_no_harm import DoNoHarm
from posthoc_align.model_selection.migration import MigrationReport, migration_report
from posthoc_align.model_selection.pair_folds import PairGroupKFold, check_no_leakage
from posthoc_align.model_selection.retrieval_scoring import make_retrieval_scorer
from posthoc_align.model_selection.scoring import make_language_scorer
from posthoc_align.model_selection.zero_shot import ZeroShotSplit

__all__ = [
    "AutoAligner",
    "DoNoHarm",
    "MigrationReport",
    "PairGroupKFold",
    "ZeroShotSplit",
    "check_no_leakage",
    "make_language_scorer",
    "make_retrieval_scorer",
    "migration_report",
]
