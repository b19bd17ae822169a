"""Wrong input to every estimator: the error says what came, what was expected and what to do."""

import re

import numpy as np
import pytest
import torch
from sklearn.base import clone

from posthoc_align import (
    INLP,
    LEACE,
    LIR,
    LSAR,
    AdversarialMap,
    AllButTheTop,
    Anchored,
    Blend,
    CCAMap,
    ClusterIsotropy,
    ConsensusAligner,
    ContrastiveMap,
    GaussianTransport,
    LanguageAxes,
    LanguageCentering,
    LanguageScaling,
    LanguageSubspaceShift,
    LanguageWhitening,
    Layerwise,
    LinearMap,
    MigrationMap,
    PivotAligner,
    Procrustes,
    SelfLearningAligner,
    SharedAligner,
    TaskProjection,
)

# Rows at random have nothing that an adversary could align.
pytestmark = pytest.mark.filterwarnings("ignore:No state of training was better")

N, D = 12, 3
LANGUAGE = np.array(["a", "b"] * 6)
PAIR_ID = np.repeat(np.arange(6), 2)

# What to do begins with one of these words, wherever in the message it stands.
CURE = (
    "pass|give|remove|reshape|embed|move|add|leave|choose|select|check|rescale|keep|take|use|"
    "convert|name|call|needs|must"
)

TRANSFORMERS = {
    "LanguageCentering": LanguageCentering(),
    "LanguageScaling": LanguageScaling(),
    "LSAR": LSAR(),
    "LEACE": LEACE(),
    "LEACE, oracle": LEACE(method="oracle"),
    "INLP": INLP(n_rounds=1),
    "AllButTheTop": AllButTheTop(),
    "LanguageAxes": LanguageAxes(),
    "TaskProjection": TaskProjection(),
    "ClusterIsotropy": ClusterIsotropy(n_clusters=2, n_components=0, random_state=0),
    "LIR": LIR(),
    "LanguageWhitening": LanguageWhitening(),
    "GaussianTransport": GaussianTransport(),
    "LanguageSubspaceShift": LanguageSubspaceShift(to="a"),
    "PivotAligner": PivotAligner(pivot="a"),
    "SharedAligner": SharedAligner(LinearMap(), pivot="a"),
    "ConsensusAligner": ConsensusAligner(),
    "SelfLearningAligner": SelfLearningAligner(pivot="a"),
    "Anchored": Anchored(LanguageCentering()),
    "Blend": Blend(LanguageCentering()),
    "Layerwise": Layerwise(LanguageCentering(), n_layers=3),
    "AdversarialMap": PivotAligner(AdversarialMap(max_epochs=1), pivot="a"),
}
MAPS = {
    "Procrustes": Procrustes(),
    "LinearMap": LinearMap(),
    "ContrastiveMap": ContrastiveMap(max_epochs=2, random_state=0),
    "ContrastiveMap, residual": ContrastiveMap(form="residual", max_epochs=2, random_state=0),
    "LinearMap, fixed penalty": LinearMap(penalty=1.0),
    "MigrationMap": MigrationMap(),
    "CCAMap": CCAMap(),
}
ALL = {**TRANSFORMERS, **MAPS}
POOLED = {"AllButTheTop", "TaskProjection", "ClusterIsotropy"}  # one row of a language will do
NO_LABEL = {"LSAR", "LEACE", "INLP", "LanguageAxes", *POOLED}  # at transform


def rows(n=N, d=D, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) + np.arange(n)[:, None] % 2


def fit(name, X, *, language=LANGUAGE, pair_id=PAIR_ID, y=None):
    """A clone of the estimator fitted on X: with labels, or onto `y` (rows of its own)."""
    estimator = clone(ALL[name])
    if name in MAPS:
        return estimator.fit(X, rows(seed=1) if y is None else y)
    if name in ("PivotAligner", "SharedAligner", "ConsensusAligner"):
        return estimator.fit(X, language=language, pair_id=pair_id)
    classes = np.arange(N) // 2 % 2 if name == "TaskProjection" else None
    return estimator.fit(X, classes, language=language)


def transform(name, estimator, X, language="a"):
    return estimator.transform(X) if name in MAPS else estimator.transform(X, language=language)


class Explained:
    """Wait for an error that states every fact, in any order, and a cure."""

    def __init__(self, *facts, error=(ValueError, TypeError)):
        self.facts, self.catch = facts, pytest.raises(error)

    def __enter__(self):
        self.info = self.catch.__enter__()

    def __exit__(self, *exception):
        caught = self.catch.__exit__(*exception)
        if caught:
            says = str(self.info.value)
            for fact in self.facts:
                assert re.search(fact, says), f"{says!r} does not say {fact!r}"
            assert re.search(rf"\b({CURE})\b", says, re.I), f"{says!r} does not say what to do"
        return caught


each = pytest.mark.parametrize("name", list(ALL))
each_transformer = pytest.mark.parametrize("name", list(TRANSFORMERS))
each_map = pytest.mark.parametrize("name", list(MAPS))
each_library = pytest.mark.parametrize("library", ["numpy", "torch"])


def of(library, X):
    return torch.as_tensor(X) if library == "torch" else X


# --- X ----------------------------------------------------------------------------------------


@each
@each_library
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named_at_fit(name, library, value):
    X = rows()
    X[7, 1] = value
    kind = "NaN" if np.isnan(value) else "infinity"
    y = of(library, rows(seed=1))
    with Explained(f"X contains {kind}", r"row 7\b"):
        fit(name, of(library, X), y=y)


@each
@each_library
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named_at_transform(name, library, value):
    fitted = fit(name, rows())
    X = rows()
    X[7, 1] = value
    kind = "NaN" if np.isnan(value) else "infinity"
    with Explained(f"X contains {kind}", r"row 7\b"):
        transform(name, fitted, of(library, X), LANGUAGE)


@each_map
def test_a_target_row_that_is_not_finite_is_named(name):
    y = rows(seed=1)
    y[7, 1] = np.nan
    with Explained("y contains NaN", r"row 7\b"):
        fit(name, rows(), y=y)


@each
@each_library
def test_one_dimensional_rows_are_refused(name, library):
    fitted = fit(name, rows())
    for call in (lambda X: fit(name, X), lambda X: transform(name, fitted, X)):
        with Explained("Expected 2D array", "got 1D"):
            call(of(library, rows()[:, 0]))


@each
@each_library
def test_rows_of_another_width_than_fitted_are_refused(name, library):
    fitted = fit(name, rows())
    with Explained("X has 2 features", "expecting 3 features"):
        transform(name, fitted, of(library, rows()[:, :2]))


@each
@each_library
@pytest.mark.parametrize("axis", [0, 1])
def test_empty_input_is_refused(name, library, axis):
    X = rows()[:0] if axis == 0 else rows()[:, :0]
    what = r"0 sample\(s\)" if axis == 0 else r"0 feature\(s\)"
    with Explained(what, "minimum of 1 is required"):
        fit(name, of(library, X))
    with Explained(what, "minimum of 1 is required"):
        transform(name, fit(name, rows()), of(library, X))


@each
@pytest.mark.parametrize(
    "X",
    [np.full((N, D), "a"), np.full((N, D), "1.0"), np.full((N, D), "a", dtype=object)],
    ids=["text", "digits", "objects of text"],
)
def test_strings_are_refused_even_if_they_spell_numbers(name, X):
    for call in (lambda: fit(name, X), lambda: transform(name, fit(name, rows()), X)):
        with Explained("X holds text", "expected numbers"):
            call()


@each
@each_library
def test_complex_numbers_are_refused(name, library):
    X = of(library, rows() + 1j)
    for call in (lambda: fit(name, X), lambda: transform(name, fit(name, rows()), X)):
        with Explained("Complex data not supported"):
            call()


@each
@pytest.mark.parametrize("thing", [object(), {"a": 1}, [1, 2]], ids=["object", "dict", "list"])
def test_objects_that_are_no_numbers_are_refused(name, thing):
    X = np.empty((N, D), dtype=object)
    for at in np.ndindex(N, D):
        X[at] = thing
    with Explained("number"):
        fit(name, X)


@each
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "object"])
def test_integers_booleans_and_numeric_objects_are_taken_as_float64(name, dtype):
    X = (10 * np.abs(rows())).astype("int64").astype(dtype)
    X[0], X[1] = 0, 1  # so that booleans vary
    expected = transform(name, fit(name, X.astype(float)), X.astype(float), LANGUAGE)
    Z = transform(name, fit(name, X), X, LANGUAGE)
    assert Z.dtype == np.float64
    np.testing.assert_array_equal(Z, expected)


# --- language ---------------------------------------------------------------------------------


@each_transformer
def test_labels_of_another_length_are_refused(name):
    with Explained(r"language has shape \(11,\)", "X has 12 rows", "one label a row"):
        fit(name, rows(), language=LANGUAGE[:-1])
    if name not in NO_LABEL:
        with Explained(r"language has shape \(11,\)", "X has 12 rows", "one label a row"):
            transform(name, fit(name, rows()), rows(), LANGUAGE[:-1])


@each_transformer
def test_a_row_without_a_label_is_named(name):
    labels = LANGUAGE.astype(object)
    labels[[5, 8]] = None
    with Explained("language is missing", "2 rows", r"row 5\b", "every row needs a label"):
        fit(name, rows(), language=labels)


@pytest.mark.parametrize("name", ["LanguageCentering", "LanguageScaling", "PivotAligner"])
def test_a_language_that_was_not_fitted_is_named_with_the_known_ones_and_the_policies(name):
    fitted = fit(name, rows())
    with Explained("'xx'", "'a'", "'b'", "add_language", "unseen='global', 'identity' or"):
        fitted.transform(rows(), language=["a"] * 11 + ["xx"])


@pytest.mark.parametrize("name", ["LanguageCentering", "LanguageScaling", "PivotAligner"])
def test_a_transform_without_language_after_several_were_fitted_names_the_routing(name):
    fitted = fit(name, rows())
    with Explained(
        "fitted on 2 languages", "got no language", r"transform\(X, language=", "metadata_routing"
    ):
        fitted.transform(rows())


@each_transformer
def test_a_language_with_a_single_row_is_named_with_its_count(name):
    labels = np.array(["a", "b"] * 5 + ["a", "lone"])
    if name in POOLED:
        fit(name, rows(), language=labels)
        return
    with Explained("'lone'", "only 1 row", "at least 2"):
        fit(name, rows(), language=labels)


@pytest.mark.parametrize("name", ["LanguageCentering", "LanguageScaling"])
def test_a_language_added_with_a_single_row_is_refused(name):
    with Explained("only 1 row", "at least 2"):
        fit(name, rows()).add_language(rows()[:1], "c")


@pytest.mark.parametrize("kind", [LanguageCentering, LanguageScaling, LSAR])
def test_rows_with_and_without_labels_do_not_mix(kind):
    stream = kind().partial_fit(rows(), language=LANGUAGE)
    with Explained("some without"):
        stream.partial_fit(rows())


@pytest.mark.parametrize("kind", [LanguageCentering, LanguageScaling, LSAR])
def test_labels_of_text_and_of_integers_do_not_mix_in_a_stream(kind):
    stream = kind().partial_fit(rows(), language=LANGUAGE)
    with pytest.raises(ValueError, match="all str or all int"):
        stream.partial_fit(rows(), language=[1, 2] * 6)


@pytest.mark.parametrize("unseen", ["skip", None])
@pytest.mark.parametrize("name", ["LanguageCentering", "LanguageScaling", "PivotAligner"])
def test_an_unknown_policy_for_unseen_languages_is_refused_at_fit(name, unseen):
    kind = ALL[name].__class__
    estimator = kind(unseen=unseen, pivot="a") if name == "PivotAligner" else kind(unseen=unseen)
    pair = {"pair_id": PAIR_ID} if name == "PivotAligner" else {}
    with Explained(f"unseen={unseen!r}", "error", "global", "identity", "transductive"):
        estimator.fit(rows(), language=LANGUAGE, **pair)


@pytest.mark.parametrize("kind", [LanguageCentering, LanguageScaling])
def test_an_anchor_that_is_no_language_names_the_choices(kind):
    with pytest.raises(ValueError, match="anchor='xx'.*'origin', 'pooled'.*'a', 'b'"):
        kind(anchor="xx").fit(rows(), language=LANGUAGE)


@pytest.mark.parametrize("kind", [LanguageCentering, LanguageScaling])
@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, "none", None, np.nan])
def test_a_shrinkage_outside_its_range_names_the_range(kind, shrinkage):
    with Explained(f"shrinkage={shrinkage!r}", "0 to 1", "auto"):
        kind(shrinkage=shrinkage).fit(rows(), language=LANGUAGE)


@pytest.mark.parametrize("kind", [LanguageCentering, LanguageScaling])
def test_class_balance_without_classes_or_with_too_few_is_explained(kind):
    with Explained("class_balanced=True needs"):
        kind(class_balanced=True).fit(rows(), language=LANGUAGE)
    with Explained(r"y has shape \(5,\)", "X has 12 rows"):
        kind(class_balanced=True).fit(rows(), np.zeros(5), language=LANGUAGE)


@pytest.mark.parametrize("rank", [2, 7, -1, 1.5, "1"])
def test_a_rank_that_the_means_cannot_span_names_the_largest_one(rank):
    with Explained(rf"rank={re.escape(repr(rank))} ", "2 languages", "L - 1 = 1", "0 to 1"):
        LSAR(rank=rank).fit(rows(), language=LANGUAGE)


# --- pairs ------------------------------------------------------------------------------------


@each_map
@pytest.mark.parametrize("n", [1, 2])
def test_too_few_pairs_for_a_map_are_counted(name, n):
    if n == 2 and name not in ("LinearMap", "MigrationMap"):
        fit(name, rows()[:2], y=rows(seed=1)[:2])  # two are enough
        return
    with Explained(f"got {n}", "at least"):
        fit(name, rows()[:n], y=rows(seed=1)[:n])


@each_map
def test_a_target_of_unequal_length_or_none_at_all_is_refused(name):
    for method in ("fit", "partial_fit", "score"):
        fitted = fit(name, rows())
        if not hasattr(fitted, method):
            continue
        with Explained("X has 12 rows", "y has 7", "counterpart"):
            getattr(fitted, method)(rows(), rows()[:7])
    with Explained("target y is None"):
        fitted.fit(rows())


@each_map
def test_targets_of_another_width_than_fitted_are_refused(name):
    fitted = fit(name, rows())
    back = getattr(fitted, "inverse_transform", None)  # not every form of a map has one
    for call in (lambda y: fitted.score(rows(), y), *([back] if back else [])):
        with Explained("y has 2 features", r"maps to\s+3"):
            call(rows()[:, :2])


def test_an_identity_prior_between_different_widths_names_the_other_priors():
    with Explained("X has 3 features", "2", "procrustes", "zero"):
        LinearMap().fit(rows(), rows()[:, :2])


def test_too_few_shared_ids_name_the_language_the_pivot_and_the_count():
    ids = np.where(LANGUAGE == "b", PAIR_ID + 5, PAIR_ID)  # one id is left in common
    with Explained("pivot 'a'", "'b': 1", "at least 2"):
        PivotAligner(pivot="a").fit(rows(), language=LANGUAGE, pair_id=ids)


def test_no_ids_at_all_are_explained():
    with Explained("Procrustes", "no pair_id", "row order is never"):
        PivotAligner(pivot="a").fit(rows(), language=LANGUAGE)


def test_an_id_twice_in_a_language_is_named():
    ids = PAIR_ID.copy()
    ids[3] = ids[1]
    with Explained("Duplicate", r"language 'b'", r"first 0\b"):
        PivotAligner(pivot="a").fit(rows(), language=LANGUAGE, pair_id=ids)


def test_ids_of_another_length_are_refused():
    with Explained(r"pair_id has shape \(11,\)", "X has 12 rows", "one id a row"):
        PivotAligner(pivot="a").fit(rows(), language=LANGUAGE, pair_id=PAIR_ID[:-1])


def test_a_pivot_that_is_no_language_names_the_languages():
    with Explained("pivot='xx'", "'a', 'b'"):
        PivotAligner(pivot="xx").fit(rows(), language=LANGUAGE, pair_id=PAIR_ID)


def test_translations_of_an_added_language_must_be_as_many_as_its_rows():
    with Explained("X has 12 rows", "target has 7"):
        fit("PivotAligner", rows()).add_language(rows(), "c", rows()[:7])


# --- directions and devices -------------------------------------------------------------------


@pytest.mark.parametrize("row", [4, 7])  # of the pivot, and of another language
@each_library
def test_a_zero_vector_has_no_direction_and_is_named_by_its_row_in_what_was_passed(row, library):
    aligner = PivotAligner(pivot="a", recipe="unit")
    X = rows()
    aligner.fit(X, language=LANGUAGE, pair_id=PAIR_ID)
    X[row] = 0
    with Explained(rf"Row {row} of X is a zero vector", "no direction"):
        aligner.transform(of(library, X), language=LANGUAGE)
    with Explained(rf"Row {row} of X is a zero vector", "no direction"):
        aligner.fit(of(library, X), language=LANGUAGE, pair_id=PAIR_ID)


@each_map
@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        (torch.as_tensor(rows()), rows(seed=1), ("tensor on cpu", "NumPy array")),
        (rows(), torch.as_tensor(rows(seed=1)), ("NumPy array", "tensor on cpu")),
        (torch.as_tensor(rows()), torch.zeros(N, D, device="meta"), ("on cpu", "on meta")),
    ],
    ids=["torch onto NumPy", "NumPy onto torch", "two devices"],
)
def test_two_spaces_in_different_places_are_refused(name, X, y, says):
    for method in ("fit", "score"):
        with Explained(*says, "one kind on one device"):
            getattr(fit(name, rows()), method)(X, y)


def test_an_added_language_and_its_translations_must_lie_in_one_place():
    fitted = fit("PivotAligner", rows())
    with Explained("NumPy array", "tensor on cpu"):
        fitted.add_language(rows(), "c", torch.as_tensor(rows()))


def test_a_policy_set_after_fit_that_needed_the_fit_says_so():
    aligner = PivotAligner(pivot="a").fit(rows(), language=LANGUAGE, pair_id=PAIR_ID)
    with Explained("unseen='global'", "fit again"):
        aligner.set_params(unseen="global").transform(rows(), language="zz")


def test_an_estimator_that_is_no_map_is_refused_at_fit():
    from sklearn.linear_model import LinearRegression

    with Explained("LinearRegression.. has no transform"):
        PivotAligner(LinearRegression(), pivot="a").fit(rows(), language=LANGUAGE, pair_id=PAIR_ID)


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_a_row_without_a_class_cannot_be_balanced(nothing):
    y = np.array(["u", "v"] * 6, dtype=object)
    y[4] = nothing
    with Explained("y is missing", "first in row 4"):
        LanguageCentering(class_balanced=True).fit(rows(), y, language=LANGUAGE)


def test_a_truth_value_is_no_rank():
    with Explained("rank=True"):
        LSAR(rank=True).fit(rows(), language=LANGUAGE)


def test_one_row_of_an_unseen_language_is_not_erased_by_its_own_mean():
    centring = LanguageCentering(unseen="transductive").fit(rows(), language=LANGUAGE)
    with Explained("Language 'zz' has only 1 row"):
        centring.transform(rows()[:1], language="zz")
