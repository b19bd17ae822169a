"""Fit a list of aligners on anchors, measure them on held-out rows, put them side by side."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from posthoc_align import __version__
from posthoc_align._arrays import check_rows, index_like, to_host, upcast
from posthoc_align._blocks import require_finite
from posthoc_align._held_out import HeldOut
from posthoc_align._outcomes import BY_LANGUAGE, LEVEL, RESAMPLES, Outcomes, certainty
from posthoc_align.align import LSAR, LanguageCentering, LinearMap, PivotAligner, TransportMap
from posthoc_align.align._apply import apply_aligner, fit_aligner
from posthoc_align.metrics import chance_level, language_identification
from posthoc_align.metrics._clusters import means_of
from posthoc_align.result import Comparison

IDENTITY = "identity"
SIGNIFICANT = 0.05  # p-values are corrected for the number of languages


def default_aligners(pivot: Any) -> dict[str, Any]:
    """The methods that :func:`compare` runs when none are named."""
    return {
        IDENTITY: "passthrough",
        "centring": LanguageCentering(),
        "LSAR": LSAR(),
        "transport": PivotAligner(TransportMap(method="exact"), pivot=pivot),
        "Procrustes": PivotAligner(pivot=pivot),
        "ridge to identity": PivotAligner(LinearMap(), pivot=pivot),
    }


def compare(
    X: Any,
    *,
    language: Any,
    pair_id: Any,
    pivot: Any = "en",
    label: Any = None,
    split: Any = None,
    aligners: Mapping[str, Any] | None = None,
    test_size: float = 0.25,
    random_state: int = 0,
    progress: bool = False,
) -> Comparison:
    """Fit aligners on anchor rows and measure them on held-out rows that share no pair with those.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Embeddings of all languages.
    language : array-like of shape (n_samples,)
        Label of each row.
    pair_id : array-like of shape (n_samples,)
        Rows with the same id translate each other; -1 or None: no translation.
    pivot : str or int, default="en"
        The language others are mapped onto and the head is trained on.
    label : array-like of shape (n_samples,), optional
        Task labels. With them a head is fitted on pivot anchors and scored on every language.
    split : array-like of shape (n_samples,), optional
        Rows that say "test" are held out, all others are anchors. None: a random part of the
        pair ids.
    aligners : dict of str to estimator, optional
        What to compare, by name, pipelines of several included; "passthrough" leaves the rows
        alone. None: :func:`default_aligners`. The identity is always measured as well.
    test_size : float, default=0.25
        Share of pair ids held out when `split` is None.
    random_state : int, default=0
    progress : bool, default=False
        Show a progress bar.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the pivot is unknown, fewer than two languages or no held-out pairs are there, lengths
        differ, a pair lies on both sides of the split, or every method failed.

    Warns
    -----
    UserWarning
        If held-out retrieval is at chance after alignment, retrieval or the head is significantly
        worse in some language than before it, a method failed or did not converge.

    Notes
    -----
    Intervals resample pair ids whole, in all languages at once; rows without an id are drawn on
    their own. They say how the figures would vary with other test sentences, not with other
    anchors. Differences from the identity are tested pair by pair by flips of signs; p-values by
    language are corrected for the number of languages. See
    :func:`posthoc_align.metrics.paired_difference`.
    """
    X = upcast(check_rows(None, X))
    require_finite(X)
    data = HeldOut.of(X, language, pair_id, pivot, label, split, test_size, random_state)
    chosen = default_aligners(pivot) if aligners is None else dict(aligners)
    if IDENTITY not in chosen:
        chosen = {IDENTITY: "passthrough", **chosen}
    rows, notes, after = {}, [], {}
    identity: Outcomes | None = None
    # The identity comes first whatever its place in the table: others are compared with it.
    for name in _progress(sorted(chosen, key=lambda name: name != IDENTITY), progress):
        try:
            row, found, held_out, heard = _measure(name, chosen[name], data, identity, random_state)
        except (ValueError, MemoryError, np.linalg.LinAlgError) as error:
            if name == IDENTITY:
                raise
            notes.append(f"{name} failed and was left out: {error}")
            continue
        identity = found if identity is None else identity
        rows[name], after[name] = row, held_out
        notes += heard
    if len(rows) == 1 and len(chosen) > 1:
        raise ValueError("Every method failed. " + " | ".join(notes))
    table = [rows[name] for name in chosen if name in rows]
    notes += _verdicts(table, data)
    comparison = Comparison(table, _settings(chosen, data, test_size, random_state), notes, {})
    comparison.space.update(
        before=after[IDENTITY],
        after=after[comparison.best],
        language=data.language[data.sample],
        pair_id=data.pair_id[data.sample],
        label=None if data.label is None else data.label[data.sample],
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return comparison


def _measure(
    name: str, aligner: Any, data: HeldOut, identity: Outcomes | None, seed: int
) -> tuple[dict[str, Any], Outcomes, np.ndarray, list[str]]:
    """One row of the table, the outcomes, rows for the pictures, and warnings heard on the way."""
    anchors, held_out = np.flatnonzero(~data.test), np.flatnonzero(data.test)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        start = time.perf_counter()
        known = {"language": data.language[anchors], "pair_id": data.pair_id[anchors]}
        labels = None if data.label is None else data.label[anchors]
        fitted = fit_aligner(aligner, data.X[index_like(anchors, data.X)], labels, **known)
        Z = apply_aligner(fitted, data.X, data.language)
        seconds = time.perf_counter() - start
    notes = [f"{name}: {text}" for text in dict.fromkeys(str(w.message) for w in heard)]
    found = Outcomes.of(Z, data)
    values, per_language = {}, {}
    for part, sums in found.parts.items():
        means = means_of(sums.sums.sum(axis=0))
        for key, (k, weights) in found.measures(part, data).items():
            values[key] = float(means[:, k] @ weights)
            if key in BY_LANGUAGE:
                each = dict(zip(sums.strata, means[:, k].tolist(), strict=True))
                per_language[key] = {language: each[language] for language in data.others}
    per_language["gap"] = found.gap
    values["gap"] = float(np.mean(list(found.gap.values())))
    values["language_id"] = language_identification(
        Z[index_like(anchors, Z)],
        data.language[anchors],
        X_test=Z[index_like(held_out, Z)],
        language_test=data.language[held_out],
    )
    row = {
        "method": name,
        "values": values,
        "per_language": per_language,
        "worst": {key: min(v.items(), key=lambda item: item[1]) for key, v in per_language.items()},
        **certainty(found, found if identity is None else identity, data, seed),
        "seconds": round(seconds, 3),
    }
    return row, found, to_host(Z[index_like(data.sample, Z)]), notes


def _verdicts(rows: Sequence[dict[str, Any]], data: HeldOut) -> list[str]:
    """What the figures warn of: retrieval at chance whatever the method, or a sure loss."""
    notes = []
    weak = {row["method"]: row["per_language"]["weak"] for row in rows}
    fitted = {method: found for method, found in weak.items() if method != IDENTITY}
    # One hit is expected by chance whatever the size of the pool; Poisson(1) exceeds 4 in 0.4 %.
    best = {name: max(found[name] for found in fitted.values()) for name in data.others if fitted}
    lost = [name for name, share in best.items() if share * len(data.pairs(name)[0]) <= 4]
    if lost:
        notes.append(
            f"Held-out retrieval is at chance after every alignment in {lost}. Do the rows with "
            "one pair_id really translate each other?"
        )
    said = {"weak": "weak alignment is", "head_others": "the head is"}
    for row in rows:
        for key, subject in said.items():
            changes = row["per_language_differences"].get(key, {})
            worse = [k for k, d in changes.items() if d["value"] < 0 and d["p"] < SIGNIFICANT]
            if worse:
                notes.append(
                    f"{row['method']}: {subject} significantly worse than without it in "
                    f"{len(worse)} of {len(changes)} languages: {worse}."
                )
    return notes


def _settings(
    chosen: Mapping[str, Any], data: HeldOut, test_size: float, random_state: int
) -> dict[str, Any]:
    counts = [len(data.pairs(name)[0]) for name in data.others]
    level = f"{LEVEL:.0%}".replace("%", " %")
    settings = {
        "pivot": data.pivot,
        "languages": data.languages,
        "rows": int(data.X.shape[0]),
        "dimensions": int(data.X.shape[1]),
        "dtype": str(data.X.dtype),
        "anchor rows": int(np.sum(~data.test)),
        "held-out rows": int(np.sum(data.test)),
        "held-out pairs a language": f"{min(counts)} to {max(counts)}",
        "chance of weak alignment": 1 / max(1, round(float(np.mean(counts)))),
        "chance of language id": chance_level(data.language[data.test]),
        "confidence": f"{level}, {RESAMPLES} resamples of pair ids, seed {random_state}",
        "test_size": test_size,
        "random_state": random_state,
        "methods": {name: " ".join(repr(aligner).split()) for name, aligner in chosen.items()},
        "posthoc_align": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    if data.label is not None:
        settings["chance of the head"] = chance_level(data.label[data.test])
    return settings


def _progress(items: Iterable[Any], show: bool) -> Iterable[Any]:
    if not show:
        yield from items
        return
    from tqdm.auto import tqdm

    bar = tqdm(list(items), unit="method", leave=False)
    for item in bar:
        bar.set_description(item)
        yield item
