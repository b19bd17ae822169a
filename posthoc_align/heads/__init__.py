"""Heads on aligned rows: classifiers and regressors that know of languages, and how they fare.

``aligned`` joins an aligner and a head into one estimator, ``report`` scores it by language.
"""

from posthoc_align.heads.aligned import AlignedClassifier, AlignedRegressor
from posthoc_align.heads.report import LanguageReport

__all__ = ["AlignedClassifier", "AlignedRegressor", "LanguageReport"]
