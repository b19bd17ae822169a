"""One self-contained HTML page about a comparison: no script, no request to any network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

_CAPTIONS = {
    "space": "The space before and after, on its two main axes of variance",
    "heatmap": "Heat map of the languages",
    "ladder": "Methods side by side",
}
_GAP, _MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


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
          (measure -> language -> value) and seconds. The row "identity", else the first, is what
          others are compared with.
        * settings: dict of what is needed to repeat it, nested one level at most
        * warnings: list of str
        * pivot, languages: optional
        * title: optional
    figures : dict of str to Matplotlib figure or SVG text, optional
        By caption; the captions "space", "heatmap" and "ladder" are spelt out.

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
    _require(result)
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
        reading=reading(result),
        pivot=result.get("pivot"),
        languages=list(result.get("languages", ())),
        measures=measures,
        rows=[_table_row(row, result) for row in rows],
        timed=any(row.get("seconds") is not None for row in rows),
        heat=[h for h in (_heat(measure, result) for measure in measures) if h["languages"]],
        figures=[(_CAPTIONS.get(n, n), _data_uri(n, f)) for n, f in (figures or {}).items()],
        warnings=list(result.get("warnings", ())),
        settings=_settings(result.get("settings", {})),
    )


def reading(result: Mapping[str, Any]) -> str:
    """Say in a sentence or two what happened to the first measure.

    Parameters
    ----------
    result : dict
        See :func:`render_html`.

    Returns
    -------
    text : str

    Examples
    --------
    >>> reading({
    ...     "measures": [{"key": "weak", "title": "weak"}],
    ...     "rows": [
    ...         {"method": "identity", "values": {"weak": 0.162}},
    ...         {"method": "ridge", "values": {"weak": 0.379}},
    ...     ],
    ... })
    'ridge is best on “weak”: 37.9 %, against 16.2 % for identity (+21.7 points).'
    """
    _require(result)
    measure = result["measures"][0]
    key, title = measure["key"], measure["title"]
    base = _baseline(result)
    scored = [row for row in result["rows"] if _number(row["values"].get(key)) is not None]
    if not scored:
        return f"No method has a value for “{title}”."
    sign = 1 if measure.get("higher_is_better", True) else -1
    best = max(scored, key=lambda row: sign * row["values"][key])
    value, before = best["values"][key], _number(base["values"].get(key))
    others = [row for row in scored if row is not base]
    if best is base or (before is not None and sign * (value - before) <= 0):
        if not others:
            return f"{base['method']} reaches {_percent(value)} % on “{title}”."
        return f"No method beats {base['method']} on “{title}”, which reaches {_percent(value)} %."
    text = f"{best['method']} is best on “{title}”: {_percent(value)} %"
    if before is not None:
        points = _percent(value - before, sign=True)
        text += f", against {_percent(before)} % for {base['method']} ({points} points)"
    worst = _worst(best, measure)
    if worst:
        text += f". Its worst language is {worst[0]}, {_percent(worst[1])} %"
    harmed = [row["method"] for row in others if sign * (row["values"][key] - (before or 0)) < 0]
    if before is not None and harmed:
        text += f". Worse than {base['method']}: {', '.join(map(str, harmed))}"
    return text + "."


def _require(result: Mapping[str, Any]) -> None:
    for part in ("measures", "rows"):
        if not result.get(part):
            raise ValueError(
                f"The result has no {part} (its keys are {sorted(result)}): expected a non-empty "
                "list of dicts, as Comparison.to_dict() gives."
            )


def _baseline(result: Mapping[str, Any]) -> Mapping[str, Any]:
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    return next((row for row in rows if row["method"] == "identity"), rows[0])


def _number(value: Any) -> float | None:
    """Return a finite float, or None."""
    return None if value is None or not math.isfinite(value) else float(value)


def _percent(fraction: float | None, *, sign: bool = False) -> str:
    if fraction is None:
        return _GAP
    rounded = round(100 * fraction, 1) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.1f}".replace("-", _MINUS)


def _worst(row: Mapping[str, Any], measure: Mapping[str, Any]) -> tuple[Any, float] | None:
    """Return the language with the worst value, and the value."""
    values = (row.get("per_language") or {}).get(measure["key"]) or {}
    known = [(name, number) for name, v in values.items() if (number := _number(v)) is not None]
    if len(known) < 2:
        return None
    pick = min if measure.get("higher_is_better", True) else max
    return pick(known, key=lambda item: item[1])


def _table_row(row: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Format one method's line: text, mark, change and worst language of each cell."""
    base = _baseline(result)
    cells = []
    for measure in result["measures"]:
        key, higher = measure["key"], measure.get("higher_is_better", True)
        value, before = _number(row["values"].get(key)), _number(base["values"].get(key))
        column = [_number(other["values"].get(key)) for other in result["rows"]]
        known = [v for v in column if v is not None]
        best = (max if higher else min)(known, default=None)
        change = None
        if value is not None and before is not None and row is not base:
            change = round(100 * value, 1) - round(100 * before, 1)
        worst = _worst(row, measure)
        cells.append(
            {
                "text": _percent(value),
                "best": value is not None and _percent(value) == _percent(best) and len(known) > 1,
                "change": None if change is None else _percent(change / 100, sign=True),
                "better": change is not None and (change > 0.04) == higher and abs(change) > 0.04,
                "worse": change is not None and (change < -0.04) == higher and abs(change) > 0.04,
                "worst": None if worst is None else f"{worst[0]} {_percent(worst[1])}",
            }
        )
    seconds = _number(row.get("seconds"))
    return {
        "method": row["method"],
        "baseline": row is base,
        "cells": cells,
        "seconds": _GAP if seconds is None else f"{seconds:.3g}",
    }


def _heat(measure: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Format one measure as methods x languages, each value with its shade from 0 to 1."""
    table = {
        row["method"]: (row.get("per_language") or {}).get(measure["key"]) or {}
        for row in result["rows"]
    }
    languages = list(dict.fromkeys(name for values in table.values() for name in values))
    known = [
        n for values in table.values() for v in values.values() if (n := _number(v)) is not None
    ]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)

    def cell(value: float | None) -> dict[str, Any]:
        shade = 0.0 if value is None or high == low else (value - low) / (high - low)
        if not measure.get("higher_is_better", True):
            shade = 1 - shade
        return {"text": _percent(value), "shade": None if value is None else round(shade, 2)}

    rows = [
        (method, [cell(_number(values.get(name))) for name in languages])
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
