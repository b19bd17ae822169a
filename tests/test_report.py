"""The HTML page: what it says, that it stands alone, and that nothing planted in it runs."""

import re
import sys
from html.parser import HTMLParser

import pytest

pytest.importorskip("jinja2", reason="the page needs Jinja2")

from posthoc_align.report import reading, render_html

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
