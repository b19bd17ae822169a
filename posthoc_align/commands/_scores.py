"""What ``evaluate`` found, as text of at most 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posthoc_align.comparison import SIGNIFICANT

_COLUMNS = (("weak", "weak"), ("csls", "CSLS"), ("head_others", "head"))
"""Measures that are shown with their interval."""

_LEGEND = """percent, with intervals of 95 % (resamples of whole pairs)
weak: the translation is the nearest row of the pivot; CSLS: with CSLS scores;
strong: it is nearer than rows of the own language, too{head};
cone: mean cosine within the language; hubs: skewness, above 1 there are many{change}"""
_HEAD = ";\nhead: trained on rows of the pivot that are not measured"


def as_text(result: Mapping[str, Any], model: Path | None) -> str:
    """Two tables, before and after the aligner, a line a language.

    Parameters
    ----------
    result : dict
        What the command prints as JSON.
    model : Path or None
        The aligner's file.

    Returns
    -------
    str
    """
    tables = [_table(row, result) for row in result["rows"]]
    names = {"identity": "as they are", "aligned": f"through {model}"}
    for row, table in zip(result["rows"], tables, strict=True):
        table.insert(0, names[row["method"]])
    head = _HEAD if "head_others" in result["rows"][0]["values"] else ""
    blocks = [_measured(result["measured"], model), *map("\n".join, tables)]
    change = "" if model is None else "\nn.s.: no significant change, p >= 0.05 by sign flips"
    return "\n\n".join([*blocks, _LEGEND.format(head=head, change=change)])


def _measured(measured: Mapping[str, Any], model: Path | None) -> str:
    counts = sorted(set(measured["pairs"].values()))
    pairs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    drawn = measured["drawn"]
    how = (
        "the column split says which"
        if drawn is None
        else f"--test-size {drawn['test_size']:g} --seed {drawn['seed']}"
    )
    said = (
        f"measured: {measured['rows']} of {measured['of']} rows, {pairs} pairs a language\n({how})"
    )
    share = measured["fitted_share"]
    if model is None:
        return said
    if share is None:
        return f"{said}\n{model} does not know which rows it was fitted on"
    if share == 0:
        return f"{said}\n{model} was fitted on none of these rows"
    much = "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"
    return f"NOT HELD OUT: {model} was fitted on {much} of these rows\n{said}"


def _table(row: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """Lines of one method: a language each, their mean, and what has one value for all."""
    shown = [(key, title) for key, title in _COLUMNS if key in row["values"]]
    geometry = row["geometry"]
    lines = [["", *(title for _, title in shown), "strong", "cone", "hubs"]]
    for language in result["languages"]:
        if language == result["pivot"]:
            continue
        name = str(language)
        lines.append(
            [
                name,
                *(
                    _interval(
                        row["per_language"][key][language],
                        row["per_language_intervals"][key][language],
                    )
                    for key, _ in shown
                ),
                f"{100 * row['per_language']['strong'][language]:.1f}",
                f"{geometry['anisotropy'][name]:.2f}",
                f"{geometry['hub_skewness'][name]:.1f}",
            ]
        )
    means = [
        "mean",
        *(_interval(row["values"][key], row["intervals"][key]) for key, _ in shown),
        f"{100 * row['values']['strong']:.1f}",
    ]
    lines.append([*means, "", ""])
    chance = result["settings"]["chance of language id"]
    identity = (
        f"language id {100 * row['values']['language_id']:.1f} (chance {100 * chance:.1f}, "
        "lower is more neutral)"
    )
    space = f"IsoScore {geometry['iso_score']:.3f}"
    if "head_pivot" in row["values"]:
        space += f"; head on {result['pivot']} {100 * row['values']['head_pivot']:.1f}"
    return [*_aligned(lines), *_changes(row, shown), identity, space]


def _changes(row: Mapping[str, Any], shown: Sequence[tuple[str, str]]) -> list[str]:
    """What an aligner changed in the means, two measures a line; nothing of rows as they are."""
    if not row["differences"]:
        return []
    said = [f"{title} {_change(row['differences'][key])}" for key, title in shown]
    said.append(f"strong {_change(row['differences']['strong'])}")
    return [
        "change of the means:",
        *(f"  {', '.join(said[i : i + 2])}" for i in range(0, len(said), 2)),
    ]


def _interval(value: float, ends: Sequence[float]) -> str:
    low, high = ends
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _change(found: Mapping[str, float]) -> str:
    value, low, high = (100 * found[part] for part in ("value", "low", "high"))
    unsure = " n.s." if found["p"] >= SIGNIFICANT else ""
    return f"{value:+z.1f} [{low:+z.1f}, {high:+z.1f}]{unsure}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns: the first flush left, the others flush right."""
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return [
        " ".join(
            [line[0].ljust(first), *(c.rjust(w) for c, w in zip(line[1:], others, strict=True))]
        ).rstrip()
        for line in lines
    ]
