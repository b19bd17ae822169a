"""LayerMixing: weights of layers, learned from translations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from posthoc_align import LayerMixing
from posthoc_align.metrics import weak_alignment


def layers(n=80, d=8, *, noises=(3.0, 0.5, 3.0), sizes=(1.0, 10.0, 0.1), seed=0):
    """Three languages; each layer is the same points and noise, more or less, in another unit."""
    rng = np.random.default_rng(seed)
    points = np.tile(rng.normal(size=(n, d)), (3, 1))
    blocks = [
        size * (points + noise * rng.normal(size=points.shape))
        for noise, size in zip(noises, sizes, strict=True)
    ]
    return np.hstack(blocks), np.repeat(["de", "en", "fr"], n), np.tile(np.arange(n), 3)


def fit(X=None, *, n_layers=3, **parameters):
    made, language, pair_id = layers()
    mixing = LayerMixing(n_layers=n_layers, **parameters)
    return mixing.fit(made if X is None else X, language=language, pair_id=pair_id)


def test_the_layer_that_languages_share_gets_the_weight_whatever_the_unit_of_layers():
    mixing = fit()
    assert mixing.weights_[1] > 0.7
    assert mixing.weights_.sum() == pytest.approx(1)
    X, language, _ = layers(seed=0)
    part = {size: fit(layers(sizes=size)[0]).weights_ for size in ((1, 1, 1), (5, 0.2, 9))}
    np.testing.assert_allclose(part[1, 1, 1], part[5, 0.2, 9], atol=1e-4)
    Z = mixing.transform(X)
    mean = LayerMixing(n_layers=3, penalty=1e6).fit(
        X, language=language, pair_id=np.tile(np.arange(80), 3)
    )
    np.testing.assert_allclose(mean.weights_, 1 / 3, atol=1e-3)
    en, de = (language == name for name in ("en", "de"))
    uniform = mean.transform(X)
    assert weak_alignment(Z[de], Z[en]) > weak_alignment(uniform[de], uniform[en])


def test_the_loss_never_ends_above_that_of_equal_weights_and_is_least_there():
    X, language, _ = layers()
    mixing = fit(penalty=0.0)
    assert mixing.loss_ < mixing.uniform_loss_
    # negative control: no other mixture on a grid is better
    tensor = {}
    for name in ("de", "en", "fr"):
        rows = X[language == name].reshape(80, 3, 8) / mixing.norms_[:, None]
        tensor[name] = torch.as_tensor(rows)

    def loss(weights):
        unit = {
            name: torch.nn.functional.normalize(
                torch.einsum("nkd,k->nd", rows, torch.as_tensor(weights)), dim=1
            )
            for name, rows in tensor.items()
        }
        found = []
        for other in ("en", "fr"):  # equal counts: the first language is the one paired with
            scores = unit[other] @ unit["de"].T / 0.05
            target = torch.arange(80)
            both = (torch.nn.functional.cross_entropy(s, target) for s in (scores, scores.T))
            found.append(sum(both) / 2)
        return float(sum(found) / 2)

    assert loss(mixing.weights_) == pytest.approx(mixing.loss_, rel=1e-3)
    assert loss(np.ones(3) / 3) == pytest.approx(mixing.uniform_loss_, rel=1e-3)
    steps = np.arange(0, 1, 0.1)
    grid = [np.array([a, b, 1 - a - b]) for a in steps for b in steps if a + b <= 1]
    assert min(loss(weights) for weights in grid) > mixing.loss_ - 1e-6


def test_a_mixed_row_is_the_weighted_sum_of_its_layers(as_kind, rows_of, rtol):
    X, language, pair_id = layers()
    x = as_kind(X)
    mixing = LayerMixing(n_layers=3).fit(x, language=language, pair_id=pair_id)
    Z = mixing.transform(x, language=language)
    assert (type(Z), Z.dtype, tuple(Z.shape)) == (type(x), x.dtype, (240, 8))
    expected = sum(
        w / s * X[:, 8 * k : 8 * k + 8]
        for k, (w, s) in enumerate(zip(mixing.weights_, mixing.norms_, strict=True))
    )
    np.testing.assert_allclose(rows_of(Z), expected, atol=100 * rtol)
    again = LayerMixing(n_layers=3).fit_transform(x, language=language, pair_id=pair_id)
    np.testing.assert_array_equal(rows_of(again), rows_of(Z))
    assert list(mixing.get_feature_names_out()[:2]) == ["layermixing0", "layermixing1"]


def test_half_precision_comes_back_in_half_precision(make_kind):
    X, language, pair_id = layers()
    for form in ("numpy float16", "torch bfloat16"):
        x = make_kind(X, form)
        Z = LayerMixing(n_layers=3).fit_transform(x, language=language, pair_id=pair_id)
        assert Z.dtype == x.dtype


def test_a_single_layer_needs_no_pairs_and_stays_as_it_is():
    X, _, _ = layers()
    mixing = LayerMixing().fit(X)
    np.testing.assert_array_equal(mixing.transform(X), X)
    np.testing.assert_array_equal(mixing.weights_, [1.0])


def test_pairs_are_drawn_by_the_seed():
    one, two, other = (fit(max_pairs=30, random_state=seed).weights_ for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"language": None}, "got no language. Pass language="),
        ({"pair_id": None}, "got no pair_id. Pass language="),
        ({"pair_id": np.arange(240)}, "No language shares 2 or more pair_id with 'de'.*check"),
        ({"n_layers": 5}, "24 columns.*n_layers=5"),
        ({"temperature": 0}, "temperature=0 .*number > 0"),
        ({"penalty": -1}, "penalty=-1 .*number >= 0"),
        ({"max_pairs": 1}, "max_pairs=1 .*integer >= 2"),
        ({"max_iter": 0}, "max_iter=0 .*integer >= 1"),
    ],
)
def test_what_it_cannot_be_fitted_on_is_explained(change, says):
    X, language, pair_id = layers()
    known = {"language": language, "pair_id": pair_id}
    known |= {key: value for key, value in change.items() if key in known}
    parameters = {key: value for key, value in change.items() if key not in known}
    with pytest.raises(ValueError, match=says):
        LayerMixing(**({"n_layers": 3} | parameters)).fit(X, **known)


def test_a_layer_of_zeros_is_named():
    X, *_ = layers()
    X[:, 8:16] = 0
    with pytest.raises(ValueError, match=r"Layers \[1\] are zero.*leave them out"):
        fit(X)


def test_too_few_iterations_warn():
    with pytest.warns(ConvergenceWarning, match="max_iter=1 iterations. Raise max_iter"):
        fit(max_iter=1)
