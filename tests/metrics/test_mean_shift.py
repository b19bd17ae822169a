"""Translation by mean shift and nearest neighbour."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from posthoc_align.metrics import mean_shift_accuracy


@pytest.fixture
def spaces():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(50, 10)) * np.linspace(0.5, 2, 10)
    return X, X + 0.9 * rng.normal(size=X.shape) + np.linspace(-30, 20, 10)


def by_definition(X, Y, shift):
    distances = cdist(X + shift, Y)
    return np.mean(distances.argmin(axis=1) == np.arange(len(X)))


def test_it_is_the_definition(kind, spaces):
    X, Y = map(kind, spaces)
    x, y = kind.plain(X), kind.plain(Y)
    expected = by_definition(x, y, y.mean(axis=0) - x.mean(axis=0))
    assert 0.2 < expected < 1
    assert mean_shift_accuracy(X, Y) == expected
    assert by_definition(x, y, 0) < expected / 2  # negative control: without the shift


def test_a_shift_is_undone_and_a_rotation_is_not(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 12))
    assert mean_shift_accuracy(kind(X), kind(X + 4.0)) == 1
    turned = X @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    assert mean_shift_accuracy(kind(X), kind(turned)) < 0.5


def test_the_shift_may_come_from_other_rows(kind, spaces):
    X, Y = map(kind, spaces)
    x, y = kind.plain(X), kind.plain(Y)
    found = mean_shift_accuracy(X[:20], Y[:20], X_fit=X[20:40], Y_fit=Y[30:])
    assert found == by_definition(x[:20], y[:20], y[30:].mean(axis=0) - x[20:40].mean(axis=0))


def test_each_layer_is_measured_by_itself(kind, spaces):
    X, Y = spaces
    layers_x, layers_y = np.stack([X, X[::-1], 2 * X]), np.stack([Y, Y, 2 * Y])
    expected = [
        mean_shift_accuracy(kind(x), kind(y)) for x, y in zip(layers_x, layers_y, strict=True)
    ]
    np.testing.assert_array_equal(mean_shift_accuracy(kind(layers_x), kind(layers_y)), expected)
    lists = [[kind(layer) for layer in side] for side in (layers_x, layers_y)]
    np.testing.assert_array_equal(mean_shift_accuracy(*lists), expected)
    found = mean_shift_accuracy(*lists, X_fit=kind(layers_x), Y_fit=kind(layers_y))
    np.testing.assert_array_equal(found, expected)
    assert expected[0] == expected[2] > expected[1]


def test_the_budget_does_not_change_the_answer(spaces):
    assert mean_shift_accuracy(*spaces, memory_budget=5000) == mean_shift_accuracy(*spaces)


def test_a_tie_is_a_miss(spaces):
    X, _ = spaces
    twice = np.concatenate([X, X])
    assert mean_shift_accuracy(twice, twice + 5.0) == 0


def test_wrong_input_is_named(spaces):
    X, Y = spaces
    with pytest.raises(ValueError, match="X_fit and Y_fit go together"):
        mean_shift_accuracy(X, Y, X_fit=X)
    with pytest.raises(ValueError, match="X has 50 rows and Y has 49"):
        mean_shift_accuracy(X, Y[1:])
    with pytest.raises(ValueError, match="different numbers of layers: {'X': 2, 'Y': 3}"):
        mean_shift_accuracy([X, X], [Y, Y, Y])
    with pytest.raises(ValueError, match="different numbers of layers: {'X': 2, 'Y': 1}"):
        mean_shift_accuracy([X, X], Y)
    with pytest.raises(ValueError, match="X has 10 features and X_fit has 4"):
        mean_shift_accuracy(X, Y, X_fit=X[:, :4], Y_fit=Y[:, :4])
    with pytest.raises(ValueError, match="X_fit has 10 features and Y_fit has 4"):
        mean_shift_accuracy(X, Y, X_fit=X, Y_fit=Y[:, :4])
    with pytest.raises(ValueError, match="Input Y_fit contains NaN"):
        mean_shift_accuracy(X, Y, X_fit=X, Y_fit=np.full((3, 10), np.nan))
