"""The page: tables and pictures through one template, every text escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from posthoc_align.report.verdict import (
    GAP,
    baseline,
    interval,
    is_sure,
    number,
    p_value,
    percent,
    require_parts,
    verdict,
    worst_language,
)
from posthoc_align.result import ranked

# What a picture is called, and how to read it.
_CAPTIONS = {
    "retrieval": (
        "Retrieval by language",
        "Share of held-out rows whose nearest row of the pivot is their translation, before and "
        "after the best method.",
    ),
    "pairs": (
        "Retrieval between all languages",
        "The same between any two languages: rows ask, columns are searched. Taken on the sample "
        "of held-out rows that the pictures show.",
    ),
    "pca": (
        "The space, main axes of variance",
        "Held-out rows on two principal axes. What is apart here is apart; what lies together here "
        "need not be aligned.",
    ),
    "tsne": (
        "The space, neighbourhoods",
        "t-SNE of at most 1000 held-out rows. Neighbours stay neighbours; distances between "
        "clusters and their sizes mean nothing.",
    ),
    "hubness": (
        "Hubs",
        "How often rows of the pivot come up as neighbours. A long tail are hubs, near to "
        "everything; rows never found cannot be retrieved.",
    ),
    "pareto": (
        "What alignment costs",
        "To the right: retrieval gained. Upwards: what is kept. Filled dots are methods that none "
        "beats in both; dashed lines mark the identity, whiskers 95 % intervals.",
    ),
    "layers": (
        "Layers",
        "Measures on the test pairs, layer by layer; the dashed line marks the layer that the dev "
        "pairs chose.",
    ),
}


def render_html(result: Mapping[str, Any], figures: Mapping[str, Any] | None = None) -> str:
    """Render a comparison as one HTML page.

    Every text is escaped. Figures become images inside the page; an SVG cannot run a script
    there. Size: that of the figures, and about 100 bytes a method, measure and language.

    Parameters
    ----------
    result : dict
        Plain data, values as fractions, None where there is none:

        * measures: list of dict with key, title, explain, higher_is_better
        * rows: list of dict with method, values (measure -> value), and optionally per_language
          (measure -> language -> value), intervals (measure -> two values), differences
          (measure -> dict with value, low, high, p) and seconds. The row "identity", else the
          first, is what others are compared with.
        * settings: dict of what is needed to repeat it, nested one level at most
        * warnings: list of str
        * pivot, languages, title: optional
        * verdict: list of str, optional; what :func:`verdict` says if there is none
    figures : dict of str to Matplotlib figure or SVG text, optional
        By name; to those that :class:`Report` draws the page adds how to read them.

    Returns
    -------
    page : str
        HTML5, UTF-8.

    Raises
    ------
    ImportError
        If Jinja2 is not installed.
    ValueError
        If measures or rows are missing or empty.
    TypeError
        If a figure is neither a figure nor SVG text.

    Examples
    --------
    >>> result = {
    ...     "measures": [{"key": "weak", "title": "weak", "explain": "translation is nearest"}],
    ...     "rows": [{"method": "identity", "values": {"weak": 0.16}}],
    ... }
    >>> "<td>16.0" in render_html(result).replace(' class="best"', "")
    True
    """
    require_parts(result)
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError(
            'The HTML page needs Jinja2: pip install "posthoc-align[plots]"'
        ) from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("posthoc_align") / "templates" / "report.html.jinja"
    template = environment.from_string(source.read_text(encoding="utf-8"))
    measures, rows = result["measures"], result["rows"]
    return template.render(
        title=result.get("title", "Cross-lingual alignment"),
        verdict=result.get("verdict") or verdict(result),
        pivot=result.get("pivot"),
        languages=list(result.get("languages", ())),
        measures=measures,
        rows=[_table_row(row, result) for row in rows],
        timed=any(row.get("seconds") is not None for row in rows),
        heat=[h for h in (_heat(measure, result) for measure in measures) if h["languages"]],
        intervals=any(interval(row, m["key"]) for row in rows for m in measures),
        tested=any(is_sure(row, m["key"]) is not None for row in rows for m in measures),
        figures=[
            (*_CAPTIONS.get(name, (name, "")), _data_uri(name, figure), _width(figure))
            for name, figure in (figures or {}).items()
        ],
        warnings=list(result.get("warnings", ())),
        settings=_settings(result.get("settings", {})),
    )


def _table_row(row: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Format one method's line: text, mark, change and worst language of each cell."""
    base = baseline(result)
    cells = []
    for measure in result["measures"]:
        key, higher = measure["key"], measure.get("higher_is_better", True)
        value, before = number(row["values"].get(key)), number(base["values"].get(key))
        column = [number(other["values"].get(key)) for other in result["rows"]]
        settings = result.get("settings", {})
        known = [ranked(key, v, settings) for v in column if v is not None]
        best = (max if higher else min)(known, default=None)
        change = None
        if value is not None and before is not None and row is not base:
            change = round(100 * value, 1) - round(100 * before, 1)
        worst, ends = worst_language(row, measure), interval(row, key)
        # Coloured unless it rounds to nothing or is known not to be significant.
        moved = 0.0 if change is None or is_sure(row, key) is False else change
        seen = abs(moved) > 0.04
        cells.append(
            {
                "text": percent(value),
                "best": value is not None
                and percent(ranked(key, value, settings)) == percent(best)
                and len(known) > 1,
                "interval": None if ends is None else GAP.join(percent(end) for end in ends),
                "change": None if change is None else percent(change / 100, sign=True),
                "better": seen and (moved > 0) == higher,
                "worse": seen and (moved < 0) == higher,
                "why": _why(row, key),
                "worst": None if worst is None else f"{worst[0]} {percent(worst[1])}",
            }
        )
    seconds = number(row.get("seconds"))
    return {
        "method": row["method"],
        "baseline": row is base,
        "cells": cells,
        "seconds": GAP if seconds is None else f"{seconds:.3g}",
    }


def _why(row: Mapping[str, Any], key: str) -> str | None:
    """Say how sure a change is."""
    if is_sure(row, key) is None:
        return None
    found = row["differences"][key]
    low, high = (percent(number(found.get(end)), sign=True) for end in ("low", "high"))
    return f"95 % interval {low} to {high}, {p_value(found['p'])}"


def _heat(measure: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Format one measure as methods x languages, each value with its shade from 0 to 1."""
    table = {
        row["method"]: (row.get("per_language") or {}).get(measure["key"]) or {}
        for row in result["rows"]
    }
    languages = list(dict.fromkeys(name for values in table.values() for name in values))
    known = [
        n for values in table.values() for v in values.values() if (n := number(v)) is not None
    ]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)

    def cell(value: float | None) -> dict[str, Any]:
        shade = 0.0 if value is None or high == low else (value - low) / (high - low)
        if not measure.get("higher_is_better", True):
            shade = 1 - shade
        return {"text": percent(value), "shade": None if value is None else round(shade, 2)}

    rows = [
        (method, [cell(number(values.get(name))) for name in languages])
        for method, values in table.items()
        if values
    ]
    return {"measure": measure, "languages": languages, "rows": rows}


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Split settings into the command, single values and named groups of values."""
    groups = {k: v for k, v in settings.items() if isinstance(v, Mapping)}
    single = {k: _plain(v) for k, v in settings.items() if k not in groups and k != "command"}
    return {
        "command": settings.get("command"),
        "single": single,
        "groups": {k: {name: _plain(v) for name, v in g.items()} for k, g in groups.items()},
    }


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _data_uri(name: str, figure: Any) -> str:
    """Inline a picture as an image, in which no script of an SVG runs."""
    if isinstance(figure, str):
        if "<svg" not in figure[:1000]:
            raise TypeError(f"Figure {name!r} is text but no SVG: pass <svg ...> or a figure.")
        return "data:image/svg+xml;base64," + base64.b64encode(figure.encode()).decode()
    if not hasattr(figure, "savefig"):
        raise TypeError(
            f"Figure {name!r} is of type {type(figure).__name__}: expected a Matplotlib figure or "
            "SVG text."
        )
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _width(figure: Any) -> int | None:
    """Pixels at which the letters of a figure are as large as those of the page."""
    return None if isinstance(figure, str) else round(110 * figure.get_size_inches()[0])
