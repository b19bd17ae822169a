"""What a comparison found: a table that prints, saves and draws itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measure:
    """One column of the table: its name, what it says, and which way is better."""

    key: str
    title: str
    explain: str
    higher_is_better: bool = True


MEASURES = (
    Measure(
        "weak",
        "weak",
        "translation is nearer than any other held-out pivot row (cosine)",
    ),
    Measure("weak_reverse", "rev.", "the same, searching from the pivot"),
    Measure("strong", "strong", "translation is nearer than rows of the own language, too"),
    Measure("csls", "CSLS", "weak alignment with CSLS scores, which discount hubs"),
    Measure("mrr", "MRR", "mean reciprocal rank of the translation (cosine, into the pivot)"),
    Measure("gap", "cos", "mean cosine of translations minus that of random pairs"),
    Measure(
        "language_id",
        "lang.",
        "accuracy of a linear probe that tells the language: lower is more neutral",
        higher_is_better=False,
    ),
    Measure("head_pivot", "pivot", "head fitted on pivot anchors, scored on pivot rows"),
    Measure("head_others", "head", "the same head on the other languages, never seen labelled"),
    Measure("transfer_gap", "gap", "pivot minus head", higher_is_better=False),
)


def ranked(key: str, value: float, settings: Mapping[str, Any]) -> float:
    """Return a value as it counts when the best is picked.

    A probe below chance knows no less of the language than one at chance.

    Parameters
    ----------
    key : str
        Of a measure.
    value : float
    settings : dict
        With "chance of language id", where it is known.

    Returns
    -------
    float

    Examples
    --------
    >>> [ranked("language_id", v, {"chance of language id": 0.5}) for v in (0.6, 0.4)]
    [0.6, 0.5]
    """
    chance = settings.get("chance of language id") if key == "language_id" else None
    return value if chance is None else max(value, chance)


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found: a table that prints, saves and draws itself.

    Attributes
    ----------
    rows : list of dict
        One a method: ``method``, ``values`` (measure -> macro average over the languages other
        than the pivot, a fraction), ``per_language`` (measure -> language -> value), ``worst``
        (measure -> (language, value)), ``intervals`` (measure -> [low, high] of the macro average),
        ``per_language_intervals`` (measure -> language -> [low, high]), ``differences`` from the
        identity (measure -> dict of ``value``, ``low``, ``high`` and ``p``, empty for the
        identity itself), ``per_language_differences`` (measure -> language -> dict of ``value``
        and ``p``, corrected for the number of languages), ``seconds`` (fit and transform).
        Measures that are no averages over pairs or rows have no interval.
    settings : dict
        What is needed to repeat the run, how intervals were had, and the chance levels.
    warnings : list of str
    space : dict
        For pictures: held-out rows ``before`` and ``after`` the best method, and the
        ``language``, ``pair_id`` and ``label`` of each (None without labels).
    """

    rows: list[dict[str, Any]]
    settings: dict[str, Any]
    warnings: list[str]
    space: dict[str, Any] = field(repr=False)

    @property
    def measures(self) -> list[Measure]:
        """The measures that were taken."""
        taken = {key for row in self.rows for key, v in row["values"].items() if v is not None}
        return [measure for measure in MEASURES if measure.key in taken]

    @property
    def best(self) -> str:
        """The method of highest weak alignment."""
        return max(self.rows, key=lambda row: row["values"].get("weak") or 0.0)["method"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what the JSON file holds."""
        return {
            "measures": [vars(measure) for measure in self.measures],
            "rows": self.rows,
            "settings": self.settings,
            "warnings": self.warnings,
            "pivot": self.settings["pivot"],
            "languages": self.settings["languages"],
        }

    def to_json(self, path: str | Path) -> None:
        """Write everything but the picture's rows to a JSON file."""
        Path(path).write_text(
            json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    def to_csv(self, path: str | Path) -> None:
        """Write a line a method and language ("macro", "worst" and each language) as CSV.

        The columns of values come first. Then, for each measure that has them, the ends of its
        interval and the p-value of its difference from the identity: ``weak_low``, ``weak_high``,
        ``weak_p``.
        """
        keys = [measure.key for measure in self.measures]
        sure = [key for key in keys if key in self.rows[0].get("intervals", {})]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            ends = [f"{key}_{end}" for key in sure for end in ("low", "high", "p")]
            writer.writerow(["method", "language", *keys, *ends])
            for row in self.rows:
                writer.writerow(
                    [
                        *(row["method"], "macro"),
                        *(_cell(row["values"].get(key)) for key in keys),
                        *_ends(sure, row["intervals"], row["differences"]),
                    ]
                )
                worst = {key: value for key, (_, value) in row["worst"].items()}
                writer.writerow([row["method"], "worst", *(_cell(worst.get(k)) for k in keys)])
                for language in self.settings["languages"]:
                    own, intervals, changes = (
                        {k: v[language] for k, v in row[part].items() if language in v}
                        for part in (
                            "per_language",
                            "per_language_intervals",
                            "per_language_differences",
                        )
                    )
                    writer.writerow(
                        [
                            *(row["method"], language),
                            *(_cell(own.get(key)) for key in keys),
                            *_ends(sure, intervals, changes),
                        ]
                    )

    def to_html(self, path: str | Path) -> None:
        """Write one self-contained page: see :class:`posthoc_align.Report`."""
        from posthoc_align.report import Report

        Report(self).to_html(path)

    def plot_space(self) -> Any:
        """Two-dimensional PCA picture of held-out rows, before and after the best method."""
        from posthoc_align import plots

        return plots.plot_space(
            self.space["before"],
            self.space["after"],
            self.space["language"],
            pivot=self.settings["pivot"],
            title_after=f"after {self.best}",
        )

    def plot_ladder(self) -> Any:
        """Methods against measures as small multiples of bars."""
        from posthoc_align import plots

        return plots.plot_ladder(
            {row["method"]: row["values"] for row in self.rows},
            titles={measure.key: measure.title for measure in self.measures},
            lower_is_better=[m.key for m in self.measures if not m.higher_is_better],
        )

    def __str__(self) -> str:
        parts = (_text_table(self), _certainty_table(self))
        return "\n\n".join(part for part in parts if part)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _ends(
    keys: Sequence[str], intervals: Mapping[str, Any], changes: Mapping[str, Any]
) -> list[str]:
    """Low end, high end and p-value of each measure, as cells."""
    return [
        _cell(value)
        for key in keys
        for value in (*intervals.get(key, (None, None)), changes.get(key, {}).get("p"))
    ]


def _text_table(comparison: Comparison) -> str:
    """The table for a terminal: percent, best of each column starred, worst language named."""
    measures = comparison.measures
    best: dict[str, float] = {}
    for measure in measures:
        values = [
            ranked(measure.key, v, comparison.settings)
            for r in comparison.rows
            if (v := r["values"].get(measure.key)) is not None
        ]
        best[measure.key] = max(values) if measure.higher_is_better else min(values)
    worst = [key for key in ("weak", "head_others") if key in best]
    head = ["method", *(m.title for m in measures)]
    head += [f"worst {'weak' if key == 'weak' else 'head'}" for key in worst] + ["s"]
    lines = [head]
    for row in comparison.rows:
        line = [row["method"]]
        for measure in measures:
            value = row["values"].get(measure.key)
            if value is None:
                line.append("-")
                continue
            star = ranked(measure.key, value, comparison.settings) == best[measure.key]
            line.append(f"{100 * value:.1f}{'*' if star else ' '}")
        for key in worst:
            language, value = row["worst"][key]
            line.append(f"{100 * value:.1f} {language}")
        line.append(f"{row['seconds']:.1f}")
        lines.append(line)
    out = _columns(lines)
    rule = "-" * len(out[0])
    settings = comparison.settings
    chance = {"weak": "weak alignment", "lang.": "language id", "head": "the head"}
    levels = [
        f"{title} {100 * settings[f'chance of {name}']:.1f}"
        for title, name in chance.items()
        if f"chance of {name}" in settings
    ]
    caption = (
        f"percent; macro average over {len(settings['languages']) - 1} languages without "
        f"{settings['pivot']!r}; * best of a column; chance: {', '.join(levels)}"
    )
    return "\n".join([out[0], rule, *out[1:], rule, caption])


def _columns(lines: Sequence[Sequence[str]], gap: str = " ") -> list[str]:
    """Cells as text in columns, the first flush left, the others flush right."""
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return [
        gap.join(
            [line[0].ljust(first), *(c.rjust(w) for c, w in zip(line[1:], others, strict=True))]
        ).rstrip()
        for line in lines
    ]


def _certainty_table(comparison: Comparison) -> str:
    """Intervals of retrieval and of the head, and what each method changes; "" without any."""
    shown = {m.key: m.title for m in comparison.measures if m.key in ("weak", "head_others")}
    if not all(row.get("intervals") for row in comparison.rows):
        return ""
    lines = [["", *(text for title in shown.values() for text in (title, "against identity"))]]
    for row in comparison.rows:
        line = [row["method"]]
        for key in shown:
            low, high = row["intervals"][key]
            line.append(f"{100 * row['values'][key]:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
            line.append(_change(row["differences"].get(key)))
        lines.append(line)
    caption = (
        f"percent with intervals ({comparison.settings.get('confidence', '')}); n.s.: no "
        "significant difference, p >= 0.05 by sign flips"
    )
    return "\n".join([*_columns(lines, gap="  "), caption])


def _change(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    value, low, high = (100 * found[part] for part in ("value", "low", "high"))
    unsure = " n.s." if found["p"] >= 0.05 else ""
    return f"{value:+z.1f} [{low:+z.1f}, {high:+z.1f}]{unsure}"
