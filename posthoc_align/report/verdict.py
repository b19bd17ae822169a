"""What a comparison says in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

GAP, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
SURE = 0.05  # p-values below it are called a difference


def verdict(result: Mapping[str, Any]) -> list[str]:
    """Say what the best method did: to retrieval, to the task, to the language in the rows.

    Where differences have p-values, what is not significant at 5 % is called so.

    Parameters
    ----------
    result : dict
        See :func:`posthoc_align.report.render_html`.

    Returns
    -------
    sentences : list of str
        The first is :func:`reading`.

    Examples
    --------
    >>> measures = [{"key": "weak", "title": "weak"}, {"key": "language_id", "title": "lang."}]
    >>> rows = [
    ...     {"method": "identity", "values": {"weak": 0.162, "language_id": 0.994}},
    ...     {"method": "ridge", "values": {"weak": 0.379, "language_id": 0.133}},
    ... ]
    >>> verdict({"measures": measures, "rows": rows})[1]
    'A linear probe tells the language of 13.3 % of the rows, against 99.4 % before.'
    """
    require_parts(result)
    best, base = best_row(result), baseline(result)
    said = [reading(result)]
    if best is None:
        return said
    said += _task(best, base, result)
    told, before = (number(row["values"].get("language_id")) for row in (best, base))
    if told is not None:
        chance = number(result.get("settings", {}).get("chance of language id"))
        text = f"A linear probe tells the language of {percent(told)} % of the rows"
        if best is not base and before is not None:
            text += f", against {percent(before)} % before"
        said.append(text + (f" (chance {percent(chance)} %)." if chance is not None else "."))
    if len(result["rows"]) > 2 and best is not base:
        said.append(
            f"{best['method']} was picked among {len(result['rows'])} methods on the pairs that "
            "it is measured on: expect a little less on others."
        )
    return said


def reading(result: Mapping[str, Any]) -> str:
    """Say in a sentence or two what happened to the first measure.

    A method is called best only if some method surely is better than the baseline, where
    differences have p-values.

    Parameters
    ----------
    result : dict
        See :func:`posthoc_align.report.render_html`.

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
    require_parts(result)
    measure = result["measures"][0]
    key, title = measure["key"], measure["title"]
    base, best = baseline(result), best_row(result)
    if best is None:
        return f"No method has a value for “{title}”."
    value, before = best["values"][key], number(base["values"].get(key))
    others = [
        r for r in result["rows"] if r is not base and number(r["values"].get(key)) is not None
    ]
    gain = None if before is None else _sign(measure) * (value - before)
    if best is base or (gain is not None and gain <= 0):
        if not others:
            return f"{base['method']} reaches {percent(value)} % on “{title}”."
        return f"No method beats {base['method']} on “{title}”, which reaches {percent(value)} %."
    text = f"{best['method']} is best on “{title}”: {percent(value)} %{_interval(best, key)}"
    surely = [
        row
        for row in others
        if is_sure(row, key) and _sign(measure) * row["differences"][key]["value"] > 0
    ]
    if is_sure(best, key) is False and not surely:
        text = (
            f"No method is surely better than {base['method']} on “{title}”. The highest figure is "
            f"that of {best['method']}: {percent(value)} %{_interval(best, key)}"
        )
    if before is not None:
        text += f", against {percent(before)} % for {base['method']} ({_change(best, base, key)})"
    worst = worst_language(best, measure)
    if worst:
        text += f". Its worst language is {worst[0]}, {percent(worst[1])} %"
    harmed = [
        str(row["method"])
        for row in others
        if before is not None
        and _sign(measure) * (row["values"][key] - before) < 0
        and is_sure(row, key) is not False
    ]
    if harmed:
        text += f". Worse than {base['method']}: {', '.join(harmed)}"
    return text + "."


def _task(best: Mapping[str, Any], base: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """What became of the task in the pivot and elsewhere."""
    said = []
    pivot = result.get("pivot")
    where = "the pivot" if pivot is None else str(pivot)
    for key, rows in (("head_others", "the other languages"), ("head_pivot", where)):
        value, before = (number(row["values"].get(key)) for row in (best, base))
        if value is None:
            continue
        text = f"A head trained on {where} is right in {percent(value)} % of the rows of {rows}"
        if rows == where:
            text = f"In {where} itself it is right in {percent(value)} %"
        text += _interval(best, key)
        if best is not base and before is not None:
            same = percent(value) == percent(before)
            before_it = f"against {percent(before)} % before ({_change(best, base, key)})"
            text += ", as before" if same else f", {before_it}"
        said.append(text + ".")
    return said


def require_parts(result: Mapping[str, Any]) -> None:
    """Raise unless there are measures and rows."""
    for part in ("measures", "rows"):
        if not result.get(part):
            raise ValueError(
                f"The result has no {part} (its keys are {sorted(result)}): expected a non-empty "
                "list of dicts, as Comparison.to_dict() gives."
            )


def baseline(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the row that others are compared with."""
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    return next((row for row in rows if row["method"] == "identity"), rows[0])


def best_row(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the row that is best on the first measure, if any has a value."""
    measure = result["measures"][0]
    key = measure["key"]
    scored = [row for row in result["rows"] if number(row["values"].get(key)) is not None]
    return max(scored, key=lambda row: _sign(measure) * row["values"][key], default=None)


def worst_language(row: Mapping[str, Any], measure: Mapping[str, Any]) -> tuple[Any, float] | None:
    """Return the language with the worst value, and the value."""
    values = (row.get("per_language") or {}).get(measure["key"]) or {}
    known = [(name, found) for name, v in values.items() if (found := number(v)) is not None]
    if len(known) < 2:
        return None
    pick = min if measure.get("higher_is_better", True) else max
    return pick(known, key=lambda item: item[1])


def is_sure(row: Mapping[str, Any], key: str) -> bool | None:
    """Whether the difference from the baseline is significant; None where that is not known."""
    p = number(((row.get("differences") or {}).get(key) or {}).get("p"))
    return None if p is None else p < SURE


def interval(row: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """Return the ends of the interval of a value, if it has one."""
    ends = (row.get("intervals") or {}).get(key)
    known = [found for end in ends or () if (found := number(end)) is not None]
    return (known[0], known[1]) if len(known) == 2 else None


def number(value: Any) -> float | None:
    """Return a finite float, or None."""
    return None if value is None or not math.isfinite(value) else float(value)


def percent(fraction: float | None, *, sign: bool = False) -> str:
    """Write a fraction in percent, with a true minus sign, or a dash for None."""
    if fraction is None:
        return GAP
    rounded = round(100 * fraction, 1) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.1f}".replace("-", MINUS)


def p_value(p: float) -> str:
    """Write a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _sign(measure: Mapping[str, Any]) -> int:
    return 1 if measure.get("higher_is_better", True) else -1


def _interval(row: Mapping[str, Any], key: str) -> str:
    ends = interval(row, key)
    return "" if ends is None else f" ({percent(ends[0])} to {percent(ends[1])})"


def _change(row: Mapping[str, Any], base: Mapping[str, Any], key: str) -> str:
    points = f"{percent(row['values'][key] - base['values'][key], sign=True)} points"
    sure = is_sure(row, key)
    if sure is None:
        return points
    return (
        f"{points}, {p_value(row['differences'][key]['p'])}{'' if sure else ': no sure difference'}"
    )
