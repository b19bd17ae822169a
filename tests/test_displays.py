"""Displays: what they compute agrees with the measures, and what they draw can be read back."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="pictures need Matplotlib")

from matplotlib.figure import Figure
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from posthoc_align import LanguageCentering
from posthoc_align.metrics import nearest, weak_alignment
from posthoc_align.plots import (
    HubnessDisplay,
    LanguagePairDisplay,
    ParetoDisplay,
    RetrievalDisplay,
    SpaceDisplay,
)

N, D = 40, 8
NAMES = ("de", "en", "sw")
RNG = np.random.default_rng(0)
CONCEPTS = RNG.normal(size=(N, D))
SHIFTS = {"en": 0.0, "de": 2.0, "sw": 6.0}
X = np.vstack([CONCEPTS + SHIFTS[n] + 0.3 * RNG.normal(size=(N, D)) for n in NAMES])
LANGUAGE, PAIR_ID = np.repeat(NAMES, N), np.tile(np.arange(N), 3)
PAIRED = {"language": LANGUAGE, "pair_id": PAIR_ID}
CENTRED = LanguageCentering().fit(X, language=LANGUAGE)
ROWS = [
    {"method": "identity", "values": {"weak": 0.1, "language_id": 0.9, "head_pivot": 0.8}},
    {"method": "both", "values": {"weak": 0.3, "language_id": 0.5, "head_pivot": 0.9}},
    {"method": "worse", "values": {"weak": 0.2, "language_id": 0.4, "head_pivot": 0.7}},
    {"method": "no figure", "values": {"weak": None, "language_id": 0.9, "head_pivot": 0.9}},
]
DRAWN = {
    "space": lambda **kw: SpaceDisplay.from_estimator(CENTRED, X, language=LANGUAGE, **kw),
    "retrieval": lambda **kw: RetrievalDisplay.from_estimator(
        CENTRED, X, pivot="en", **PAIRED, **kw
    ),
    "pairs": lambda **kw: LanguagePairDisplay.from_estimator(CENTRED, X, **PAIRED, **kw),
    "hubness": lambda **kw: HubnessDisplay.from_estimator(
        CENTRED, X, language=LANGUAGE, pivot="en", k=5, **kw
    ),
    "pareto": lambda **kw: ParetoDisplay(ROWS).plot(**kw),
}


def rows(name, Z=X):
    return Z[np.flatnonzero(name == LANGUAGE)]


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=50)
    return stream.getvalue()


# What all displays share


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN)
def test_a_display_draws_on_a_figure_of_its_own_and_again_on_given_axes(make):
    display = make()
    first, panels = display.figure_, np.atleast_1d(display.ax_).size
    assert png(first).startswith(b"\x89PNG")
    figure = Figure()
    axes = figure.subplots(1, panels)
    assert display.plot(ax=axes) is display
    assert display.figure_ is figure
    assert np.atleast_1d(display.ax_).ravel()[0] is np.atleast_1d(axes)[0]


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN)
def test_a_wrong_number_of_axes_is_refused(make):
    with pytest.raises(ValueError, match=r"axes has 5 entries; this picture has \d panels"):
        make(ax=list(Figure().subplots(1, 5)))


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN)
def test_pyplot_is_never_loaded(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    make()


def test_pipelines_and_transformers_without_languages_are_estimators_too():
    pipeline = make_pipeline(LanguageCentering(), PCA(n_components=4))
    with config_context(enable_metadata_routing=True):
        pipeline.fit(X, language=LANGUAGE)
    for fitted in (pipeline, PCA(n_components=4).fit(X), None, "passthrough"):
        SpaceDisplay.from_estimator(fitted, X, language=LANGUAGE)


# Retrieval


def test_retrieval_is_weak_alignment_into_the_pivot():
    display = RetrievalDisplay.from_estimator(CENTRED, X, pivot="en", **PAIRED)
    Z = CENTRED.transform(X, language=LANGUAGE)
    assert display.before == {n: weak_alignment(rows(n), rows("en")) for n in ("de", "sw")}
    assert display.after == {n: weak_alignment(rows(n, Z), rows("en", Z)) for n in ("de", "sw")}
    assert min(display.after.values()) > max(display.before.values())


def test_retrieval_draws_languages_by_falling_value_with_their_intervals():
    display = RetrievalDisplay(
        {"de": 0.1, "sw": 0.2}, {"de": 0.5, "sw": 0.7}, intervals={"sw": (0.6, 0.8)}
    ).plot()
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["sw", "de"]
    before, after = (c.get_offsets()[:, 0] for c in display.ax_.collections[-2:])
    np.testing.assert_allclose([before, after], [[20, 10], [70, 50]])
    ends = display.ax_.collections[1].get_segments()[0][:, 0]
    np.testing.assert_allclose(ends, [60, 80])


def test_language_pairs_hold_both_directions_and_nothing_within_a_language():
    display = LanguagePairDisplay.from_estimator(CENTRED, X, **PAIRED)
    table = display.before
    assert table["de"]["sw"] == weak_alignment(rows("de"), rows("sw"))
    assert table["sw"]["de"] == weak_alignment(rows("sw"), rows("de"))
    assert [table[n][n] for n in NAMES] == [None] * 3
    one, two = display.ax_[0]
    assert one.images[0].get_clim() == two.images[0].get_clim()


def test_languages_with_few_common_pairs_leave_a_gap():
    ids = PAIR_ID.copy()
    ids[LANGUAGE == "sw"] += N - 4  # 4 ids in common with the others
    table = LanguagePairDisplay.from_spaces(X, X, language=LANGUAGE, pair_id=ids).before
    assert table["de"]["sw"] is None
    assert table["de"]["en"] is not None


def test_tensors_give_the_table_of_arrays():
    ours, theirs = (
        LanguagePairDisplay.from_spaces(Z, Z, **PAIRED).before for Z in (X, torch.from_numpy(X))
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"language": "en"}, r"two languages or more; got \['en'\]"),
        ({"pair_id": np.arange(3 * N)}, "share 5 pair ids: nothing can be retrieved"),
        ({"pair_id": np.zeros(3 * N, dtype=int)}, "Duplicate"),
        ({"pivot": "xx"}, "pivot='xx' is not among the languages"),
    ],
)
def test_what_cannot_be_retrieved_says_why(changed, words):
    with pytest.raises(ValueError, match=words):
        RetrievalDisplay.from_spaces(X, X, **{"pivot": "en", **PAIRED, **changed})


# Hubs


def test_counts_are_those_of_the_neighbours_and_their_mean_is_k():
    display = HubnessDisplay.from_estimator(CENTRED, X, language=LANGUAGE, pivot="en", k=5)
    found = nearest(rows("de"), rows("en"), k=5).ravel()
    np.testing.assert_array_equal(display.before[:N], np.bincount(found, minlength=N))
    assert len(display.before) == 2 * N
    assert display.before.mean() == display.after.mean() == 5


def test_a_planted_hub_is_the_longest_tail_and_centring_shortens_it():
    display = HubnessDisplay.from_estimator(CENTRED, X, language=LANGUAGE, pivot="en", k=5)
    assert display.before.max() > 1.5 * display.after.max()  # shifted rows all ask for a few
    assert (display.before == 0).mean() > (display.after == 0).mean()


def test_the_bars_of_the_histogram_add_up_to_all_rows():
    display = HubnessDisplay(np.array([0, 0, 4, 0]), np.array([1, 1, 1, 1]), k=1).plot()
    for patch in display.ax_.patches:
        outline = patch.get_path().vertices
        heights = [y for (x0, y), (x1, _) in zip(outline, outline[1:], strict=False) if x1 > x0]
        assert sum(h for h in heights if h > 1) == pytest.approx(100)


def test_hubs_need_the_pivot_and_another_language():
    for names, pivot in ((LANGUAGE, "xx"), ("en", "en")):
        with pytest.raises(ValueError, match="must be one of two languages or more"):
            HubnessDisplay.from_spaces(X, X, language=names, pivot=pivot)
    with pytest.raises(ValueError, match="k=99 but Y has 40 rows"):
        HubnessDisplay.from_spaces(X, X, language=LANGUAGE, pivot="en", k=99)


# Pareto


def test_the_front_holds_what_none_beats_in_both():
    display = ParetoDisplay(ROWS)
    assert display.kept == ["head_pivot", "language_id"]
    assert display.front("language_id") == ["identity", "both"]
    assert display.front("head_pivot") == ["both"]


def test_equal_methods_are_both_on_the_front():
    twins = [{"method": m, "values": {"weak": 0.3, "language_id": 0.5}} for m in "ab"]
    assert ParetoDisplay(twins).front("language_id") == ["a", "b"]


def test_dots_are_numbered_named_and_carry_their_intervals():
    with_interval = [{**ROWS[0], "intervals": {"weak": [0.05, 0.2]}}, *ROWS[1:]]
    display = ParetoDisplay(with_interval).plot()
    ax = display.ax_[0, -1]
    texts = [t.get_text() for t in ax.texts]
    assert texts[:3] == ["1", "2", "3"]  # the fourth has no figure
    assert texts[-1].split("\n")[-1] == "4  no figure"
    whisker = ax.collections[0].get_segments()[0][:, 0]
    np.testing.assert_allclose(whisker, [5, 20])


def test_a_difference_of_one_answer_does_not_fill_the_panel():
    close = [
        {"method": m, "values": {"weak": w, "head_pivot": h}}
        for m, w, h in (("identity", 0.1, 0.786), ("a", 0.3, 0.787))
    ]
    low, high = ParetoDisplay(close).plot().ax_.get_ylim()
    assert high - low >= 10 - 1e-9


def test_rows_without_both_measures_are_refused():
    with pytest.raises(ValueError, match="No row has values of 'weak' and of any of"):
        ParetoDisplay([{"method": "a", "values": {"weak": 0.1}}])


# The space


@pytest.mark.slow
def test_tsne_keeps_planted_clusters_apart_and_is_the_same_each_time():
    apart = X + 20 * (LANGUAGE == "sw")[:, None]
    one, two = (
        SpaceDisplay.from_spaces(apart, X, language=LANGUAGE, projection="tsne").before
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)
    middles = [one[np.flatnonzero(n == LANGUAGE)].mean(axis=0) for n in ("de", "sw")]
    spread = one[LANGUAGE == "sw"].std()
    assert np.linalg.norm(middles[0] - middles[1]) > spread


def test_an_unknown_projection_is_refused():
    with pytest.raises(ValueError, match=r"projection='umap' is not known: choose one of \('pca'"):
        SpaceDisplay.from_spaces(X, X, language=LANGUAGE, projection="umap")


def test_without_an_identity_the_dashed_lines_mark_the_first_method():
    for rows, first in ((ROWS, ROWS[0]), (ROWS[1:3], ROWS[1])):
        ax = ParetoDisplay(rows, kept=["language_id"]).plot().ax_
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        places = [dashed[0].get_xdata()[0], dashed[1].get_ydata()[0]]
        assert places == [100 * first["values"][key] for key in ("weak", "language_id")]


def test_a_language_without_a_value_before_is_named():
    with pytest.raises(
        ValueError, match=r"languages \['sw'\] have a value before or after, but not"
    ):
        RetrievalDisplay({"de": 0.4}, {"de": 0.6, "sw": 0.2})


def test_labels_that_cannot_be_drawn_are_called_labels():
    with pytest.raises(ValueError, match="label is missing .* in 40 rows, first in row 80"):
        SpaceDisplay.from_spaces(
            X, X, language=LANGUAGE, label=np.where(LANGUAGE == "sw", None, "a")
        )
