"""The losses: worked by hand, against plain formulas, and their gradients by differences."""

import numpy as np
import pytest
import torch

from posthoc_align.align._training.losses import (
    nearest_rows,
    rcsls_loss,
    same_length,
    softmax_loss,
    squared_loss,
    triplet_loss,
    unit,
)


def pairs(seed=0, n=7, d=4):
    rng = np.random.default_rng(seed)
    z, y = (torch.as_tensor(rng.normal(size=(n, d))) for _ in range(2))
    return unit(z), unit(y)


ROOT = np.sqrt(0.5)
HALF_TURN = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
TILTED = torch.tensor([[ROOT, ROOT], [0.0, 1.0]], dtype=torch.float64)

# --- by hand ----------------------------------------------------------------------------------


def test_softmax_of_two_pairs_by_hand():
    # Cosines of z with y are [[r, 0], [r, 1]], with r = sqrt(1/2).
    asked = (np.log(np.e**ROOT + 1) - ROOT + np.log(np.e**ROOT + np.e) - 1) / 2
    answered = (np.log(2 * np.e**ROOT) - ROOT + np.log(1 + np.e) - 1) / 2
    one = softmax_loss(HALF_TURN, TILTED, temperature=1.0, symmetric=False)
    both = softmax_loss(HALF_TURN, TILTED, temperature=1.0)
    np.testing.assert_allclose(float(one), asked, rtol=1e-12)
    np.testing.assert_allclose(float(both), (asked + answered) / 2, rtol=1e-12)


def test_triplet_of_two_pairs_by_hand():
    # z asks: negatives 0 and r; y asks: negatives r and 0. True pairs: r and 1.
    asked = (max(0, 0.5 - ROOT + 0) + max(0, 0.5 - 1 + ROOT)) / 2
    answered = (max(0, 0.5 - ROOT + ROOT) + max(0, 0.5 - 1 + 0)) / 2
    one = triplet_loss(HALF_TURN, TILTED, margin=0.5, symmetric=False)
    both = triplet_loss(HALF_TURN, TILTED, margin=0.5)
    np.testing.assert_allclose(float(one), asked, rtol=1e-12)
    np.testing.assert_allclose(float(both), asked + answered, rtol=1e-12)


def test_a_margin_is_what_a_true_pair_must_be_ahead_by():
    far = torch.eye(3, dtype=torch.float64)  # every negative is at cosine 0, every pair at 1
    assert float(triplet_loss(far, far, margin=0.9)) == 0
    np.testing.assert_allclose(float(triplet_loss(far, far, margin=1.2)), 0.4, rtol=1e-12)


def test_relaxed_csls_of_two_pairs_by_hand():
    # One neighbour each: of z in y (rows 0 and 1), of y in z (rows 0 and 1): its own pair.
    loss = rcsls_loss(HALF_TURN, TILTED, mapped=lambda x: x, pools=(HALF_TURN, TILTED), neighbors=1)
    np.testing.assert_allclose(float(loss), 0.0, atol=1e-15)
    everyone = rcsls_loss(
        HALF_TURN, TILTED, mapped=lambda x: x, pools=(HALF_TURN, TILTED), neighbors=2
    )
    expected = (-2 * (ROOT + 1) + 2 * (ROOT + 0 + ROOT + 1) / 2) / 2
    np.testing.assert_allclose(float(everyone), expected, rtol=1e-12)


def test_squared_distance_by_hand():
    np.testing.assert_allclose(float(squared_loss(HALF_TURN, 3 * HALF_TURN)), 4.0)


# --- plain formulas ---------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("same_side", [True, False])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_softmax_agrees_with_the_formula_written_out(symmetric, same_side, margin):
    z, y = pairs()

    def asked(a, b):
        total = 0.0
        for i in range(len(a)):
            true = np.exp((a[i] @ b[i] - margin) / 0.2)
            rivals = sum(np.exp(a[i] @ b[j] / 0.2) for j in range(len(a)) if j != i)
            if same_side:
                rivals += sum(np.exp(a[i] @ a[j] / 0.2) for j in range(len(a)) if j != i)
            total -= np.log(true / (true + rivals)) / len(a)
        return total

    a, b = z.numpy(), y.numpy()
    expected = (asked(a, b) + asked(b, a)) / 2 if symmetric else asked(a, b)
    loss = softmax_loss(
        z, y, temperature=0.2, margin=margin, symmetric=symmetric, same_side=same_side
    )
    np.testing.assert_allclose(float(loss), expected, rtol=1e-12)


@pytest.mark.parametrize("same_side", [True, False])
def test_triplet_looks_at_the_hardest_negative_alone(same_side):
    z, y = pairs()

    def asked(a, b):
        across, own = a @ b.T, a @ a.T
        total = 0.0
        for i in range(len(a)):
            others = [j for j in range(len(a)) if j != i]
            rivals = [across[i, j] for j in others] + same_side * [own[i, j] for j in others]
            total += max(0.0, 0.2 - across[i, i] + max(rivals)) / len(a)
        return total

    a, b = z.numpy(), y.numpy()
    loss = triplet_loss(z, y, margin=0.2, same_side=same_side)
    np.testing.assert_allclose(float(loss), asked(a, b) + asked(b, a), rtol=1e-12)


@pytest.mark.parametrize("same_side", [True, False])
def test_a_target_that_occurs_twice_is_no_negative_of_itself(same_side):
    z, y = pairs()
    z[0], y[0] = z[1], y[1]
    twice = z[:2], y[:2]
    assert float(softmax_loss(*twice, temperature=0.2, same_side=same_side)) == 0
    assert float(triplet_loss(*twice, margin=5.0, same_side=same_side)) == 0


def test_a_batch_of_one_pair_has_nothing_to_be_told_apart_from():
    z, y = pairs(n=1)
    assert float(softmax_loss(z, y, temperature=0.1)) == 0
    assert float(softmax_loss(z, y, temperature=0.1, same_side=True)) == 0
    assert float(triplet_loss(z, y, margin=0.2, same_side=True)) == 0


def test_relaxed_csls_agrees_with_its_neighbourhoods_written_out():
    z, y = pairs()
    pool_x, pool_y = pairs(seed=1, n=9)
    loss = rcsls_loss(z, y, mapped=lambda x: 2 * x, pools=(pool_x, pool_y), neighbors=3)
    total = 0.0
    for i in range(len(z)):
        toward_y, toward_z = pool_y @ z[i], 2 * pool_x @ y[i]
        hubs = np.sort(toward_y.numpy())[-3:].mean() + np.sort(toward_z.numpy())[-3:].mean()
        total += (-2 * float(z[i] @ y[i]) + hubs) / len(z)
    np.testing.assert_allclose(float(loss), total, rtol=1e-12)


def test_neighbours_found_in_small_blocks_are_the_same():
    z, y = pairs(n=40)
    assert torch.equal(nearest_rows(z, y, 5), nearest_rows(z, y, 5, budget=1000))


# --- gradients --------------------------------------------------------------------------------

LOSSES = {
    "infonce": lambda z, y, f: softmax_loss(unit(z), unit(y), temperature=0.1, same_side=True),
    "additive margin": lambda z, y, f: softmax_loss(unit(z), unit(y), temperature=0.1, margin=0.3),
    "triplet": lambda z, y, f: triplet_loss(unit(z), unit(y), margin=0.2, same_side=True),
    "rcsls": lambda z, y, f: rcsls_loss(z, y, mapped=f, pools=pairs(seed=1, n=9), neighbors=2),
    "mse": lambda z, y, f: squared_loss(z, y),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_slope_of_finite_differences(name):
    x, y = pairs(seed=3)
    rng = np.random.default_rng(4)
    matrix = torch.as_tensor(np.eye(4) + 0.3 * rng.normal(size=(4, 4)), dtype=torch.float64)

    def loss(matrix):
        return LOSSES[name](x @ matrix, y, lambda rows: rows @ matrix)

    matrix.requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(matrix), matrix)
    for _ in range(5):
        way = torch.as_tensor(rng.normal(size=(4, 4)))
        with torch.no_grad():
            step = 1e-6  # halves of 16 digits: differences are good to about 1e-9
            rise = (loss(matrix + step * way) - loss(matrix - step * way)) / (2 * step)
        np.testing.assert_allclose(float((slope * way).sum()), float(rise), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["infonce", "additive margin", "triplet"])
def test_a_zero_row_leaves_the_gradient_of_a_matrix_finite(name):
    x, y = pairs()
    x[2] = 0
    matrix = torch.eye(4, dtype=torch.float64, requires_grad=True)
    LOSSES[name](x @ matrix, y, None).backward()
    assert bool(matrix.grad.isfinite().all())


def test_the_official_rcsls_objective_and_gradient_agree(official):
    inputs, theirs = official("inputs"), official("rcsls")
    X, Y = (unit(torch.as_tensor(inputs["X_fit"][i])) for i in (1, 0))
    rows = theirs["train_rows"]
    matrix = torch.as_tensor(theirs["procrustes_R"].T.copy()).requires_grad_(True)
    loss = rcsls_loss(
        X[rows] @ matrix, Y[rows], mapped=lambda x: x @ matrix, pools=(X, Y), neighbors=10
    )
    loss.backward()
    np.testing.assert_allclose(loss.detach(), theirs["procrustes_objective"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(matrix.grad.T, theirs["procrustes_gradient"], atol=1e-8, rtol=0)


def test_lengths_are_made_equal_in_the_root_mean_square():
    z, y = pairs()
    np.testing.assert_allclose(same_length(4 * z, y), 0.25, rtol=1e-12)
    assert same_length(0 * z, y) == 1
