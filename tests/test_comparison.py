"""The main job: fit on anchors, measure on held-out rows, put the methods side by side."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from posthoc_align import LSAR, LanguageCentering, LinearMap, PivotAligner, compare, comparison
from posthoc_align.comparison import default_aligners
from posthoc_align.metrics import bootstrap, translation_ranks
from posthoc_align.report import render_html

D, N = 8, 60
LANGUAGES = ("en", "de", "fi")


def planted(seed=0, noise=0.05, shuffled=False):
    """Three languages: rotations and shifts of the same concepts, with a topic in the concept."""
    rng = np.random.default_rng(seed)
    concepts = rng.normal(size=(N, D))
    topic = (concepts[:, 0] > 0).astype(int)
    rows = []
    for i, _ in enumerate(LANGUAGES):
        rotation = np.eye(D) if i == 0 else np.linalg.qr(rng.normal(size=(D, D)))[0]
        own = concepts[rng.permutation(N)] if shuffled and i else concepts
        rows.append(own @ rotation + 3 * rng.normal(size=D) + noise * rng.normal(size=(N, D)))
    return {
        "X": np.vstack(rows),
        "language": np.repeat(LANGUAGES, N),
        "pair_id": np.tile(np.arange(N), len(LANGUAGES)),
        "label": np.tile(topic, len(LANGUAGES)),
    }


FEW = {"centring": LanguageCentering(), "Procrustes": PivotAligner(recipe="center")}


def run(aligners=FEW, **changed):
    data = {**planted(), **changed}
    return compare(data.pop("X"), aligners=aligners, **data)


def values(comparison, method):
    return next(row["values"] for row in comparison.rows if row["method"] == method)


def test_the_planted_rotation_is_found_and_the_identity_does_not_find_it():
    found = run()
    assert values(found, "Procrustes")["weak"] > 0.95
    assert values(found, "identity")["weak"] < 0.5
    assert values(found, "Procrustes")["head_others"] > values(found, "identity")["head_others"]
    assert found.best == "Procrustes"


def test_the_identity_is_measured_although_nobody_named_it():
    assert [row["method"] for row in run().rows] == ["identity", "centring", "Procrustes"]


def test_without_labels_there_is_no_head():
    found = run(label=None)
    assert "head_others" not in {measure.key for measure in found.measures}
    assert "chance of the head" not in found.settings


def test_macro_is_the_mean_and_worst_the_least_over_the_other_languages():
    row = run().rows[-1]
    for key, per_language in row["per_language"].items():
        assert set(per_language) == {"de", "fi"}
        assert row["values"][key] == pytest.approx(np.mean(list(per_language.values())))
        assert row["worst"][key][1] == min(per_language.values())


@pytest.mark.filterwarnings("ignore:Held-out retrieval")  # centring cannot undo a rotation
def test_held_out_rows_never_reach_a_fit():
    data = planted()
    split = np.where(data["pair_id"] % 4 == 0, "test", "train")
    seen = []

    class Spy(LanguageCentering):
        def fit(self, X, y=None, *, language=None):
            seen.append(X)
            return super().fit(X, y, language=language)

    run({"spy": Spy()}, split=split)
    assert len(seen) == 1
    assert np.array_equal(seen[0], data["X"][split == "train"])


def test_the_same_seed_gives_the_same_figures_and_another_seed_another_split():
    first, again, other = run(), run(), run(random_state=1)
    assert values(first, "centring") == values(again, "centring")
    assert values(first, "identity") != values(other, "identity")


def test_tensors_give_the_figures_of_arrays():
    torch = pytest.importorskip("torch")
    data = planted()
    tensor = values(run(X=torch.from_numpy(data["X"])), "Procrustes")
    assert tensor == pytest.approx(values(run(), "Procrustes"), abs=1e-9)


def test_retrieval_at_chance_asks_whether_the_rows_correspond():
    data = planted(shuffled=True)
    with pytest.warns(
        UserWarning, match=r"at chance .*\['de', 'fi'\].*really translate each other"
    ):
        found = compare(
            data["X"],
            language=data["language"],
            pair_id=data["pair_id"],
            aligners={"Procrustes": PivotAligner()},
        )
    assert any("at chance" in note for note in found.warnings)


@pytest.mark.filterwarnings("ignore:broken failed")
def test_one_method_that_fails_is_named_and_the_others_are_kept():
    found = run({**FEW, "broken": LSAR(rank=7)})
    assert [row["method"] for row in found.rows] == ["identity", "centring", "Procrustes"]
    assert any("broken failed and was left out: rank=7" in note for note in found.warnings)


class Collapse(LanguageCentering):
    """Puts almost all of a row into one direction: ruins what worked before."""

    def transform(self, X, *, language=None):
        return 0.01 * np.random.default_rng(0).normal(size=X.shape) + np.arange(1.0, D + 1)


def near():
    """Languages that share a space: retrieval and the head work as they are."""
    data = planted()
    rng = np.random.default_rng(1)
    data["X"] = np.tile(data["X"][:N] - data["X"][:N].mean(axis=0), (3, 1))
    data["X"] += 0.1 * rng.normal(size=data["X"].shape)
    return data


@pytest.mark.filterwarnings("ignore:Held-out retrieval")  # which is at chance, too
def test_an_alignment_that_makes_it_worse_is_called_so():
    with pytest.warns(UserWarning, match="collapse") as heard:
        found = compare(**near(), aligners={"collapse": Collapse()}, test_size=0.5)
    said = [str(w.message) for w in heard]
    assert (
        "collapse: weak alignment is significantly worse than without it in 2 of 2 languages: "
        "['de', 'fi']." in said
    )
    assert any(line.startswith("collapse: the head is significantly worse") for line in said)
    for change in found.rows[1]["per_language_differences"]["weak"].values():
        assert change["value"] < 0
        assert change["p"] < 0.05


def test_a_loss_that_may_be_chance_is_not_called_one():
    rng = np.random.default_rng(2)

    class Jitter(LanguageCentering):
        def transform(self, X, *, language=None):
            return X + 0.05 * rng.normal(size=X.shape)

    found = compare(**near(), aligners={"jitter": Jitter()})
    assert found.warnings == []
    assert found.rows[1]["differences"]["weak"]["p"] > 0.05
    assert "n.s." in next(
        line for line in str(found).split("\n\n")[1].splitlines() if "jit" in line
    )


class TestIntervals:
    def test_they_are_those_of_outcomes_resampled_by_pair_id(self):
        data = planted(noise=0.6)
        split = np.where(data["pair_id"] % 2 == 0, "test", "train")
        found = run(**data, split=split)
        test, X = split == "test", data["X"]
        english = X[test & (data["language"] == "en")]
        hits = {
            name: translation_ranks(X[test & (data["language"] == name)], english) == 1
            for name in ("de", "fi")
        }
        peer = bootstrap(
            np.concatenate(list(hits.values())),
            groups=np.tile(np.flatnonzero(split[:N] == "test"), 2),
            strata=np.repeat(["de", "fi"], N // 2),
        )
        row = found.rows[0]
        assert row["values"]["weak"] == pytest.approx(peer.value)
        assert row["intervals"]["weak"] == pytest.approx([peer.low, peer.high])
        german = bootstrap(hits["de"])
        assert row["per_language"]["weak"]["de"] == pytest.approx(german.value)
        low, high = row["per_language_intervals"]["weak"]["de"]
        # The same rows, drawn together with those of Finnish or alone: equal in law.
        assert (low, high) == pytest.approx((german.low, german.high), abs=0.05)

    def test_the_difference_is_of_the_same_pairs(self):
        found = run(**planted(noise=0.6))
        before, after = found.rows[0], found.rows[-1]
        for key, change in after["differences"].items():
            assert change["value"] == pytest.approx(after["values"][key] - before["values"][key])
            assert change["low"] <= change["value"] <= change["high"]
            assert 0 < change["p"] <= 1
        assert after["differences"]["weak"]["p"] < 0.01
        assert after["differences"]["weak"]["low"] > 0
        assert before["differences"] == {}

    def test_every_average_over_rows_has_one(self):
        row = run().rows[-1]
        averages = {"weak", "weak_reverse", "strong", "csls", "mrr"}
        averages |= {"head_pivot", "head_others", "transfer_gap"}
        assert set(row["intervals"]) == set(row["differences"]) == averages
        for key, (low, high) in row["intervals"].items():
            assert low <= row["values"][key] <= high
        assert set(row["per_language_intervals"]) == averages - {"head_pivot", "transfer_gap"}

    def test_the_settings_say_how(self):
        assert run().settings["confidence"] == "95 %, 1000 resamples of pair ids, seed 0"
        assert run(random_state=3).settings["confidence"].endswith("seed 3")

    def test_the_table_shows_them_below(self):
        table, below = str(run()).split("\n\n")
        assert "[" not in table
        head, identity, _, procrustes, caption = below.splitlines()
        assert head.count("against identity") == 2
        assert identity.count("[") == 2
        assert procrustes.count("[") == 4
        assert "1000 resamples of pair ids" in caption

    def test_rows_that_are_unpaired_take_part_in_the_head_alone(self):
        data = planted()
        split = np.where(data["pair_id"] % 2 == 0, "test", "train")
        data["pair_id"] = np.where(data["pair_id"] % 10 == 0, -1, data["pair_id"])
        row = run(**data, split=split).rows[0]
        assert row["per_language_intervals"]["weak"].keys() == {"de", "fi"}
        assert row["intervals"]["head_others"][0] < row["intervals"]["head_others"][1]


def test_the_pictures_rows_come_with_all_that_is_known_of_them():
    data = planted()
    space = run().space
    n = len(space["before"])
    assert space["after"].shape[0] == n == np.sum(run(label=None).settings["held-out rows"])
    assert len(space["language"]) == len(space["pair_id"]) == len(space["label"]) == n
    assert np.array_equal(space["label"], data["label"][:N][space["pair_id"]])
    assert run(label=None).space["label"] is None


def test_the_identity_keeps_its_place_in_the_table():
    found = run({"centring": LanguageCentering(), "identity": "passthrough"}, **near())
    assert [row["method"] for row in found.rows] == ["centring", "identity"]
    assert found.rows[0]["differences"]


def test_every_file_holds_the_same_figures(tmp_path):
    found = run()
    found.to_json(tmp_path / "c.json")
    found.to_csv(tmp_path / "c.csv")
    kept = json.loads((tmp_path / "c.json").read_text())
    with open(tmp_path / "c.csv", newline="") as file:
        lines = {(line["method"], line["language"]): line for line in csv.DictReader(file)}
    for row in found.rows:
        same = next(r for r in kept["rows"] if r["method"] == row["method"])
        assert same["values"]["weak"] == row["values"]["weak"]
        macro = lines[row["method"], "macro"]
        assert float(macro["weak"]) == pytest.approx(row["values"]["weak"], abs=1e-6)
        german = lines[row["method"], "de"]
        assert float(german["weak"]) == pytest.approx(row["per_language"]["weak"]["de"], abs=1e-6)
        ends = [float(macro["weak_low"]), float(macro["weak_high"])]
        assert ends == pytest.approx(row["intervals"]["weak"], abs=1e-6)
        assert same["intervals"]["weak"] == row["intervals"]["weak"]
        assert (macro["weak_p"] == "") == (row["method"] == "identity")
        assert float(german["head_others_high"]) == pytest.approx(
            row["per_language_intervals"]["head_others"]["de"][1], abs=1e-6
        )
        assert "gap_low" not in macro
    assert kept["settings"]["random_state"] == 0
    assert "PivotAligner" in kept["settings"]["methods"]["Procrustes"]


@pytest.mark.slow
def test_the_page_is_self_contained(tmp_path):
    pytest.importorskip("matplotlib")
    run().to_html(tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "Procrustes" in page
    assert "data:image/" in page
    for outside in ('src="http', 'href="http', "url(http", "<script"):
        assert outside not in page


def test_the_table_stars_the_best_and_names_the_worst_language():
    lines = str(run()).split("\n\n")[0].splitlines()
    procrustes = next(line for line in lines if line.startswith("Procrustes"))
    assert "*" in procrustes
    assert " de " in procrustes or " fi " in procrustes
    assert "chance" in lines[-1]


def test_of_probes_below_chance_none_is_better_than_another():
    """In the table and on the page alike; above chance the lowest is the best."""
    found = run()
    chance = found.settings["chance of language id"]
    for values, best in (((0.9, chance, chance - 0.02), 2), ((0.9, chance + 0.1, chance + 0.2), 1)):
        for row, value in zip(found.rows, values, strict=True):
            row["values"]["language_id"] = value
        lines = str(found).splitlines()
        column = next(i for i, m in enumerate(found.measures) if m.key == "language_id")
        starred = [line.split()[1 + column].endswith("*") for line in lines[2:5]]
        assert starred == [False, True, best == 2]
        texts = render_html(found.to_dict()).split("<tbody>")[1].split("</tbody>")[0]
        assert texts.count(f'class="best">{100 * values[1]:.1f}') == 1
        assert texts.count(f'class="best">{100 * values[2]:.1f}') == (best == 2)


def test_the_methods_run_by_default_are_the_ladder():
    assert list(default_aligners("en")) == [
        "identity",
        "centring",
        "LSAR",
        "transport",
        "Procrustes",
        "ridge to identity",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"language": None}, "needs the language of each row"),
        ({"pivot": "xx"}, r"pivot='xx' is not among the languages \['de', 'en', 'fi'\]"),
        ({"language": "en"}, r"at least 2 languages; got only \['en'\]"),
        ({"label": [1, 2]}, "label has shape .* but X has 180 rows"),
        ({"split": ["test"]}, "split has shape .* but X has 180 rows"),
        ({"split": np.repeat(["test", "train"], 90)}, "rows on both sides of the split"),
        ({"split": np.full(180, "train")}, "60 anchor rows and 0 held-out rows"),
        ({"test_size": 1.5}, "test_size=1.5 must lie between 0 and 1"),
        ({"pair_id": np.full(180, -1)}, "No row has a pair id: pair_id is -1 or None everywhere"),
        (
            {"pair_id": np.where(np.arange(180) < 60, -1, np.tile(np.arange(60), 3))},
            "Language 'de' has 60 anchor rows and 0 held-out rows",
        ),
        (
            {"label": np.where(np.arange(180) < 60, "a", None)},
            r"label is missing \(None or NaN\) in 120 rows, first in row 60",
        ),
        ({"label": np.linspace(0, 1, 180)}, r"label holds \['float'\]: labels must be all str or"),
        (
            {
                "pair_id": np.where(np.arange(180) // 60 == 1, -1, np.tile(np.arange(60), 3)),
                "split": np.tile(["test", "train"], 90),
            },
            "Language 'de' has 0 held-out pairs with pivot 'en'; at least 2 are needed",
        ),
        ({"pair_id": np.zeros(180, int)}, "Duplicate .language, pair_id."),
    ],
)
def test_wrong_input_says_what_came_and_what_to_do(changed, message, monkeypatch):
    def never(*_):
        raise AssertionError("fitted before the input was checked")

    monkeypatch.setattr(comparison, "_measure", never)
    with pytest.raises(ValueError, match=message):
        run(**changed)


def test_rows_with_nan_are_named_before_anything_is_fitted():
    X = planted()["X"]
    X[17, 3] = np.nan
    with pytest.raises(ValueError, match="X contains NaN, first in row 17"):
        run(X=X)


def test_when_every_method_fails_the_reasons_are_all_there():
    with pytest.raises(ValueError, match="Every method failed.*rank=7.*rank=9"):
        run({"a": LSAR(rank=7), "b": PivotAligner(LinearMap(), recipe="rank=9")})
