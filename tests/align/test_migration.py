"""Moving to another encoder: both directions, from moments, and what of the retrieval is kept."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from posthoc_align import LinearMap, MigrationMap, Procrustes, load, save
from posthoc_align.metrics import nearest
from posthoc_align.model_selection import migration_report
from posthoc_align.pair_moments import PairMoments


def planted(n=400, widths=(6, 9), noise=0.1, seed=0):
    """Documents in two spaces that are linear pictures of one another, but for noise."""
    rng = np.random.default_rng(seed)
    concepts = rng.normal(size=(n, 6))
    return tuple(
        concepts @ rng.normal(size=(6, width)) + noise * rng.normal(size=(n, width)) + 1.0
        for width in widths
    )


OLD, NEW = planted()


@pytest.mark.parametrize("widths", [(6, 9), (9, 6), (6, 6)])
def test_a_planted_picture_comes_back_in_both_directions(widths):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, min(widths))) @ rng.normal(size=(min(widths), widths[0])) + 2.0
    y = X @ rng.normal(size=widths) - 1.0
    migration = MigrationMap().fit(X[:150], y[:150])
    # Without noise the best penalty is the smallest tried, a millionth of the largest eigenvalue.
    np.testing.assert_allclose(migration.transform(X[150:]), y[150:], atol=1e-3 * np.ptp(y))
    np.testing.assert_allclose(migration.inverse_transform(y[150:]), X[150:], atol=1e-3 * np.ptp(X))


def test_each_direction_is_the_ridge_of_its_penalty():
    migration = MigrationMap().fit(OLD, NEW)
    there = Ridge(alpha=migration.penalty_).fit(OLD, NEW)
    back = Ridge(alpha=migration.back_penalty_).fit(NEW, OLD)
    np.testing.assert_allclose(migration.transform(OLD), there.predict(OLD), atol=1e-8)
    np.testing.assert_allclose(migration.inverse_transform(NEW), back.predict(NEW), atol=1e-8)


def test_the_way_back_is_the_way_there_of_the_other_direction():
    there, back = MigrationMap().fit(OLD, NEW), MigrationMap().fit(NEW, OLD)
    np.testing.assert_allclose(there.inverse_transform(NEW), back.transform(NEW), atol=1e-10)
    np.testing.assert_allclose(back.inverse_transform(OLD), there.transform(OLD), atol=1e-10)


def test_the_way_back_finds_neighbours_that_an_inverse_loses():
    """Of what the map kept down for being mostly noise, a pseudo-inverse makes most."""
    rng = np.random.default_rng(5)
    concepts = rng.normal(size=(900, 30)) * np.geomspace(1, 0.03, 30)
    X = concepts @ rng.normal(size=(30, 40)) + 0.3 * rng.normal(size=(900, 40))
    y = concepts @ rng.normal(size=(30, 40)) + 0.3 * rng.normal(size=(900, 40))
    migration = MigrationMap().fit(X[:300], y[:300])
    old, new = X[300:], y[300:]
    shift = migration.mean_in_ - migration.mean_out_ @ np.linalg.pinv(migration.coef_)
    inverse = new @ np.linalg.pinv(migration.coef_) + shift
    wanted = nearest(old, old, k=10)

    def recall(queries):
        found = nearest(queries, old, k=10)
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, wanted, strict=True)])

    assert recall(migration.inverse_transform(new)) > recall(inverse) + 0.2


def test_the_penalties_have_the_least_cross_validation_error():
    """Generalised cross-validation by its definition, with the hat matrix."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 20))
    y = X @ rng.normal(size=(20, 4)) + 3 * rng.normal(size=(30, 4))
    migration = MigrationMap().fit(X, y)

    def error(x, target, penalty):
        x, target = x - x.mean(axis=0), target - target.mean(axis=0)
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T) + 1 / len(x)
        return np.sum((target - hat @ target) ** 2) / (1 - np.trace(hat) / len(x)) ** 2

    for a, b, penalty in ((X, y, migration.penalty_), (y, X, migration.back_penalty_)):
        near = [error(a, b, penalty * factor) for factor in (0.5, 0.8, 1.25, 2.0)]
        assert error(a, b, penalty) < min(near)


def test_a_stream_and_merged_moments_give_the_map_of_the_whole():
    whole = MigrationMap().fit(OLD, NEW)
    stream, parts = MigrationMap(), []
    for rows in (slice(0, 50), slice(50, 51), slice(51, 400)):
        stream.partial_fit(OLD[rows], NEW[rows])
        parts.append(PairMoments.of(OLD[rows], NEW[rows], scatter=True, scatter_y=True))
    merged = MigrationMap().fit_moments(parts[0] + parts[1] + parts[2])
    for other in (stream, merged):
        np.testing.assert_allclose(other.transform(OLD), whole.transform(OLD), rtol=1e-9)
        np.testing.assert_allclose(
            other.inverse_transform(NEW), whole.inverse_transform(NEW), rtol=1e-9
        )


def test_weights_are_copies():
    weight = np.random.default_rng(3).integers(0, 3, size=len(OLD))
    weighted = MigrationMap().fit(OLD, NEW, sample_weight=weight)
    copied = MigrationMap().fit(np.repeat(OLD, weight, axis=0), np.repeat(NEW, weight, axis=0))
    np.testing.assert_allclose(weighted.transform(OLD), copied.transform(OLD), rtol=1e-8)


def test_rows_come_back_in_their_own_kind(as_kind, rows_of, rtol):
    migration = MigrationMap().fit(as_kind(OLD), as_kind(NEW))
    expected = MigrationMap().fit(OLD, NEW)
    for found, exact in (
        (migration.transform(as_kind(OLD)), expected.transform(OLD)),
        (migration.inverse_transform(as_kind(NEW)), expected.inverse_transform(NEW)),
    ):
        assert type(found) is type(as_kind(OLD))
        assert found.dtype == as_kind(OLD).dtype
        # The chosen penalty, too, is rounded: a hundredth of it moves nothing by more than this.
        np.testing.assert_allclose(rows_of(found), exact, atol=100 * rtol * np.abs(exact).max())


def test_a_saved_map_is_the_same(tmp_path):
    migration = MigrationMap().fit(OLD, NEW)
    save(migration, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert np.array_equal(again.transform(OLD), migration.transform(OLD))
    assert np.array_equal(again.inverse_transform(NEW), migration.inverse_transform(NEW))
    assert again.partial_fit(OLD, NEW).moments_.count == 2 * len(OLD)


def test_moments_of_one_side_do_not_do():
    with pytest.raises(ValueError, match=r"scatter of both sides: accumulate.*scatter_y=True"):
        MigrationMap().fit_moments(PairMoments.of(OLD, NEW, scatter=True))


def test_two_documents_are_too_few():
    with pytest.raises(ValueError, match=r"at least 3 documents .* got 2 .*some hundreds"):
        MigrationMap().fit(OLD[:2], NEW[:2])


# ---- the report ----


def by_hand(queries, documents, wanted_in, k):
    """Mean recall of neighbours in `wanted_in`, one document at a time."""

    def others(asked, index, i):
        rest = np.delete(np.arange(len(index)), i)
        return set(rest[nearest(asked[i : i + 1], index[rest], k=k)[0]])

    return np.mean(
        [
            len(others(queries, documents, i) & others(wanted_in, wanted_in, i)) / k
            for i in range(len(queries))
        ]
    )


def test_recall_is_that_of_a_plain_search_among_held_out_documents():
    X, y = planted(60, widths=(5, 5), noise=0.7)
    report = migration_report(LinearMap(penalty=1.0), X, y, k=3, n_splits=2, random_state=0)
    rows = np.random.RandomState(0).permutation(60)  # the folds of KFold
    halves = np.sort(rows[:30]), np.sort(rows[30:])
    expected = {name: np.zeros(2) for name in report.new_neighbors}
    for test, train in (halves, halves[::-1]):
        fitted = LinearMap(penalty=1.0).fit(X[train], y[train])
        old, new = X[test], y[test]
        ways = {
            "old model alone": (old, old),
            "nothing done": (new, old),
            "mapped index": (new, fitted.transform(old)),
            "queries mapped back": (fitted.inverse_transform(new), old),
            "embedded anew": (new, new),
        }
        for name, (queries, documents) in ways.items():
            expected[name] += [by_hand(queries, documents, wanted, 3) / 2 for wanted in (new, old)]
    assert list(expected) == list(ways)
    for name, (new, old) in expected.items():
        assert report.new_neighbors[name].value == pytest.approx(new)
        assert report.old_neighbors[name].value == pytest.approx(old)
    gain = expected["mapped index"][0] - expected["old model alone"][0]
    assert report.gain.value == pytest.approx(gain)
    assert (report.k, report.n_candidates) == (3, 29)


def test_a_good_map_keeps_what_a_bad_one_loses():
    report = migration_report(MigrationMap(), OLD, NEW)
    assert report.new_neighbors["mapped index"].low > report.new_neighbors["old model alone"].high
    assert report.gain.p_value < 0.01
    assert "nothing done" not in report.new_neighbors  # widths differ
    shuffled = migration_report(MigrationMap(), OLD, np.random.default_rng(0).permutation(NEW))
    assert shuffled.new_neighbors["mapped index"].high < 0.25  # 10 of 79 by chance
    assert shuffled.gain.low < 0.05


def test_parts_of_a_document_are_held_out_and_counted_together():
    """Nothing in these spaces is shared, so that only a document seen before can be mapped."""
    rng = np.random.default_rng(0)
    X, y = (rng.normal(size=(40, 60)).repeat(4, axis=0) for _ in "ab")
    X, y = (rows + 0.3 * rng.normal(size=rows.shape) for rows in (X, y))
    document = np.arange(40).repeat(4)
    torn, whole = (
        migration_report(MigrationMap(), X, y, k=3, n_splits=4, groups=groups)
        for groups in (None, document)
    )
    assert torn.new_neighbors["mapped index"].low > whole.new_neighbors["mapped index"].high
    assert (torn.gain.n, whole.gain.n) == (160, 40)
    alone = document.astype(object)
    alone[:4] = None  # four rows of their own in the place of one document
    assert migration_report(MigrationMap(), X, y, k=3, groups=alone).gain.n == 43


def test_every_map_can_be_reported_on():
    report = migration_report(clone(Procrustes()), OLD, NEW)
    better = migration_report(MigrationMap(), OLD, NEW)
    assert report.new_neighbors["embedded anew"].value == 1.0
    assert report.old_neighbors["old model alone"].value == 1.0
    name = "mapped index"
    assert better.new_neighbors[name].value > report.new_neighbors[name].value


def test_tensors_are_measured_alike():
    import torch

    found = migration_report(MigrationMap(), torch.as_tensor(OLD), torch.as_tensor(NEW))
    expected = migration_report(MigrationMap(), OLD, NEW)
    for name, estimate in expected.new_neighbors.items():
        assert found.new_neighbors[name].value == pytest.approx(estimate.value, abs=1e-3)


def test_it_prints_itself_as_a_table():
    lines = str(migration_report(MigrationMap(), OLD, NEW)).splitlines()
    assert lines[0].split() == "recall of 10 among 79 new neighbours old neighbours".split()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "old model alone",
        "mapped index",
        "queries mapped back",
        "embedded anew",
        "gain of the mapped index",
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"k": 0}, "k=0 is out of range: give an integer >= 1"),
        ({"n_splits": 1}, "n_splits=1 is out of range: give an integer >= 2"),
        ({"k": 100}, r"400 documents in 5 folds are too few.*Give 510 documents or more"),
        ({"groups": [0] * 3}, r"groups has shape \(3,\) but X has 400 rows"),
        (
            {"groups": [*range(4)] + [4] * 396, "n_splits": 5},
            "groups leave 1 rows in a fold, and at least 12 are needed",
        ),
    ],
)
def test_what_cannot_be_measured_says_why(given, says):
    with pytest.raises(ValueError, match=says):
        migration_report(MigrationMap(), OLD, NEW, **given)


def test_a_row_that_is_not_finite_is_named_by_its_place_in_the_sample():
    wrong = NEW.copy()
    wrong[300, 2] = np.nan
    with pytest.raises(ValueError, match=r"y contains NaN.*row 300\b"):
        migration_report(MigrationMap(), OLD, wrong)
