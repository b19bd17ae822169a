"""The HTML page: what it says, that it stands alone, and that nothing planted in it runs."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="the page needs Jinja2")
pytest.importorskip("matplotlib", reason="the pictures need Matplotlib")

from posthoc_align import LanguageCentering
from posthoc_align.report import Report, reading, render_html, verdict

GAP = "\N{EN DASH}"
VOID = {"meta", "img", "br", "link"}
NASTY = '<script>alert("x")</script>&\'"'
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


class Page(HTMLParser):
    """Tags, attributes and texts of a page; complains of tags that do not close."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.links, self.texts, self.cells = [], [], [], [], []
        self.feed(page)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "action", "data")]
        assert not [k for k, _ in attributes if k.startswith("on")]
        if tag == "td":
            self.cells.append((dict(attributes).get("class", ""), []))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open[-1:] == ["td"] and data.strip():
            self.cells[-1][1].append(data.strip())

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def result(**changes):
    whole = {
        "measures": [
            {"key": "weak", "title": "weak", "explain": "nearest row", "higher_is_better": True},
            {"key": "id", "title": "lang-id", "explain": "a probe", "higher_is_better": False},
        ],
        "rows": [
            {
                "method": "identity",
                "values": {"weak": 0.162, "id": 0.99},
                "per_language": {"weak": {"de": 0.3, "ar": 0.024}},
                "worst": {"weak": ("ar", 0.024)},
                "seconds": 0.25,
            },
            {
                "method": "ridge",
                "values": {"weak": 0.379, "id": 0.14},
                "per_language": {"weak": {"de": 0.6, "ar": 0.158}},
                "seconds": 2,
            },
            {"method": "odd", "values": {"weak": 0.1, "id": None}, "seconds": None},
        ],
        "settings": {
            "command": "posthoc-align compare emb/*.npy",
            "seed": 0,
            "versions": {"numpy": "2.4"},
        },
        "warnings": ["odd: weaker than before"],
        "pivot": "en",
        "languages": ["en", "de", "ar"],
    }
    return whole | changes


def first_table(page):
    return Page(page.split("<table")[1].join(["<table", ""]).split("</table>")[0] + "</table>")


# What it says


def test_cells_say_percent_and_the_best_of_each_column_is_marked():
    cells = first_table(render_html(result())).cells
    assert [c[1][0] for c in cells] == [
        "16.2",
        "99.0",
        "0.25",
        "37.9",
        "14.0",
        "2",
        "10.0",
        GAP,
        GAP,
    ]
    assert [i for i, c in enumerate(cells) if c[0] == "best"] == [3, 4]


def test_values_that_read_alike_are_marked_alike():
    rows = [
        {"method": m, "values": {"weak": v}} for m, v in (("a", 0.50001), ("b", 0.5), ("c", 0.4))
    ]
    cells = first_table(render_html(result(rows=rows, measures=result()["measures"][:1]))).cells
    assert [c[0] for c in cells] == ["best", "best", ""]


def test_change_is_signed_and_coloured_by_what_is_better():
    page = render_html(result())
    for mark in (
        '<small class="better">+21.7</small>',
        '<small class="better">−85.0</small>',  # noqa: RUF001
        '<small class="worse">−6.2</small>',  # noqa: RUF001
    ):
        assert mark in page


def test_the_page_names_the_worst_language_warnings_settings_and_pivot():
    text = Page(render_html(result())).text
    for part in (
        "ar 15.8",
        "1 warning",
        "odd: weaker than before",
        "posthoc-align compare emb/*.npy",
        "3 languages, pivot en : en de ar",
        "lower is better",
        "nearest row",
    ):
        assert part in text, part
    assert re.search(r"seed\s+0", text)
    assert re.search(r"versions\s+numpy\s+2\.4", text)


def test_heat_map_shades_from_worst_to_best_of_a_measure():
    page = render_html(result())
    shades = dict(re.findall(r'--s:([\d.]+)">([\d.]+)<', page))
    assert shades["0.0"] == "2.4"
    assert shades["1.0"] == "60.0"
    assert page.count('<table class="heat">') == 1


def test_where_lower_is_better_the_lowest_is_shaded_most():
    rows = [{"method": "m", "values": {"id": 0.3}, "per_language": {"id": {"de": 0.1, "ar": 0.5}}}]
    page = render_html(result(rows=rows, measures=result()["measures"][1:]))
    assert '--s:1.0">10.0' in page
    assert '--s:0.0">50.0' in page


def test_a_result_of_the_least_parts_renders():
    page = Page(
        render_html(
            {
                "measures": [{"key": "weak", "title": "weak"}],
                "rows": [{"method": "identity", "values": {"weak": float("nan")}}],
            }
        )
    )
    assert "No method has a value for “weak”." in page.text


@pytest.mark.parametrize("language", ["en", 3])
def test_languages_may_be_text_or_numbers(language):
    Page(render_html(result(pivot=language, languages=[language, language])))


def test_reading_states_gain_worst_language_and_who_did_harm():
    assert reading(result()) == (
        "ridge is best on “weak”: 37.9 %, against 16.2 % for identity (+21.7 points). "
        "Its worst language is ar, 15.8 %. Worse than identity: odd."
    )


def test_reading_says_when_nothing_helped():
    rows = result()["rows"]
    assert reading(result(rows=[rows[0], rows[2]])) == (
        "No method beats identity on “weak”, which reaches 16.2 %."
    )
    assert reading(result(rows=rows[:1])) == "identity reaches 16.2 % on “weak”."


def test_reading_of_a_measure_to_lower_praises_the_lowest():
    text = reading(result(measures=result()["measures"][1:]))
    assert text == "ridge is best on “lang-id”: 14.0 %, against 99.0 % for identity (−85.0 points)."  # noqa: RUF001


def test_without_an_identity_the_first_method_is_the_one_to_beat():
    assert "against 37.9 % for ridge" in reading(
        result(rows=[result()["rows"][1], {"method": "new", "values": {"weak": 0.5}}])
    )


def sure_result(p):
    """The result with an interval and a difference of one p-value at each measure of ridge."""
    whole = result()
    whole["rows"][1] |= {
        "intervals": {"weak": [0.361, 0.398]},
        "differences": {
            "weak": {"value": 0.217, "low": 0.2, "high": 0.235, "p": p},
            "id": {"value": -0.85, "low": -0.9, "high": -0.8, "p": p},
        },
    }
    return whole


def test_intervals_and_how_sure_a_change_is_stand_in_the_table_and_the_reading():
    page = render_html(sure_result(0.0002))
    assert f"<small>36.1{GAP}39.8</small>" in page
    assert '<small class="better" title="95 % interval +20.0 to +23.5, p &lt; 0.001">+21.7' in page
    assert "37.9 % (36.1 to 39.8), against 16.2 % for identity (+21.7 points, p &lt; 0.001)" in page
    text = Page(page).text
    assert "Small, with a dash: 95 % interval." in text
    assert "grey where p ≥ 0.05" in text


def test_a_change_that_may_be_chance_is_not_coloured_and_called_so():
    page = render_html(sure_result(0.3))
    assert 'class="same" title="95 % interval +20.0 to +23.5, p = 0.300">+21.7' in page
    assert "(+21.7 points, p = 0.300: no sure difference)" in Page(page).text


def test_a_method_is_best_only_if_one_is_surely_better():
    opens = (
        "No method is surely better than identity on “weak”. The highest figure is that of ridge"
    )
    assert reading(sure_result(0.3)).startswith(opens)
    assert reading(sure_result(0.01)).startswith("ridge is best on “weak”")
    assert reading(result()).startswith("ridge is best on “weak”")  # nothing is known of how sure
    other = sure_result(0.3)
    other["rows"][2] |= {
        "values": {"weak": 0.3, "id": None},
        "differences": {"weak": {"value": 0.138, "low": 0.1, "high": 0.2, "p": 0.01}},
    }
    assert reading(other).startswith("ridge is best on “weak”")


def test_a_loss_that_may_be_chance_is_no_harm():
    for p, harmed in ((0.4, False), (0.01, True)):
        whole = result()
        whole["rows"][2]["differences"] = {"weak": {"value": -0.06, "low": 0, "high": 0, "p": p}}
        assert ("Worse than identity: odd" in reading(whole)) is harmed


def test_the_verdict_speaks_of_task_language_and_the_choice_among_many():
    measures = [
        {"key": key, "title": key} for key in ("weak", "language_id", "head_others", "head_pivot")
    ]
    rows = [
        {
            "method": m,
            "values": dict(
                zip(("weak", "language_id", "head_others", "head_pivot"), v, strict=True)
            ),
        }
        for m, v in (
            ("identity", (0.1, 0.9, 0.3, 0.8)),
            ("ridge", (0.4, 0.2, 0.5, 0.8)),
            ("other", (0.2, 0.1, 0.4, 0.7)),
        )
    ]
    settings = {"chance of language id": 0.125}
    said = verdict({"measures": measures, "rows": rows, "pivot": "en", "settings": settings})
    assert said[1:] == [
        "A head trained on en is right in 50.0 % of the rows of the other languages, against "
        "30.0 % before (+20.0 points).",
        "In en itself it is right in 80.0 %, as before.",
        "A linear probe tells the language of 20.0 % of the rows, against 90.0 % before "
        "(chance 12.5 %).",
        "ridge was picked among 3 methods on the pairs that it is measured on: expect a little "
        "less on others.",
    ]


# The report of a comparison


@pytest.fixture(scope="module")
def report():
    """Three languages, shifted apart, with a topic in the concept, and two layers."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(80, 8))
    X = np.vstack([concepts + 4 * rng.normal(size=8) for _ in range(3)])
    X += 0.3 * rng.normal(size=X.shape)
    return Report.of(
        X,
        language=np.repeat(["en", "de", "sw"], 80),
        pair_id=np.tile(np.arange(80), 3),
        label=np.tile(concepts[:, 0] > 0, 3).astype(int),
        aligners={"centring": LanguageCentering()},
        layers={"noise": rng.normal(size=X.shape), "good": X},
    )


@pytest.mark.slow
def test_the_page_of_a_report_holds_every_picture_and_the_verdict(report, tmp_path):
    path = tmp_path / "report.html"
    replace(report, command="posthoc-align report emb/*.npy").to_html(path)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.tags.count("img") == 7
    for heading in ("Retrieval by language", "Retrieval between all languages", "Hubs", "Layers"):
        assert heading in page.text
    for sentence in report.verdict:
        assert sentence in page.text
    assert "posthoc-align report emb/*.npy" in page.text
    assert "LanguageCentering()" in page.text
    assert "no picture" not in page.text


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("none/page.html", FileNotFoundError, r"no folder .*none to write page.html to.*create it"),
        ("", IsADirectoryError, "is a folder: name the file of the page in it"),
    ],
)
def test_a_page_that_cannot_be_written_is_not_drawn(
    report, tmp_path, monkeypatch, path, kind, says
):
    monkeypatch.setattr(Report, "figures", lambda self: pytest.fail("drawn for nothing"))
    with pytest.raises(kind, match=says):
        report.to_html(tmp_path / path)


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_page_that_lacks_a_package_is_not_drawn(report, tmp_path, monkeypatch, package):
    monkeypatch.setattr(Report, "figures", lambda self: pytest.fail("drawn for nothing"))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"(?i)needs " + package + r".*posthoc-align\[plots\]"):
        report.to_html(tmp_path / "page.html")


def test_the_verdict_names_the_layer_and_what_it_reaches(report):
    assert report.layers.best_layer == "good"
    assert report.verdict[-1].startswith("Of 2 layers, good is the one to align: chosen on the dev")


def test_the_layers_are_aligned_by_the_best_method(report):
    assert report.comparison.best == "centring"
    assert report.layers.settings["aligner"] == "LanguageCentering()"


@pytest.mark.slow
def test_a_comparison_writes_the_page_of_its_report(report, tmp_path):
    report.comparison.to_html(tmp_path / "one.html")
    replace(report, layers=None).to_html(tmp_path / "two.html")
    one, two = (Page((tmp_path / name).read_text()) for name in ("one.html", "two.html"))
    assert one.text == two.text
    assert one.tags.count("img") == 6


@pytest.mark.slow
def test_a_picture_that_cannot_be_drawn_is_told(report, tmp_path):
    space = {**report.comparison.space, "pair_id": np.full(60, -1)}
    bare = Report(replace(report.comparison, space=space))
    figures, notes = bare.figures()
    assert "pairs" not in figures
    assert notes[0].startswith("no picture “pairs”: No two of the languages")
    bare.to_html(tmp_path / "bare.html")
    assert "no picture “pairs”" in Page((tmp_path / "bare.html").read_text()).text


# That it stands alone, and nothing in it runs


def test_the_page_asks_no_network_and_has_no_script():
    from matplotlib.figure import Figure

    page = render_html(result(), {"space": Figure(figsize=(1, 1)), "own": SVG})
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert len(parsed.links) == 2
    assert parsed.links[0].startswith("data:image/png;base64,iVBOR")
    assert parsed.links[1].startswith("data:image/svg+xml;base64,")
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_every_text_is_escaped():
    nasty = {
        "measures": [{"key": "weak", "title": NASTY, "explain": NASTY}],
        "rows": [
            {
                "method": NASTY + i,
                "values": {"weak": 0.1},
                "per_language": {"weak": {NASTY: 0.1, "b": 1}},
            }
            for i in "ab"
        ],
        "settings": {NASTY: NASTY, "command": NASTY, "group": {NASTY: NASTY}},
        "warnings": [NASTY],
        "pivot": NASTY,
        "languages": [NASTY],
        "title": NASTY,
    }
    page = render_html(nasty, {NASTY: "<svg/>"})
    assert "<script" not in page
    parsed = Page(page)
    assert parsed.text.count("<script>alert") >= 12
    assert "script" not in parsed.tags


def test_a_figure_must_be_a_figure_or_svg():
    with pytest.raises(TypeError, match="'space' is of type int: expected a Matplotlib figure"):
        render_html(result(), {"space": 3})
    with pytest.raises(TypeError, match="'space' is text but no SVG"):
        render_html(result(), {"space": "<p>hello</p>"})


@pytest.mark.parametrize("part", ["measures", "rows"])
def test_a_result_without_its_parts_is_refused(part):
    with pytest.raises(
        ValueError, match=rf"no {part} \(its keys are \['languages'.*Comparison.to_dict"
    ):
        render_html(result(**{part: []}))


def test_without_jinja_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r'pip install "posthoc-align\[plots\]"'):
        render_html(result())
