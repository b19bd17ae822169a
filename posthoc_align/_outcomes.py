"""What one method does to held-out rows, pair by pair, and how sure that is.

Outcomes of all methods are of the same pairs, so that a difference of two methods is taken pair
by pair. Translations of one sentence form a group: see :mod:`posthoc_align.metrics.confidence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, index_like
from posthoc_align._held_out import HeldOut
from posthoc_align.metrics import pair_cosine, translation_ranks, zero_shot_predictions
from posthoc_align.metrics._clusters import Clusters, means_of, sign_flip
from posthoc_align.metrics.confidence import Estimate, interval

LEVEL = 0.95
RESAMPLES = 1000

PAIR_MEASURES = ("weak", "weak_reverse", "strong", "csls", "mrr")
BY_LANGUAGE = (*PAIR_MEASURES, "head_others")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Sums of outcomes by pair id and language.

    Attributes
    ----------
    pairs : Clusters
        One statistic for each of :data:`PAIR_MEASURES`, and the number of pairs. Strata are the
        languages but the pivot.
    heads : Clusters or None
        Hits of the head and the number of rows. Strata are all languages. None without labels.
    gap : dict of float
        By language, mean cosine of translations minus that of random pairs.
    """

    pairs: Clusters
    heads: Clusters | None
    gap: dict[Any, float]

    @classmethod
    def of(cls, Z: Array, data: HeldOut) -> Outcomes:
        """Rank the translations among transformed rows, and let the pivot's head read them."""
        found: list[np.ndarray] = []
        ids: list[np.ndarray] = []
        names: list[np.ndarray] = []
        gap = {}
        for language in data.others:
            at, at_pivot = data.pairs(language)
            own, pivot = Z[index_like(at, Z)], Z[index_like(at_pivot, Z)]
            found.append(_pair_outcomes(own, pivot))
            ids.append(data.pair_id[at])
            names.append(data.language[at])
            cosine = pair_cosine(own, pivot)
            gap[language] = cosine.pairs - cosine.random
        columns = np.concatenate(found, axis=1)
        pairs = Clusters.of(
            (*columns, np.ones(columns.shape[1])),
            columns.shape[1],
            np.concatenate(ids),
            np.concatenate(names),
        )
        heads = None if data.label is None else _head_outcomes(Z, data, data.label)
        return cls(pairs, heads, gap)

    @property
    def parts(self) -> dict[str, Clusters]:
        """Sums by what they are of: "pairs" and, with labels, "heads"."""
        return {"pairs": self.pairs} | ({} if self.heads is None else {"heads": self.heads})

    def measures(self, part: str, data: HeldOut) -> dict[str, tuple[int, np.ndarray]]:
        """Give the statistic behind each measure of a part, and what weight strata have in it."""
        weights = self.parts[part].weights
        if part == "pairs":
            return {key: (k, weights(data.others)) for k, key in enumerate(PAIR_MEASURES)}
        return {
            "head_pivot": (0, weights([data.pivot])),
            "head_others": (0, weights(data.others)),
            "transfer_gap": (0, weights([data.pivot], data.others)),
        }


def _pair_outcomes(own: Array, pivot: Array) -> np.ndarray:
    """Outcomes of the pairs of one language, shape (measures, pairs)."""
    ranks = translation_ranks(own, pivot)
    neighbors = min(10, own.shape[0])
    return np.stack(
        [
            ranks == 1,
            translation_ranks(pivot, own) == 1,
            translation_ranks(own, pivot, own=True) == 1,
            translation_ranks(own, pivot, score="csls", neighbors=neighbors) == 1,
            1 / ranks,
        ]
    )


def _head_outcomes(Z: Array, data: HeldOut, label: np.ndarray) -> Clusters:
    """Whether the pivot's head is right about each held-out row."""
    anchors, held_out = np.flatnonzero(~data.test), np.flatnonzero(data.test)
    said = zero_shot_predictions(
        Z[index_like(anchors, Z)],
        label[anchors],
        data.language[anchors],
        Z[index_like(held_out, Z)],
        pivot=data.pivot,
    )
    hits = (said == label[held_out]).astype(np.float64)
    return Clusters.of_means(hits, data.pair_id[held_out], data.language[held_out])


def certainty(
    found: Outcomes, identity: Outcomes, data: HeldOut, random_state: int
) -> dict[str, dict[str, Any]]:
    """Intervals of each measure, and differences from the identity with their p-values.

    Returns
    -------
    dict
        * intervals: measure -> [low, high] of the macro value
        * per_language_intervals: measure -> language -> [low, high]
        * differences: measure -> dict of value, low, high and p, of the macro value
        * per_language_differences: measure -> language -> dict of value and p; these p are
          corrected for the number of languages (false discovery rate)
    """
    out: dict[str, dict[str, Any]] = {
        "intervals": {},
        "per_language_intervals": {},
        "differences": {},
        "per_language_differences": {},
    }
    seed = {"n_resamples": RESAMPLES, "random_state": random_state}
    of = partial(interval, level=LEVEL, random_state=random_state)
    for part, sums in found.parts.items():
        measures = found.measures(part, data)
        one_language = {name: sums.weights([name]) for name in data.others}
        draws = sums.draws(means_of, **seed)
        for key, (k, weights) in measures.items():
            out["intervals"][key] = _ends(of(draws.pick(k), weights))
            if key in BY_LANGUAGE:
                each = {name: of(draws.pick(k), w) for name, w in one_language.items()}
                out["per_language_intervals"][key] = {n: _ends(e) for n, e in each.items()}
        if found is identity:
            continue
        change = sums.minus(identity.parts[part])
        draws = change.draws(means_of, **seed)
        for key, p in _p_values(change, measures, one_language, seed).items():
            k, weights = measures[key]
            macro = of(draws.pick(k), weights)
            out["differences"][key] = {
                "value": macro.value,
                "low": macro.low,
                "high": macro.high,
                "p": float(p[0]),
            }
            if key in BY_LANGUAGE:
                values = [draws.value[:, k] @ w for w in one_language.values()]
                out["per_language_differences"][key] = _corrected(data.others, values, p[1:])
    return out


def _ends(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.high]


def _p_values(
    change: Clusters,
    measures: dict[str, tuple[int, np.ndarray]],
    one_language: dict[Any, np.ndarray],
    seed: dict[str, int],
) -> dict[str, np.ndarray]:
    """P-values by measure, of the macro difference and of each language, from the same flips."""
    shares = change.shares()
    weights = [np.stack([macro, *one_language.values()], axis=1) for _, macro in measures.values()]
    effects = [shares[..., k] @ w for (k, _), w in zip(measures.values(), weights, strict=True)]
    p = sign_flip(np.concatenate(effects, axis=1), **seed)
    return dict(zip(measures, np.split(p, len(measures)), strict=True))


def _corrected(
    languages: Sequence[Any], values: Sequence[float], p: np.ndarray
) -> dict[Any, dict[str, float]]:
    """Differences by language; p-values such that few of those below 0.05 are false alarms."""
    from scipy.stats import false_discovery_control

    return {
        name: {"value": float(value), "p": float(corrected)}
        for name, value, corrected in zip(
            languages, values, false_discovery_control(p), strict=True
        )
    }
