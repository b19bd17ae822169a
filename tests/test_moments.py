"""Statistics that add: any cut, any order and any kind of array gives the sums of the whole."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posthoc_align import _arrays, _blocks
from posthoc_align._blocks import blocks
from posthoc_align.moments import LanguageMoments, Moments
from posthoc_align.pair_moments import PairMoments

FIELDS = ("mean", "squares", "scatter", "mean_x", "mean_y", "cross", "scatter_x", "scatter_y")


def assert_same(a, b, rtol=1e-10):
    """Equal moments, to a share of each field's largest value (of the spread, one, for means)."""
    if isinstance(a, LanguageMoments):
        assert list(a) == list(b)
        for label in a:
            assert_same(a[label], b[label], rtol)
        return
    assert a.count == b.count
    for field in (f for f in FIELDS if hasattr(a, f)):
        x, y = getattr(a, field), getattr(b, field)
        assert (x is None) == (y is None), field
        if x is not None:
            size = max(np.abs(y).max(), 1.0 if "mean" in field else 0.0)
            np.testing.assert_allclose(x, y, atol=rtol * size, rtol=0, err_msg=field)
    for field in ("square_x", "square_y"):
        if hasattr(a, field):
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=rtol)


def merged_in_random_order(parts, rng):
    """Merge neighbours of a shuffled list until one is left: a random tree."""
    parts = [parts[i] for i in rng.permutation(len(parts))]
    while len(parts) > 1:
        at = rng.integers(len(parts) - 1)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0]


def cuts_of(n, k, rng):
    """At most k + 1 slices that cover n rows."""
    edges = np.unique([0, n, *rng.integers(1, n, size=k)])
    return [slice(a, b) for a, b in pairwise(edges)]


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Read rows in blocks of some five rows, so that block borders fall everywhere."""
    seen = []

    def cut(X, *, target=None):
        for rows in blocks(X, target=200):
            seen.append(rows)
            yield rows

    monkeypatch.setattr(_blocks, "blocks", cut)
    return seen


# --- what they are --------------------------------------------------------------------------


def test_moments_are_count_mean_and_centred_sums(as_kind, rtol):
    X = np.random.default_rng(0).normal(size=(300, 5)) + 3
    D = X - X.mean(axis=0)
    full, diagonal = (Moments.of(as_kind(X), second=s) for s in ("full", "diagonal"))
    assert full.count == 300
    np.testing.assert_allclose(full.mean, X.mean(axis=0), rtol=rtol)
    np.testing.assert_allclose(full.scatter, D.T @ D, atol=rtol * 300)
    np.testing.assert_allclose(diagonal.squares, (D**2).sum(axis=0), rtol=rtol)
    np.testing.assert_allclose(full.variance, X.var(axis=0), rtol=rtol)
    np.testing.assert_allclose(diagonal.variance, X.var(axis=0), rtol=rtol)


@pytest.mark.parametrize("scatter", [True, False])
def test_pair_moments_are_joint_centred_sums(as_kind, rtol, scatter):
    X, Y = np.random.default_rng(1).normal(size=(2, 300, 4)) + 3
    Y = Y[:, :3] + X[:, :3]
    DX, DY = X - X.mean(axis=0), Y - Y.mean(axis=0)
    m = PairMoments.of(as_kind(X), as_kind(Y), scatter=scatter)
    np.testing.assert_allclose(m.cross, DX.T @ DY, atol=rtol * 600)
    np.testing.assert_allclose([m.square_x, m.square_y], [(DX**2).sum(), (DY**2).sum()], rtol=rtol)
    np.testing.assert_allclose(m.mean_y, Y.mean(axis=0), rtol=rtol)
    if scatter:
        np.testing.assert_allclose(m.scatter_x, DX.T @ DX, atol=rtol * 300)
    else:
        assert m.scatter_x is None


def test_uncentred_pair_moments_are_sums_about_the_origin():
    X, Y = np.random.default_rng(2).normal(size=(2, 50, 4)) + 3
    m = PairMoments.of(X, Y, scatter=True).uncentred()
    np.testing.assert_allclose(m.cross, X.T @ Y, rtol=1e-12)
    np.testing.assert_allclose(m.scatter_x, X.T @ X, rtol=1e-12)
    np.testing.assert_allclose([m.square_x, m.square_y], [(X**2).sum(), (Y**2).sum()], rtol=1e-12)
    assert not m.mean_x.any()
    assert not m.mean_y.any()


def test_moments_of_each_language_are_those_of_its_rows_alone(as_kind, rtol):
    rng = np.random.default_rng(3)
    X, language = rng.normal(size=(90, 4)), rng.choice(["de", "en", "fr"], size=90)
    m = LanguageMoments.of(as_kind(X), language, second="full")
    assert sorted(m) == ["de", "en", "fr"]
    for label in m:
        alone = Moments.of(as_kind(X[language == label]), second="full")
        assert_same(m[label], alone, rtol)


def test_pooling_languages_gives_the_moments_of_all_rows():
    rng = np.random.default_rng(4)
    X, language = rng.normal(size=(90, 4)), rng.integers(0, 3, size=90)
    X += 5 * language[:, None]
    m = LanguageMoments.of(X, language, second="full")
    assert_same(m.pooled, Moments.of(X, second="full"))


def test_the_scatter_within_languages_is_the_sum_of_theirs_however_rows_are_cut(as_kind, rtol):
    rng = np.random.default_rng(8)
    X, language = rng.normal(size=(90, 4)) + 50, rng.choice(["a", "b", "c"], 90)
    X[language == "b"] += 10
    full = LanguageMoments.of(X, language, second="full")
    parts = [slice(0, 7), slice(7, 8), slice(8, 90)]
    split = [LanguageMoments.of(as_kind(X[at]), language[at], second="within") for at in parts]
    for found in (split[0] + split[1] + split[2], split[2] + (split[0] + split[1])):
        expected = sum(part.scatter for part in full.values())
        np.testing.assert_allclose(found.within, expected, atol=20 * rtol * np.abs(expected).max())
        np.testing.assert_allclose(
            found.pooled.scatter,
            full.pooled.scatter,
            atol=10 * rtol * np.abs(full.pooled.scatter).max(),
        )
        assert all(part.scatter is None for part in found.values())


def test_cells_with_and_without_a_language_do_not_add():
    named, bare = (
        LanguageMoments({(language, "x"): Moments(2, np.zeros(3))}) for language in ("en", None)
    )
    with pytest.raises(ValueError, match="some without: pass language="):
        named + bare


def test_one_row_has_no_scatter():
    m = Moments.of(np.array([[3.0, -7.0]]), second="full")
    np.testing.assert_array_equal(m.scatter, np.zeros((2, 2)))
    np.testing.assert_array_equal(m.mean, [3.0, -7.0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("second", ["diagonal", "full"])
def test_a_dimension_that_never_varies_has_a_variance_of_exactly_zero(dtype, second):
    X = np.random.default_rng(5).normal(size=(1000, 3)).astype(dtype)
    X[:, 1] = 0.1  # a tenth has no exact binary form: a rounded mean would differ from it
    assert Moments.of(X, second=second).variance[1] == 0
    assert (Moments.of(X[:300], second=second) + Moments.of(X[300:], second=second)).variance[
        1
    ] == 0


# --- they add -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 8),
    offset=st.sampled_from([0.0, 1e4]),
    second=st.sampled_from(["none", "diagonal", "full"]),
)
def test_parts_merged_in_any_order_equal_the_whole(seed, k, offset, second):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 4)) + offset
    parts = [Moments.of(X[at], second=second) for at in cuts_of(60, k, rng)]
    assert_same(merged_in_random_order(parts, rng), Moments.of(X, second=second))


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 8),
    offset=st.sampled_from([0.0, 1e4]),
    scatter=st.booleans(),
)
def test_pairs_merged_in_any_order_equal_the_whole(seed, k, offset, scatter):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 4)) + offset
    Y = X @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3))
    parts = [PairMoments.of(X[at], Y[at], scatter=scatter) for at in cuts_of(60, k, rng)]
    assert_same(merged_in_random_order(parts, rng), PairMoments.of(X, Y, scatter=scatter))
    both, weight = {"scatter": scatter, "scatter_y": True}, rng.uniform(0.1, 3, size=60)
    parts = [PairMoments.of(X[at], Y[at], weight=weight[at], **both) for at in cuts_of(60, k, rng)]
    whole = PairMoments.of(X, Y, weight=weight, **both)
    assert_same(merged_in_random_order(parts, rng), whole)
    np.testing.assert_allclose(whole.total, weight.sum(), rtol=1e-12)


def test_a_weight_of_a_pair_is_how_often_it_is_there(as_kind, rtol):
    X, Y = np.random.default_rng(1).normal(size=(2, 300, 4)) + 3
    times = np.random.default_rng(2).integers(0, 4, size=300)
    both = {"scatter": True, "scatter_y": True}
    m = PairMoments.of(as_kind(X), as_kind(Y), weight=as_kind(times), **both)
    twice = PairMoments.of(
        as_kind(X.repeat(times, axis=0)), as_kind(Y.repeat(times, axis=0)), **both
    )
    assert (m.count, m.total, m.size) == (np.sum(times > 0), twice.count, twice.count)
    assert_same(dataclasses.replace(m, count=twice.count), twice, 10 * rtol)
    assert_same(dataclasses.replace(m.uncentred(), count=twice.count), twice.uncentred(), 10 * rtol)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 8))
def test_languages_split_over_batches_equal_the_whole(seed, k):
    rng = np.random.default_rng(seed)
    X, language = rng.normal(size=(60, 4)), rng.choice(["de", "en", "fr"], size=60)
    X += 100 * (language == "fr")[:, None]
    parts = [LanguageMoments.of(X[at], language[at], second="full") for at in cuts_of(60, k, rng)]
    whole = LanguageMoments.of(X, language, second="full")
    assert_same(merged_in_random_order(parts, rng), whole)


def test_adding_moments_changes_neither_of_them():
    X = np.random.default_rng(6).normal(size=(20, 3))
    a, b = Moments.of(X[:5], second="full"), Moments.of(X[5:], second="full")
    before = a.mean.copy(), a.scatter.copy(), b.mean.copy(), b.scatter.copy()
    assert_same(a + b, b + a)
    for now, then in zip((a.mean, a.scatter, b.mean, b.scatter), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_moments_of_no_language_at_all_add_nothing():
    X = np.random.default_rng(7).normal(size=(20, 3))
    m = LanguageMoments.of(X, np.repeat(["a", "b"], 10))
    assert_same(LanguageMoments() + m, m)
    assert_same(m + LanguageMoments(), m)


def test_moments_cannot_be_changed_in_place():
    m = Moments.of(np.ones((3, 2)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        m.count = 7


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_float32_rows_far_from_the_origin_do_not_cancel(library, make_kind):
    X = (np.random.default_rng(8).normal(size=(5000, 4)) + 1e4).astype(np.float32)
    exact = Moments.of(X.astype(np.float64), second="full")
    m = Moments.of(make_kind(X, f"{library} float32"), second="full")
    # Shifted rows are of size one: float32 products keep five digits of the sums.
    assert_same(m, exact, rtol=1e-5)
    np.testing.assert_allclose(m.mean, exact.mean, atol=1e-6)  # of a spread of one
    naive = (X**2).sum(axis=0) - len(X) * X.mean(axis=0) ** 2
    assert np.abs(naive / len(X) - 1).max() > 0.5  # what happens without a shift


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("grouped", [True, False])
def test_float32_languages_far_from_each_other_do_not_cancel(library, grouped, make_kind):
    rng = np.random.default_rng(9)
    language = np.repeat(["a", "b"], 1000)
    if not grouped:
        rng.shuffle(language)
    X = (rng.normal(size=(2000, 4)) + 1e4 * (language == "b")[:, None]).astype(np.float32)
    m = LanguageMoments.of(make_kind(X, f"{library} float32"), language, second="full")
    for label, exact in LanguageMoments.of(X.astype(np.float64), language, second="full").items():
        # Rows spread by one about their language's mean: five digits of that, as above.
        np.testing.assert_allclose(m[label].mean, exact.mean, rtol=1e-7, atol=1e-5)
        np.testing.assert_allclose(m[label].scatter, exact.scatter, atol=1e-5 * 1000)


def test_float32_pairs_far_from_the_origin_do_not_cancel():
    X, Y = (np.random.default_rng(10).normal(size=(2, 5000, 4)) + 1e4).astype(np.float32)
    Y += X - np.float32(1e4)
    m = PairMoments.of(X, Y, scatter=True)
    assert_same(m, PairMoments.of(X.astype(float), Y.astype(float), scatter=True), rtol=1e-5)


def test_a_float16_memory_map_has_the_moments_of_its_rows(tmp_path):
    X = (np.random.default_rng(11).normal(size=(4000, 8)) + 3).astype(np.float16)
    np.save(tmp_path / "X.npy", X)
    m = Moments.of(np.load(tmp_path / "X.npy", mmap_mode="r"), second="full")
    # Summed in float32 from exactly upcast rows.
    assert_same(m, Moments.of(X.astype(np.float64), second="full"), rtol=1e-5)


def test_torch_and_numpy_give_the_same_moments(make_kind):
    X, Y = np.random.default_rng(12).normal(size=(2, 400, 6)) + 2
    language = np.repeat(["a", "b"], 200)
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-5), ("float16", 1e-5)):
        x, y, tx, ty = (
            make_kind(Z, f"{lib} {dtype}") for lib in ("numpy", "torch") for Z in (X, Y)
        )
        assert_same(Moments.of(tx, second="full"), Moments.of(x, second="full"), rtol)
        assert_same(LanguageMoments.of(tx, language), LanguageMoments.of(x, language), rtol)
        assert_same(PairMoments.of(tx, ty, scatter=True), PairMoments.of(x, y, scatter=True), rtol)


def test_bfloat16_rows_are_summed_after_upcasting():
    X = torch.as_tensor(np.random.default_rng(13).normal(size=(500, 4))).to(torch.bfloat16)
    exact = Moments.of(X.double().numpy(), second="full")
    assert_same(Moments.of(X, second="full"), exact, rtol=1e-5)  # summed in float32


@pytest.mark.parametrize("kind", ["numpy float64", "torch float64"])
def test_block_size_does_not_change_any_moment(kind, make_kind, tiny_blocks):
    rng = np.random.default_rng(14)
    X, Y = rng.normal(size=(2, 80, 4)) + 10
    language = rng.choice(["a", "b"], size=80)
    D = X - X.mean(axis=0)
    x, y = make_kind(X, kind), make_kind(Y, kind)
    whole = Moments.of(x, second="full")
    np.testing.assert_allclose(whole.scatter, D.T @ D, atol=1e-10)
    pairs = PairMoments.of(x, y, scatter=True)
    np.testing.assert_allclose(pairs.cross, D.T @ Y, atol=1e-10)
    for label, m in LanguageMoments.of(x, language, second="full").items():
        assert_same(m, Moments.of(X[language == label], second="full"))
    assert len(tiny_blocks) > 20  # else nothing was cut


def test_the_precision_of_the_arithmetic_is_remembered_and_the_coarser_one_wins():
    X = np.random.default_rng(15).normal(size=(20, 3))
    fine, coarse = Moments.of(X), Moments.of(X.astype(np.float32))
    assert fine.eps == np.finfo(np.float64).eps
    assert (fine + coarse).eps == (coarse + fine).eps == coarse.eps == np.finfo(np.float32).eps
    fine, coarse = PairMoments.of(X, X), PairMoments.of(*2 * [X.astype(np.float32)])
    assert (fine + coarse).eps == (coarse + fine).eps == coarse.eps == np.finfo(np.float32).eps


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_bad_row_is_named(value, library, make_kind):
    X, Y = np.random.default_rng(16).normal(size=(2, 30, 3))
    bad = X.copy()
    bad[21, 1] = value
    good, bad, Y = (make_kind(Z, f"{library} float64") for Z in (X, bad, Y))
    language = np.repeat(["a", "b"], 15)
    for second in ("none", "diagonal", "full"):
        with pytest.raises(ValueError, match="X contains .*first in row 21"):
            Moments.of(bad, second=second)
        with pytest.raises(ValueError, match="X contains .*first in row 21"):
            LanguageMoments.of(bad, language, second=second)
    with pytest.raises(ValueError, match="X contains .*first in row 21"):
        PairMoments.of(bad, Y)
    with pytest.raises(ValueError, match="y contains .*first in row 21"):
        PairMoments.of(good, bad)


def test_sums_that_overflow_say_so_and_name_the_way_out():
    X = np.full((10, 2), 3e38, np.float32) * np.where(np.arange(10) % 2, 1, -1)[:, None]
    X = X.astype(np.float32)
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(ValueError, match="overflow .*float32.*pass float64"),
    ):
        Moments.of(X, second="diagonal")


def test_labelled_and_unlabelled_moments_do_not_merge():
    X = np.random.default_rng(17).normal(size=(10, 3))
    labelled = LanguageMoments.of(X, np.repeat(["a", "b"], 5))
    for a, b in ((labelled, LanguageMoments.of(X)), (LanguageMoments.of(X), labelled)):
        with pytest.raises(ValueError, match="some without: pass language= in every"):
            a + b


WIDE, NARROW = np.ones((4, 3)), np.ones((4, 2))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Moments.of(WIDE), Moments.of(NARROW)),
        (LanguageMoments.of(WIDE), LanguageMoments.of(NARROW)),
        (LanguageMoments({"a": Moments.of(WIDE)}), LanguageMoments({"a": Moments.of(NARROW)})),
        (LanguageMoments({"a": Moments.of(WIDE)}), LanguageMoments({"b": Moments.of(NARROW)})),
        (PairMoments.of(WIDE, WIDE), PairMoments.of(NARROW, WIDE)),
        (PairMoments.of(WIDE, WIDE), PairMoments.of(WIDE, NARROW)),
    ],
    ids=["rows", "no language", "one language", "two languages", "pairs, X", "pairs, y"],
)
def test_moments_of_different_widths_do_not_merge(a, b):
    with pytest.raises(ValueError, match="width 3 and 2 cannot be merged"):
        a + b


def test_a_variance_that_was_not_kept_is_explained():
    with pytest.raises(ValueError, match="hold no second moments: accumulate .*second="):
        _ = Moments.of(np.ones((3, 2))).variance


# --- float32 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("second", ["none", "diagonal"])
@pytest.mark.parametrize("n_features", [1, 8, 64])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_means_of_many_equal_float32_rows_are_those_rows(kind, n_features, second, shuffled):
    X = np.full((200_000, n_features), 0.1, dtype=np.float32)  # each addition is off the same way
    language = np.arange(len(X)) % 2 if shuffled else np.arange(len(X)) * 2 // len(X)
    made = LanguageMoments.of(
        X if kind == "numpy" else torch.from_numpy(X), language, second=second
    )
    for part in made.values():
        np.testing.assert_allclose(part.mean, X[0], rtol=2e-6)


@pytest.mark.parametrize("centre", [0.0, 0.3, 30.0])
def test_products_of_float32_pairs_are_exact_wherever_the_rows_lie(centre):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(5000, 4)) + centre).astype(np.float32)
    Y = (X[:, ::-1] + rng.normal(size=(5000, 4))).astype(np.float32)
    made = PairMoments.of(X, Y, scatter=True)
    exact = PairMoments.of(X.astype(np.float64), Y.astype(np.float64), scatter=True)
    for name in ("mean_x", "mean_y", "cross", "scatter_x", "square_x", "square_y"):
        expected = np.asarray(getattr(exact, name))
        bound = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(getattr(made, name), expected, atol=bound, err_msg=name)


def test_sums_of_groups_on_a_device_are_those_of_the_host():
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(1500, 5)), rng.integers(0, 3, size=1500)
    expected = np.stack([X[codes == group].sum(axis=0) for group in range(3)])
    X, codes = torch.from_numpy(X), torch.from_numpy(codes)
    np.testing.assert_allclose(_arrays._group_products(X, codes, 3), expected, atol=1e-10)
    np.testing.assert_allclose(_arrays.group_sums(X, codes, 3), expected, atol=1e-10)
    few = slice(100)  # less than a product is started for
    alone = np.stack([X[few][codes[few] == group].numpy().sum(axis=0) for group in range(3)])
    np.testing.assert_allclose(_arrays._group_products(X[few], codes[few], 3), alone, atol=1e-10)
