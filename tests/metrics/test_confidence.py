"""Bootstrap intervals over groups, and the test of a paired difference."""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest
import torch

from posthoc_align.metrics import Estimate, bootstrap, paired_difference


def clustered(p, n_groups, n_languages, seed, shared=0.7):
    """Hits of probability p; a share of them is the same in all languages of a sentence."""
    rng = np.random.default_rng(seed)
    alike = rng.random((n_groups, 1)) < p
    own = rng.random((n_groups, n_languages)) < p
    hits = np.where(rng.random((n_groups, n_languages)) < shared, alike, own)
    rows = np.repeat(np.arange(n_groups), n_languages)
    return hits.ravel().astype(float), rows, np.tile(np.arange(n_languages), n_groups)


def coverage(p, **how):
    """Share of intervals that hold the truth, with groups and without."""
    held, naive = [], []
    for seed in range(150):
        hits, group, language = clustered(p, 100, 6, seed)
        for found, groups in ((held, group), (naive, None)):
            estimate = bootstrap(
                hits, groups=groups, strata=language, n_resamples=400, random_state=seed, **how
            )
            found.append(estimate.low <= p <= estimate.high)
    return np.mean(held), np.mean(naive)


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_nine_in_ten_intervals_hold_the_truth_and_without_groups_far_fewer_do(p):
    held, naive = coverage(p, level=0.9)
    # 150 trials: the share has a standard deviation of 2.4 points.
    assert held == pytest.approx(0.9, abs=0.075)
    assert naive < 0.75


@pytest.mark.slow
def test_a_difference_of_none_is_called_significant_in_one_of_ten_at_that_level():
    called = []
    for seed in range(200):
        first, group, language = clustered(0.4, 12, 4, 2 * seed)
        second, _, _ = clustered(0.4, 12, 4, 2 * seed + 1)
        found = paired_difference(
            first, second, groups=group, strata=language, n_resamples=200, random_state=seed
        )
        called.append(found.p_value < 0.1)
    # Twelve groups only; 200 trials have a standard deviation of 2.1 points.
    assert np.mean(called) == pytest.approx(0.1, abs=0.06)


def test_the_value_is_the_macro_average_of_strata_whatever_their_sizes():
    values = [1, 1, 0, 0, 0, 1, 0, 0]
    strata = ["en"] * 2 + ["de"] * 6
    assert bootstrap(values, strata=strata).value == pytest.approx((1 + 1 / 6) / 2)
    assert bootstrap(values).value == pytest.approx(3 / 8)


def test_the_interval_of_a_mean_is_that_of_the_normal_law_where_that_holds():
    values = np.random.default_rng(0).normal(size=2000)
    found = bootstrap(values, n_resamples=4000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    # The quantile of 4000 resamples is off by 2 % of the half width or so.
    assert found.low == pytest.approx(found.value - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.1 * half)


def test_the_interval_agrees_with_the_peer_of_scipy():
    from scipy import stats

    values = np.random.default_rng(1).exponential(size=60)
    found = bootstrap(values, n_resamples=4000)
    seed = "rng" if "rng" in signature(stats.bootstrap).parameters else "random_state"
    peer = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="BCa", **{seed: np.random.default_rng(0)}
    ).confidence_interval
    width = peer.high - peer.low
    # Both draw at random: quantiles of 4000 resamples.
    assert (found.low, found.high) == pytest.approx(tuple(peer), abs=0.06 * width)


def test_skewed_outcomes_have_skewed_intervals():
    values = np.random.default_rng(1).exponential(size=40)
    found = bootstrap(values, n_resamples=4000)
    assert found.high - found.value > 1.1 * (found.value - found.low)


def test_copies_of_rows_narrow_the_interval_unless_they_are_of_one_group():
    values = np.random.default_rng(0).random(50)
    plain = bootstrap(values)
    copied = bootstrap(np.repeat(values, 4), groups=np.repeat(np.arange(50), 4))
    assert (copied.low, copied.high) == pytest.approx((plain.low, plain.high), abs=1e-12)
    naive = bootstrap(np.repeat(values, 4))
    assert naive.high - naive.low < 0.6 * (plain.high - plain.low)


def test_rows_without_a_pair_id_stand_alone():
    values = np.random.default_rng(0).random(40)
    for missing in ([-1] * 40, [None] * 40):
        alone = bootstrap(values, groups=missing)
        assert (alone.low, alone.high, alone.n) == (
            bootstrap(values).low,
            bootstrap(values).high,
            40,
        )


def test_names_of_groups_do_not_matter():
    values, group, language = clustered(0.4, 30, 3, seed=0)
    plain = bootstrap(values, groups=group, strata=language)
    named = bootstrap(values, groups=[f"s{g:02d}" for g in group], strata=language)
    assert plain == named


def test_n_counts_groups():
    values, group, language = clustered(0.4, 30, 3, seed=0)
    assert bootstrap(values, groups=group, strata=language).n == 30
    assert bootstrap(values).n == 90


def test_two_calls_give_one_answer_and_another_seed_another():
    values = np.random.default_rng(0).random(40)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values, random_state=1).low != bootstrap(values).low
    assert bootstrap(values, random_state=1).random_state == 1


def test_a_higher_level_is_wider():
    values = np.random.default_rng(0).random(40)
    narrow, wide = bootstrap(values, level=0.5), bootstrap(values, level=0.99)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_blocks_of_resamples_change_nothing(monkeypatch):
    values, group, language = clustered(0.4, 30, 3, seed=0)
    other = 1 - values
    whole = paired_difference(values, other, groups=group, strata=language)
    monkeypatch.setattr("posthoc_align.metrics._clusters.PRODUCT_BLOCK", 8 * 30 * 7)
    blocked = paired_difference(values, other, groups=group, strata=language)
    assert blocked.value == whole.value
    assert (blocked.low, blocked.high) == pytest.approx((whole.low, whole.high), abs=0.05)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_tensors_of_outcomes_will_do(dtype):
    hits, group, language = clustered(0.4, 30, 3, seed=0)
    tensor = torch.as_tensor(hits).to(dtype)
    found = bootstrap(tensor, groups=torch.as_tensor(group), strata=torch.as_tensor(language))
    assert found == bootstrap(hits, groups=group, strata=language)
    assert paired_difference(tensor, tensor).value == 0


def test_outcomes_that_all_agree_have_no_width():
    found = bootstrap([1] * 30)
    assert (found.low, found.value, found.high) == (1, 1, 1)


def test_a_planted_difference_is_found_and_its_sign_kept():
    before, group, language = clustered(0.3, 200, 4, seed=0)
    better = np.maximum(before, np.random.default_rng(1).random(len(before)) < 0.1)
    found = paired_difference(better, before, groups=group, strata=language)
    assert found.value == pytest.approx(better.mean() - before.mean())
    assert 0 < found.low < found.value < found.high
    assert found.p_value == pytest.approx(1 / 1001)
    back = paired_difference(before, better, groups=group, strata=language)
    assert back.value == -found.value
    assert back.p_value == found.p_value


def test_pairing_sees_what_two_intervals_hide():
    rng = np.random.default_rng(0)
    hard = rng.random(300)
    before = hard + 0.01 * rng.normal(size=300)
    after = before + 0.005
    assert bootstrap(after).low < bootstrap(before).value
    assert paired_difference(after, before).p_value < 0.01


def test_the_p_value_of_few_pairs_is_that_of_all_flips():
    # Of the 32 flips of five equal signs, two are as far out; the share of draws tends to it.
    found = paired_difference([1] * 5, [0] * 5, n_resamples=20_000)
    assert found.p_value == pytest.approx(2 / 32, abs=0.01)


def test_equal_methods_have_a_p_value_of_one():
    values = np.random.default_rng(0).random(50)
    found = paired_difference(values, values)
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_an_estimate_prints_percent():
    figure = Estimate(0.413, 0.398, 0.429, n=300, level=0.95, random_state=0)
    assert str(figure) == f"{figure}" == "41.3 [39.8, 42.9]"
    assert f"{figure:.2f}" == "41.30 [39.80, 42.90]"
    change = Estimate(0.021, -0.0001, 0.042, n=300, level=0.95, random_state=0, p_value=0.0512)
    assert str(change) == "+2.1 [+0.0, +4.2], p = 0.051"


def test_a_stratum_that_few_resamples_hold_is_left_out_of_those():
    values = np.random.default_rng(0).random(102)
    strata = ["en"] * 100 + ["de"] * 2
    found = bootstrap(values, strata=strata)
    assert found.low <= found.value <= found.high


class TestErrors:
    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"values": []}, r"values has shape \(0,\): pass one outcome a row"),
            ({"values": np.eye(2)}, r"values has shape \(2, 2\)"),
            ({"values": ["a", "b"]}, "values are no numbers: pass one outcome a row"),
            ({"values": [1, np.nan, 0]}, "values is nan in row 1: every outcome must be finite"),
            ({"values": [1, 0, np.inf]}, "values is inf in row 2"),
            ({"values": [1]}, "The rows are of one group only: an interval needs two"),
            ({"values": [1, 0], "groups": [7, 7]}, "The rows are of one group only"),
            ({"groups": [1, 2]}, r"groups has shape \(2,\) but values has 4 rows"),
            ({"groups": ["a", 1, 2, 3]}, "groups holds .'int', 'str'.: labels must be all str"),
            ({"strata": [1, 2]}, r"strata has shape \(2,\) but values has 4 rows"),
            ({"strata": ["en", "en", None, "de"]}, "strata is missing"),
            ({"strata": ["en", "en", "en", "de"]}, r"The rows of \['de'\] are of one group only"),
            ({"level": 1}, "level=1 must lie between 0 and 1"),
            ({"level": 95}, "level=95 must lie between 0 and 1; 0.95 is usual"),
            ({"n_resamples": 39}, "n_resamples=39 are too few .* pass 40 at the very least"),
            ({"n_resamples": 1e3}, "n_resamples=1000.0 is not a whole number"),
            ({"random_state": None}, "random_state=None is not a whole number"),
            ({"random_state": -1}, "random_state=-1 is negative"),
        ],
    )
    def test_wrong_input_says_what_came_and_what_to_do(self, changed, message):
        given = {"values": [1, 0, 1, 1], **changed}
        with pytest.raises(ValueError, match=message):
            bootstrap(given.pop("values"), **given)

    def test_methods_measured_on_different_rows(self):
        with pytest.raises(ValueError, match="values has 3 rows and other has 2"):
            paired_difference([1, 0, 1], [1, 0])
        with pytest.raises(ValueError, match="other is nan in row 0"):
            paired_difference([1, 0, 1], [np.nan, 0, 1])

    def test_strata_too_many_and_too_small_to_be_met_in_one_resample(self):
        strata = np.repeat(np.arange(100), 2)
        with pytest.raises(ValueError, match="resamples have a value in every stratum.*2 groups"):
            bootstrap(np.random.default_rng(0).random(200), strata=strata)
