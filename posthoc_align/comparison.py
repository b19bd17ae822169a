"""Fit a list of aligners on anchors, measure them on held-out rows, put them side by side."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from posthoc_align import __version__
from posthoc_align._arrays import Array, check_rows, index_like, to_host, upcast
from posthoc_align._blocks import require_finite
from posthoc_align.align import LSAR, LanguageCentering, LinearMap, PivotAligner, TransportMap
from posthoc_align.languages import (
    check_language,
    check_pair_id,
    is_paired,
    pair_rows,
    require_unique_pairs,
)
from posthoc_align.metrics import (
    chance_level,
    language_identification,
    mean_reciprocal_rank,
    pair_cosine,
    strong_alignment,
    weak_alignment,
    zero_shot_scores,
)
from posthoc_align.result import Comparison

IDENTITY = "identity"


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
        If held-out retrieval is at chance after alignment, worse than before it, a method failed
        or did not converge.
    """
    X = upcast(check_rows(None, X))
    require_finite(X)
    data = _Rows.of(X, language, pair_id, pivot, label, split, test_size, random_state)
    chosen = default_aligners(pivot) if aligners is None else dict(aligners)
    if IDENTITY not in chosen:
        chosen = {IDENTITY: "passthrough", **chosen}
    rows, notes, after = [], [], {}
    for name, aligner in _progress(chosen.items(), progress):
        try:
            row, held_out, heard = _measure(name, aligner, data)
        except (ValueError, MemoryError, np.linalg.LinAlgError) as error:
            notes.append(f"{name} failed and was left out: {error}")
            continue
        rows.append(row)
        notes += heard
        after[name] = held_out
    if not any(row["method"] != IDENTITY for row in rows) and len(chosen) > 1:
        raise ValueError("Every method failed. " + " | ".join(notes))
    notes += _verdicts(rows, data)
    comparison = Comparison(rows, _settings(chosen, data, test_size, random_state), notes, {})
    comparison.space.update(
        before=after[IDENTITY], after=after[comparison.best], language=data.sampled_language
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return comparison


@dataclass(frozen=True, eq=False)
class _Rows:
    """Checked rows with what is known of them, and the split."""

    X: Array
    language: np.ndarray
    pair_id: np.ndarray
    label: np.ndarray | None
    test: np.ndarray
    pivot: Any
    languages: list[Any]
    sample: np.ndarray

    @classmethod
    def of(
        cls,
        X: Array,
        language: Any,
        pair_id: Any,
        pivot: Any,
        label: Any,
        split: Any,
        test_size: float,
        random_state: int,
    ) -> _Rows:
        n = X.shape[0]
        languages = check_language(language, n)
        if languages is None:
            raise ValueError("compare needs the language of each row: pass language=.")
        names = np.unique(languages).tolist()
        if pivot not in names:
            raise ValueError(
                f"pivot={pivot!r} is not among the languages {names}: name one of them."
            )
        if len(names) < 2:
            raise ValueError(f"compare needs at least 2 languages; got only {names}.")
        ids = check_pair_id(pair_id, n)
        require_unique_pairs(languages, ids)
        labels = None if label is None else np.asarray(label)
        if labels is not None and labels.shape != (n,):
            raise ValueError(f"label has shape {labels.shape} but X has {n} rows: pass one a row.")
        rng = np.random.default_rng(random_state)
        test = _test_rows(ids, languages, pivot, split, n, test_size, rng)
        held_out = np.flatnonzero(test)
        sample = np.sort(rng.choice(held_out, min(len(held_out), 3000), replace=False))
        return cls(X, languages, ids, labels, test, pivot, names, sample)

    @property
    def others(self) -> list[Any]:
        """The languages but the pivot."""
        return [name for name in self.languages if name != self.pivot]

    @property
    def sampled_language(self) -> np.ndarray:
        """Languages of the rows kept for the picture."""
        return self.language[self.sample]

    def pairs(self, language: Any) -> tuple[np.ndarray, np.ndarray]:
        """Held-out rows of a language and of the pivot that translate each other."""
        own = np.flatnonzero(self.test & (self.language == language))
        pivot = np.flatnonzero(self.test & (self.language == self.pivot))
        in_own, in_pivot = pair_rows(self.pair_id[own], self.pair_id[pivot])
        return own[in_own], pivot[in_pivot]


def _test_rows(
    ids: np.ndarray,
    language: np.ndarray,
    pivot: Any,
    split: Any,
    n: int,
    test_size: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mask of held-out rows; a pair is held out whole."""
    if split is not None:
        names = np.asarray(split)
        if names.shape != (n,):
            raise ValueError(f"split has shape {names.shape} but X has {n} rows: pass one a row.")
        test = names == "test"
        torn = np.intersect1d(ids[test & is_paired(ids)], ids[~test & is_paired(ids)])
        if len(torn):
            raise ValueError(
                f"{len(torn)} pair ids have rows on both sides of the split, first {torn[0]!r}: "
                "held-out rows would be translations of anchors. Split by pair_id."
            )
    else:
        if not 0 < test_size < 1:
            raise ValueError(f"test_size={test_size!r} must lie between 0 and 1.")
        known = np.unique(ids[is_paired(ids) & (language == pivot)])
        held = (
            rng.permutation(known)[: max(1, round(test_size * len(known)))] if len(known) else known
        )
        test = np.isin(ids, held) & is_paired(ids)
    for name in np.unique(language):
        anchors, held_out = (
            int(np.sum(~test[language == name])),
            int(np.sum(test[language == name])),
        )
        if anchors < 2 or held_out < 2:
            raise ValueError(
                f"Language {name!r} has {anchors} anchor rows and {held_out} held-out rows; at "
                "least 2 of each are needed. Check pair_id and split, or change test_size."
            )
    return test


def _measure(name: str, aligner: Any, data: _Rows) -> tuple[dict[str, Any], np.ndarray, list[str]]:
    """One row of the table, the rows for the picture, and warnings heard on the way."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        start = time.perf_counter()
        Z = data.X if aligner == "passthrough" else _fit_transform(aligner, data)
        seconds = time.perf_counter() - start
    notes = [f"{name}: {text}" for text in dict.fromkeys(str(w.message) for w in heard)]
    per_language: dict[str, dict[Any, float]] = {}
    for language in data.others:
        own, pivot = (Z[index_like(at, Z)] for at in data.pairs(language))
        for key, value in _pair_measures(own, pivot).items():
            per_language.setdefault(key, {})[language] = value
    values = {key: float(np.mean(list(found.values()))) for key, found in per_language.items()}
    anchors, held_out = (index_like(np.flatnonzero(m), Z) for m in (~data.test, data.test))
    values["language_id"] = language_identification(
        Z[anchors],
        data.language[~data.test],
        X_test=Z[held_out],
        language_test=data.language[data.test],
    )
    if data.label is not None:
        heads = zero_shot_scores(
            Z[anchors],
            data.label[~data.test],
            data.language[~data.test],
            Z[held_out],
            data.label[data.test],
            data.language[data.test],
            pivot=data.pivot,
        )
        per_language["head_others"] = {name: heads[name] for name in data.others}
        others = float(np.mean([heads[name] for name in data.others]))
        values |= {
            "head_pivot": heads[data.pivot],
            "head_others": others,
            "transfer_gap": heads[data.pivot] - others,
        }
    worst = {
        key: min(found.items(), key=lambda item: item[1]) for key, found in per_language.items()
    }
    row = {
        "method": name,
        "values": values,
        "per_language": per_language,
        "worst": worst,
        "seconds": round(seconds, 3),
    }
    return row, to_host(Z[index_like(data.sample, Z)]), notes


def _pair_measures(own: Array, pivot: Array) -> dict[str, float]:
    """The measures of one language's held-out pairs with the pivot."""
    cosine = pair_cosine(own, pivot)
    neighbors = min(10, own.shape[0])
    return {
        "weak": weak_alignment(own, pivot),
        "weak_reverse": weak_alignment(pivot, own),
        "strong": strong_alignment(own, pivot),
        "csls": weak_alignment(own, pivot, score="csls", neighbors=neighbors),
        "mrr": mean_reciprocal_rank(own, pivot),
        "gap": cosine.pairs - cosine.random,
    }


def _fit_transform(aligner: Any, data: _Rows) -> Array:
    """Fit a fresh clone on the anchors and transform all rows."""
    anchors = np.flatnonzero(~data.test)
    known = {"language": data.language[anchors], "pair_id": data.pair_id[anchors]}
    fresh = clone(aligner)
    steps = [step for _, step in fresh.steps] if isinstance(fresh, Pipeline) else [fresh]
    wanted = {
        key: value
        for key, value in known.items()
        if any(has_fit_parameter(step, key) for step in steps)
    }
    labels = None if data.label is None else data.label[anchors]
    with config_context(enable_metadata_routing=isinstance(fresh, Pipeline)):
        fresh.fit(data.X[index_like(anchors, data.X)], labels, **wanted)
        return fresh.transform(data.X, language=data.language)


def _verdicts(rows: Sequence[dict[str, Any]], data: _Rows) -> list[str]:
    """What the figures warn of: retrieval at chance whatever the method, or worse than before."""
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
    for method, found in fitted.items():
        worse = [name for name, share in found.items() if share < weak[IDENTITY][name]]
        if len(worse) > len(found) / 2:
            notes.append(
                f"{method}: weak alignment is lower than without it in {len(worse)} of "
                f"{len(found)} languages: {worse}."
            )
    return notes


def _settings(
    chosen: Mapping[str, Any], data: _Rows, test_size: float, random_state: int
) -> dict[str, Any]:
    counts = [len(data.pairs(name)[0]) for name in data.others]
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
        bar.set_description(item[0])
        yield item
