"""The profile of layers: the planted one is found, and chosen on other pairs than reported on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posthoc_align import LanguageCentering, PivotAligner
from posthoc_align.layer_profile import LayerProfile

N, D = 120, 12
LANGUAGES = ("en", "de", "sw")
LANGUAGE, PAIR_ID = np.repeat(LANGUAGES, N), np.tile(np.arange(N), len(LANGUAGES))
KNOWN = {"language": LANGUAGE, "pair_id": PAIR_ID}


def planted(noise, *, shift=0.0, seed=0):
    """One layer for each noise level: the same concepts in three languages, shifted apart."""
    rng = np.random.default_rng(seed)
    concepts = np.tile(rng.normal(size=(N, D)), (len(LANGUAGES), 1))
    shifts = np.repeat(rng.normal(size=(len(LANGUAGES), D)), N, axis=0)
    return [concepts + shift * shifts + level * rng.normal(size=concepts.shape) for level in noise]


VALLEY = planted([3.0, 1.0, 0.2, 1.0, 3.0])  # the middle layer is the implicit encoder


@pytest.fixture(scope="module")
def valley():
    return LayerProfile.of(VALLEY, **KNOWN)


@pytest.mark.filterwarnings("ignore:layer")
def test_the_planted_middle_layer_is_the_best_and_the_last_is_not(valley):
    assert valley.best_layer == 2
    assert valley.table[2]["weak"] > 0.9
    assert valley.table[4]["weak"] < 0.5


def test_forms_of_input_give_one_profile(valley):
    as_dict = LayerProfile.of(dict(zip("abcde", VALLEY, strict=True)), **KNOWN)
    as_array = LayerProfile.of(np.stack(VALLEY), **KNOWN)
    as_tensor = LayerProfile.of(torch.from_numpy(np.stack(VALLEY)), **KNOWN)
    assert as_dict.best_layer == "c"
    for other in (as_array, as_tensor, as_dict):
        for a, b in zip(valley.table.values(), other.table.values(), strict=True):
            assert a == pytest.approx(b, abs=1e-9)


def test_layers_may_lie_on_disk_and_differ_in_width(tmp_path, valley):
    paths = [tmp_path / f"{i}.npy" for i in range(2)]
    for path, X in zip(paths, (VALLEY[0][:, :5], VALLEY[2]), strict=True):
        np.save(path, X.astype(np.float16))
    profile = LayerProfile.of([np.load(path, mmap_mode="r") for path in paths], **KNOWN)
    assert profile.best_layer == 1
    assert profile.table[1]["weak"] == pytest.approx(valley.table[2]["weak"], abs=0.05)


@pytest.mark.filterwarnings("ignore:layer")
def test_the_report_on_the_best_of_many_equal_layers_is_not_flattered_by_the_choice():
    layers = planted([4.0] * 40, seed=1)  # all alike, so that the best is best by luck alone
    profile = LayerProfile.of(
        [X[: 2 * N] for X in layers], language=LANGUAGE[: 2 * N], pair_id=PAIR_ID[: 2 * N]
    )
    chosen_by = np.array([row["dev"] for row in profile.rows])
    reported = np.array([row["before"]["values"]["weak"] for row in profile.rows])
    assert profile.best["dev"] == chosen_by.max()
    # negative control: what the choice saw lies far above the mean of the layers ...
    assert chosen_by.max() > chosen_by.mean() + 1.5 * chosen_by.std()
    # ... what is reported of it need not: it is one draw of the 40 like any other
    assert profile.table[profile.best_layer]["weak"] < reported.mean() + 1.5 * reported.std()


def test_an_aligner_is_fitted_anew_on_each_layer():
    apart = planted([0.5, 0.1], shift=6.0)
    profile = LayerProfile.of(apart, aligner=LanguageCentering(), **KNOWN)
    assert profile.aligned
    for row in profile.rows:
        assert row["after"]["values"]["strong"] > row["before"]["values"]["strong"] + 0.3
    assert profile.table[1]["weak"] == profile.rows[1]["after"]["values"]["weak"]


def test_no_test_row_reaches_a_fit_and_dev_rows_only_the_one_that_is_reported():
    seen = []

    class Spy(LanguageCentering):
        def fit(self, X, y=None, *, language=None):
            seen.append(np.asarray(X)[:, 0])
            return super().fit(X, y, language=language)

    X = VALLEY[2].copy()
    X[:, 0] = np.arange(len(X))  # each row's number
    split = np.select([PAIR_ID < 30, PAIR_ID < 60], ["test", "dev"], "train")
    LayerProfile.of([X], aligner=Spy(), split=split, **KNOWN)
    chosen_on, reported_on = (set(rows.astype(int)) for rows in seen)
    assert chosen_on == set(np.flatnonzero(split == "train"))
    assert reported_on == set(np.flatnonzero(split != "test"))


def test_without_dev_rows_a_quarter_of_the_anchors_pairs_chooses():
    split = np.where(PAIR_ID < 20, "test", "train")
    settings = LayerProfile.of([VALLEY[2]], split=split, **KNOWN).settings
    assert settings["dev rows"] == (N - 20) // 4 * len(LANGUAGES)
    assert settings["test rows"] == 20 * len(LANGUAGES)


def test_labels_add_the_task(valley):
    label = np.tile(np.arange(N) % 2, len(LANGUAGES))
    profile = LayerProfile.of([VALLEY[2]], label=label, **KNOWN)
    assert "head_others" in profile.table[0]
    assert "head_others" not in valley.table[2]


def test_of_equal_layers_the_first_is_taken():
    assert LayerProfile.of([VALLEY[2], VALLEY[2]], **KNOWN).best_layer == 0


def test_the_text_marks_the_best_layer_and_says_how_it_was_chosen(valley):
    lines = str(valley).splitlines()
    assert [line.split()[0] for line in lines[2:7]] == ["0", "1", "2*", "3", "4"]
    assert "chosen by weak alignment on the dev pairs" in lines[-1]
    assert "not aligned" in lines[-1]
    assert "PivotAligner" in str(LayerProfile.of(VALLEY[2:3], aligner=PivotAligner(), **KNOWN))


def test_the_picture_marks_the_best_layer(valley):
    pytest.importorskip("matplotlib")
    display = valley.plot()
    titles = [ax.get_title("left") for ax in display.ax_.ravel()]
    assert titles[0] == "weak alignment"
    weak = display.ax_[0, 0].lines[0].get_ydata()
    np.testing.assert_allclose(weak, [100 * v["weak"] for v in valley.table.values()])
    assert display.ax_[0, 0].lines[-1].get_xdata()[0] == 2


def test_long_names_of_layers_leave_room_for_the_panels():
    pytest.importorskip("matplotlib")
    names = [f"a/very/long/path/to/a/folder/of/embeddings/layer_{i:02}" for i in range(2)]
    display = LayerProfile.of(dict(zip(names, VALLEY[1:3], strict=True)), **KNOWN).plot()
    display.figure_.draw_without_rendering()  # warns where the panels have no room
    assert [t.get_text() for t in display.ax_[0, 0].get_xticklabels()] == [
        "…/layer_00",
        "…/layer_01",
    ]


@pytest.mark.parametrize(
    ("layers", "changed", "words"),
    [
        ([], {}, "layers is empty"),
        (VALLEY[0], {}, r"layers has shape \(360, 12\): expected \(n_layers, n_samples"),
        ([VALLEY[0], VALLEY[0][:-1]], {}, "Layer 1 has 359 rows and layer 0 has 360"),
        ([VALLEY[0]], {"language": None}, "pass language="),
        ([VALLEY[0]], {"split": ["test"]}, r"split has shape \(1,\) but there are 360 rows"),
        ([VALLEY[0]], {"split": np.full(360, "train")}, "There are no test rows"),
        (
            [VALLEY[0]],
            {"split": np.where(np.arange(360) < 50, "dev", "test")},
            "50 pair ids have dev rows and others, first 0",
        ),
        ([VALLEY[0], VALLEY[0] * np.nan], {}, "Layer 1 cannot be measured: .*NaN"),
        ([VALLEY[0]], {"pivot": "xx"}, "pivot='xx' is not among the languages"),
    ],
)
def test_what_cannot_be_profiled_says_why(layers, changed, words):
    with pytest.raises(ValueError, match=words):
        LayerProfile.of(layers, **{**KNOWN, **changed})
