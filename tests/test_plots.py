"""Pictures: what they draw can be read back from the figure; no screen, no global state."""

import io
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="pictures need Matplotlib")

from posthoc_align.datasets import load_parallel_topics
from posthoc_align.plots import plot_heatmap, plot_ladder, plot_space

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
LANGUAGE = np.array(["de", "en", "fr"] * 20)
HEAT = {"identity": {"de": 0.25, "sw": None}, "LSAR": {"de": 0.5, "fr": -0.0001}}


def draw(figure):
    """Bytes of the picture; raises what a user would meet when saving."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=60)
    return stream.getvalue()


def dots(ax):
    """All dots of a panel, shape (n, 2), in no certain order."""
    return np.concatenate([c.get_offsets() for c in ax.collections])


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def styles(ax):
    """Colour and shape by legend entry."""
    return {
        handle.get_label(): (handle.get_color(), handle.get_marker())
        for handle in ax.get_legend().legend_handles
    }


# The space


def test_two_panels_hold_every_row_of_a_small_space():
    figure = plot_space(X, -X, LANGUAGE, title_after="after LSAR")
    assert [ax.get_title("left") for ax in figure.axes] == ["before", "after LSAR"]
    for ax in figure.axes:
        assert dots(ax).shape == (60, 2)
    assert draw(figure).startswith(b"\x89PNG")


def test_a_planted_plane_comes_back_up_to_sign():
    plane = np.zeros((60, 8))
    plane[:, :2] = RNG.normal(size=(60, 2)) * [5, 1]
    turned = plane @ np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    centred = plane[:, :2] - plane[:, :2].mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = np.sort(np.abs(centred @ axes.T), axis=0)
    ax = plot_space(turned, turned, LANGUAGE).axes[0]
    np.testing.assert_allclose(np.sort(np.abs(dots(ax)), axis=0), expected, atol=1e-9)
    share = float(ax.get_xlabel().split()[2])
    np.testing.assert_allclose(
        share, 100 * centred.T[0].var() / centred.var(axis=0).sum(), atol=3
    )  # the label is rounded, and the planted axes are principal only in expectation


def test_every_language_gets_the_same_share_of_dots():
    many = RNG.normal(size=(3000, 4))
    language = np.where(np.arange(3000) < 300, "sw", "en")
    ax = plot_space(many, many, language).axes[0]
    assert len(dots(ax)) == 400


def test_the_same_input_gives_the_same_picture():
    assert draw(plot_space(X, -X, LANGUAGE)) == draw(plot_space(X, -X, LANGUAGE))


def test_pivot_is_black_and_first_in_the_legend():
    ax = plot_space(X, X, LANGUAGE, pivot="fr").axes[1]
    assert legend_texts(ax) == ["fr", "de", "en"]
    assert styles(ax)["fr"][0] == "black"
    black = (ax.collections[0].get_facecolors()[:, :3] == 0).all(axis=1)
    assert black.sum() == 20


@pytest.mark.parametrize("n", [2, 12, 50])
def test_each_language_has_its_own_colour_and_shape(n):
    space = RNG.normal(size=(4 * n, 3))
    ax = plot_space(space, space, np.arange(4 * n) % n, pivot=0).axes[1]
    own = styles(ax)
    assert len(own) == n
    assert len(set(own.values())) == n


def test_languages_beyond_what_can_be_told_apart_are_counted():
    space = RNG.normal(size=(240, 3))
    ax = plot_space(space, space, np.arange(240) % 60).axes[1]
    texts = legend_texts(ax)
    assert len(texts) == 57
    assert texts[-1] == "4 others"
    assert len(dots(ax)) == 240


def test_clusters_are_named_where_they_are_apart_only():
    corpus = load_parallel_topics(languages=["en", "zh", "fr"])
    before = corpus.embeddings.astype(np.float32)
    after = before.copy()
    for code in corpus.languages:
        after[corpus.language == code] -= after[corpus.language == code].mean(axis=0)
    first, second = plot_space(before, after, corpus.language).axes
    assert {text.get_text() for text in first.texts} == {"en", "zh", "fr"}
    assert not second.texts


def test_labels_add_a_row_of_panels():
    figure = plot_space(X, X, LANGUAGE, label=np.arange(60) % 4)
    assert len(figure.axes) == 4
    assert legend_texts(figure.axes[3]) == ["0", "1", "2", "3"]
    np.testing.assert_allclose(
        np.sort(dots(figure.axes[1]), axis=0), np.sort(dots(figure.axes[3]), axis=0)
    )


def test_links_join_pivot_rows_to_their_translations():
    ids = np.repeat(np.arange(20), 3)
    ids[LANGUAGE == "fr"] = -1
    first, _ = plot_space(X, X, LANGUAGE, pivot="en", pair_id=ids, n_links=4).axes
    assert len(first.lines) == 4  # to German; French rows are unpaired
    ends = {tuple(np.round(end, 9)) for line in first.lines for end in line.get_xydata()}
    assert ends <= {tuple(np.round(dot, 9)) for dot in dots(first)}


def test_tensors_draw_as_arrays_do():
    tensor = torch.from_numpy(X).bfloat16()
    same = tensor.double().numpy()
    ours, theirs = (plot_space(Z, Z, LANGUAGE).axes[0] for Z in (tensor, same))
    np.testing.assert_allclose(dots(ours), dots(theirs), atol=1e-9)


def test_a_space_of_one_point_is_drawn():
    draw(plot_space(np.ones((6, 3)), np.ones((6, 3)), "en", pivot="en"))


def test_given_axes_are_drawn_on():
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plot_space(X, X, LANGUAGE, axes=axes) is figure
    assert len(dots(axes[0])) == 60


def test_pyplot_is_never_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    plot_space(X, X, LANGUAGE)
    plot_heatmap(HEAT)
    draw(plot_ladder(HEAT))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((X, X[:59], LANGUAGE), "X_before has 60 rows and X_after 59: pass the same rows"),
        ((X, X[:, :1], LANGUAGE), r"shapes \[\(60, 8\), \(60, 1\)\].* at least 3 rows and 2 col"),
        ((X[:2], X[:2], "en"), "at least 3 rows"),
        ((X, X, None), "needs the language of each row"),
        ((X, X, LANGUAGE[:5]), r"language has shape \(5,\) but X has 60 rows"),
        ((X, X * np.nan, LANGUAGE), "NaN or infinity"),
        ((X[0], X, LANGUAGE), "Expected 2D array"),
    ],
)
def test_spaces_that_cannot_be_drawn_say_why(arguments, words):
    with pytest.raises(ValueError, match=words):
        plot_space(*arguments)


def test_an_unknown_pivot_and_a_wrong_number_of_axes_say_so():
    with pytest.raises(ValueError, match=r"pivot='xx' is not among the languages \['de'"):
        plot_space(X, X, LANGUAGE, pivot="xx")
    with pytest.raises(ValueError, match="pair_id came without pivot"):
        plot_space(X, X, LANGUAGE, pair_id=np.arange(60))
    with pytest.raises(ValueError, match="axes has 1 entries; this picture has 2 panels"):
        plot_space(X, X, LANGUAGE, axes=[None])


# Heat map and ladder


def cells(ax):
    return [text.get_text() for text in ax.texts]


def test_heat_map_writes_each_value_in_percent():
    ax = plot_heatmap(HEAT, title="weak").axes[0]
    assert cells(ax) == ["25.0", "–", "–", "50.0", "–", "0.0"]  # noqa: RUF001
    assert [t.get_text() for t in ax.get_xticklabels()] == ["de", "sw", "fr"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["identity", "LSAR"]
    assert ax.get_title("left") == "weak"


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_cell_of_a_heat_map_is_the_darkest(higher):
    image = plot_heatmap({"m": {"a": 0.1, "b": 0.5}}, higher_is_better=higher).axes[0].images[0]
    brightness = image.cmap(image.norm(image.get_array()))[0, :, :3].sum(axis=1)
    assert (brightness[1] < brightness[0]) is np.bool_(higher)


def test_cells_are_written_up_to_20_languages_and_a_scale_is_drawn_beyond():
    few, many = (plot_heatmap({"m": {f"l{i}": i / n for i in range(n)}}).axes for n in (20, 50))
    assert len(cells(few[0])) == 20
    assert len(few) == 1
    assert not cells(many[0])
    assert many[1].get_ylabel() == "percent"


def test_equal_values_draw_without_a_warning():
    draw(plot_heatmap({"m": {"a": 0.5, "b": 0.5}}))
    draw(plot_ladder({"m": {"a": 0.0}}))


def test_ladder_has_a_panel_a_measure_and_marks_the_best():
    table = {
        "identity": {"weak": 0.1, "lang": 0.9, "gap": -0.2},
        "ridge": {"weak": 0.4, "lang": 0.2, "gap": None},
    }
    figure = plot_ladder(table, titles={"weak": "Weak"}, lower_is_better=["lang"], title="all")
    weak, lang, gap = figure.axes
    assert weak.get_title("left") == "Weak"
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "higher is better",
        "lower is better",
        "higher is better",
    ]
    assert cells(weak) == ["10.0", "40.0"]
    assert cells(gap) == ["−20.0", "–"]  # noqa: RUF001
    for ax, best in ((weak, [False, True]), (lang, [False, True]), (gap, [True])):
        colours = [bar.get_facecolor()[:3] for bar in ax.patches]
        assert [colour[2] - colour[0] > 0.5 for colour in colours] == best  # blue
    draw(figure)


def test_more_measures_than_fit_wrap_and_leave_no_empty_panel_visible():
    figure = plot_ladder({"m": {f"measure {i}": 0.5 for i in range(6)}})
    assert sum(ax.get_visible() for ax in figure.axes) == 6


@pytest.mark.parametrize("draw_table", [plot_heatmap, plot_ladder])
@pytest.mark.parametrize("table", [{}, {"m": {}}, {"m": {"de": None}}])
def test_a_table_without_values_is_refused(draw_table, table):
    with pytest.raises(ValueError, match="and no value: expected table"):
        draw_table(table)


def test_a_name_with_dollars_is_no_formula():
    name = r"$\frac$"
    draw(plot_heatmap({name: {name: 0.1}}, title=name))
    draw(plot_ladder({name: {name: 0.1}}, title=name))
    draw(plot_space(X, X, np.where(X[:, 0] > 0, name, "en"), title_after=name))


@pytest.mark.parametrize(
    "call",
    [lambda: plot_space(X, X, LANGUAGE), lambda: plot_heatmap(HEAT), lambda: plot_ladder(HEAT)],
)
def test_without_matplotlib_the_error_names_what_to_install(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "posthoc-align\[plots\]"'):
        call()
