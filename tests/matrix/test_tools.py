"""Every estimator in every tool of scikit-learn: the language arrives, or an error says how.

A cell is judged by the same tool around an aligner that reads the language in a column of X
(``Told``): what a tool finds is equal to that, or it raises and names the cure. A third outcome,
numbers that were made without the language, does not occur.
"""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.fixes import parse_version

from posthoc_align import AlignedClassifier, AlignedRegressor, make_language_scorer

# Rows so few have nothing that an adversary could better.
pytestmark = pytest.mark.filterwarnings("ignore:No state of training was better")

# --- the tools: from a setting to numbers -------------------------------------------------------


def fitted(s, around=lambda s: s.model):
    return clone(around(s)).fit(s.X, s.y, **s.fit)


def accuracy(estimator, X, y):
    return float(np.mean(estimator.predict(X) == y))


def worst_told(estimator, X, y):
    """What the language scorer finds, with languages read in a column, as the oracle does."""
    right = estimator.predict(X) == y
    return min(right[X[:, -2] == code].mean() for code in np.unique(X[:, -2]))


SCORINGS = {
    "None": None,
    "a string": "accuracy",
    "a function": accuracy,
    "make_scorer": make_scorer(accuracy_score),
    "make_language_scorer": make_language_scorer("accuracy"),
}


def scores(s, scoring):
    return cross_val_score(
        s.model,
        s.X,
        s.y,
        cv=s.splits,
        scoring=SCORINGS[scoring],
        params=s.fit or None,
        error_score="raise",
    )


def several_scores(s):
    told = {"mean": accuracy, "worst": worst_told}
    scoring = {
        "mean": make_language_scorer("accuracy"),
        "worst": make_language_scorer("accuracy", per_language="worst"),
    }
    found = cross_validate(
        s.model,
        s.X,
        s.y,
        cv=s.splits,
        scoring=told if s.told else scoring,
        params=s.fit or None,
        error_score="raise",
    )
    return np.array([found[f"test_{name}"] for name in scoring])


def folds(s):
    return cross_val_predict(
        s.model, s.X, s.y, cv=s.splits, method="predict_proba", params=s.fit or None
    )


def searched(s, scoring, kind=GridSearchCV, values=(1e-9,), **options):
    search = kind(
        s.model,
        {"head__var_smoothing": list(values)},
        cv=s.splits,
        scoring=accuracy if s.told else SCORINGS[scoring],
        error_score="raise",
        **options,
    )
    return search.fit(s.X, s.y, **s.fit)


def grid_search(s):
    search = searched(s, "make_language_scorer", values=(1e-9, 1.0))
    best = search.best_estimator_.predict_proba(s.X, **s.ask)
    score = search.score(s.X, s.y, **s.ask)
    return np.array([*search.cv_results_["mean_test_score"], score, *best.ravel()])


def random_search(s):
    options = {"n_iter": 1, "random_state": 0}
    return searched(s, "make_language_scorer", RandomizedSearchCV, **options).best_score_


def columns_of(s):
    return ColumnTransformer([("some", s.aligner, slice(0, None))])


def union_of(s):
    return FeatureUnion([("one", s.aligner), ("two", clone(s.aligner))])


def behind(s, transformer):
    pipeline = Pipeline([("aligner", transformer), ("head", GaussianNB())])
    return pipeline.fit(s.X, s.y, **s.fit).predict_proba(s.X, **s.ask)


def calibrated(s):
    return CalibratedClassifierCV(s.model, cv=s.splits)


def voting(s):
    return VotingClassifier([("one", s.model)], voting="soft")


def bagged(s):
    # Rows without repetition: a pair that is there twice is refused.
    return BaggingClassifier(s.model, n_estimators=2, bootstrap=False, random_state=0)


def stacked(s):
    # What its fit is given goes to the last estimator, too: take one that knows of it.
    last = AlignedClassifier("passthrough", GaussianNB())
    return StackingClassifier([("one", s.model)], last, cv=s.splits)


def regressed(s):
    model = TransformedTargetRegressor(
        s.around(LinearRegression(), AlignedRegressor),
        func=lambda y: 2 * y + 1,
        inverse_func=lambda z: (z - 1) / 2,
    )
    return model.fit(s.X, s.y, **s.fit).predict(s.X, **s.ask)


CORE = {
    "predict_proba": lambda s: fitted(s).predict_proba(s.X, **s.ask),
    "cross_val_score, a string": lambda s: scores(s, "a string"),
    "cross_val_score, make_language_scorer": lambda s: scores(s, "make_language_scorer"),
    "cross_val_predict": folds,
    "BaggingClassifier": lambda s: fitted(s, bagged).predict_proba(s.X),
}
TOOLS = {
    **CORE,
    "cross_val_score, None": lambda s: scores(s, "None"),
    "StackingClassifier": lambda s: fitted(s, stacked).predict_proba(s.X),
    "score": lambda s: fitted(s).score(s.X, s.y, **s.ask),
    "cross_val_score, a function": lambda s: scores(s, "a function"),
    "cross_val_score, make_scorer": lambda s: scores(s, "make_scorer"),
    "cross_validate, several": several_scores,
    "GridSearchCV": grid_search,
    "GridSearchCV, a string": lambda s: searched(s, "a string").best_score_,
    "GridSearchCV.predict": lambda s: searched(s, "None").predict_proba(s.X),
    "RandomizedSearchCV": random_search,
    "FeatureUnion": lambda s: behind(s, union_of(s)),
    "ColumnTransformer": lambda s: behind(s, columns_of(s)),
    "CalibratedClassifierCV": lambda s: fitted(s, calibrated).predict_proba(s.X),
    "VotingClassifier": lambda s: fitted(s, voting).predict_proba(s.X),
    "BaggingClassifier, told": lambda s: fitted(s, bagged).predict_proba(s.X, **s.ask),
    "TransformedTargetRegressor": regressed,
}
OF_TRANSFORMERS = {"FeatureUnion", "ColumnTransformer"}

# --- the outcomes -------------------------------------------------------------------------------

DROP = {
    "routing": {
        "cross_val_score, a string",
        "cross_val_score, a function",
        "cross_val_score, make_scorer",
        "cross_val_predict",
        "GridSearchCV, a string",
        "GridSearchCV.predict",
        "CalibratedClassifierCV",
        "StackingClassifier",
        "VotingClassifier",
        "BaggingClassifier",
    },
    "index": {"BaggingClassifier", "BaggingClassifier, told"},
    "nothing": set(TOOLS),
}
"""Tools that ask for predictions without the language, or that make an array of a data frame."""

OLD = parse_version(sklearn.__version__) < parse_version("1.8")
"""There a pipeline's own score gets no metadata."""

if "params" not in signature(BaggingClassifier.predict).parameters:
    del TOOLS["BaggingClassifier, told"]

UNTOLD = (
    r"fitted on 3 languages .* got no language\. Pass transform\(X, language=.*"
    r"enable_metadata_routing=True.*make_language_scorer.*language_from='index'"
)
NO_INDEX = r"language_from='index', but X came as a ndarray with no index; .*or pass language="
CURES = {"routing": UNTOLD, "index": NO_INDEX, "nothing": NO_INDEX}

EXPECTED: dict[tuple[str, str], np.ndarray] = {}


def expected(setting, name, tool):
    """What the oracle finds; told once for all ways."""
    tool = tool.replace(", told", "")
    plain = tool in {f"cross_val_score, {scoring}" for scoring in SCORINGS}
    key = "accuracy" if plain else tool
    if (name, key) not in EXPECTED:
        oracle = setting(name, "told")
        EXPECTED[name, key] = scores(oracle, "a string") if plain else TOOLS[tool](oracle)
    return EXPECTED[name, key]


def check(setting, name, tool, way):
    """Run a cell of the matrix."""
    wanted = expected(setting, name, tool)
    s = setting(name, way)
    old = OLD and way == "routing" and isinstance(s.model, Pipeline)
    dropped = tool in DROP[way] or (old and tool == "cross_val_score, None")
    if dropped and (s.needs_language or way != "routing"):
        with pytest.raises(ValueError, match=CURES[way]):
            TOOLS[tool](s)
        return
    found = TOOLS[tool](s)
    # Rows of a data frame lie column by column: sums differ in the last digits.
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_language_arrives_or_an_error_says_how(tool, light, way, setting, heads):
    if light in heads and tool in OF_TRANSFORMERS:
        pytest.skip("a head is no transformer")
    check(setting, light, tool, way)


@pytest.mark.parametrize("tool", CORE)
def test_so_it_does_where_fitting_takes_longer(tool, costly, way, setting):
    check(setting, costly, tool, way)
