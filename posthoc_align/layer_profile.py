"""Which layer of an encoder, or of a language model, to align and to read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from posthoc_align._arrays import Array, check_rows, index_like, upcast
from posthoc_align._between import weak_between
from posthoc_align.align._apply import apply_aligner, fit_aligner
from posthoc_align.comparison import IDENTITY, compare
from posthoc_align.languages import check_language, check_pair_id, is_paired
from posthoc_align.metrics import anisotropy, hubness
from posthoc_align.result import MEASURES, Measure

ALIGNED = "aligned"
_TRAIN, _DEV, _TEST = "train", "dev", "test"
_NEIGHBOURS = 10  # as CSLS and hubness have it
GEOMETRY = (
    Measure(
        "anisotropy",
        "cone",
        "mean cosine of random rows of one language: how narrow its cone is",
        higher_is_better=False,
    ),
    Measure(
        "antihubs",
        "unfound",
        "pivot rows that are among the 10 nearest of no row of another language, counted for each",
        higher_is_better=False,
    ),
)


@dataclass(frozen=True)
class LayerProfile:
    """Every measure for each layer, and the layer that is aligned best.

    A decoder-only language model has no sentence encoder by name: some layer in its middle is the
    implicit one, where translations are nearest, and that is where to align and to read
    [1]_ [2]_. Make a profile by :meth:`of`.

    The best layer is chosen by weak alignment on the dev pairs and reported on the test pairs, so
    that the best of many is not flattered by the choice.

    Parameters
    ----------
    rows : list of dict
        One a layer, in the order given: ``layer``, ``dev`` (weak alignment into the pivot on the
        dev pairs, by which the layer is chosen), and ``before`` and, with an aligner, ``after``,
        each a row of a :class:`posthoc_align.result.Comparison` on the test pairs.
    settings : dict
    warnings : list of str
        What was heard at each layer.

    References
    ----------
    .. [1] K. Hammerl, J. Libovicky, A. Fraser, "Understanding cross-lingual alignment: a survey",
       Findings of ACL (2024), arXiv:2404.06228.
    .. [2] T. Pires, E. Schlinger, D. Garrette, "How multilingual is multilingual BERT?", ACL
       (2019), arXiv:1906.01502.

    Examples
    --------
    Layer 1 has a translation's direction, layer 0 has noise.

    >>> rng = np.random.default_rng(0)
    >>> concepts, noise = rng.normal(size=(80, 4)), rng.normal(size=(2, 160, 4))
    >>> layers = [noise[0], np.vstack([concepts, concepts]) + 0.1 * noise[1]]
    >>> languages, ids = np.repeat(["en", "de"], 80), np.tile(np.arange(80), 2)
    >>> LayerProfile.of(layers, language=languages, pair_id=ids).best_layer
    1
    """

    rows: list[dict[str, Any]]
    settings: dict[str, Any]
    warnings: list[str]

    @classmethod
    def of(
        cls,
        layers: Mapping[Any, Array] | Sequence[Array] | Array,
        *,
        language: Any,
        pair_id: Any,
        pivot: Any = "en",
        label: Any = None,
        split: Any = None,
        aligner: Any = None,
        random_state: int = 0,
    ) -> LayerProfile:
        """Measure each layer, before and, with an aligner, after alignment.

        One layer is read at a time, so that memory maps will do, or a mapping that loads a layer
        when it is asked for. Time a layer: that of :func:`posthoc_align.compare` with one method.

        Parameters
        ----------
        layers : dict of layer -> array, sequence of arrays, or array of shape \
(n_layers, n_samples, n_features)
            The same rows in each layer, pooled to one vector a sentence; layers may differ in
            width. Those of a sequence are called 0, 1, 2, ...
        language, pair_id : array-like of shape (n_samples,)
        pivot : str or int, default="en"
        label : array-like of shape (n_samples,), optional
            Task labels: a head is fitted on the pivot and scored on every language.
        split : array-like of shape (n_samples,), optional
            "test" rows are reported on, "dev" rows choose the layer, all others are anchors. With
            no dev rows a quarter of the other pair ids, at random. None: a quarter of all pair
            ids each for test and dev.
        aligner : estimator, optional
            Fitted anew on each layer: on anchors to choose the layer, on anchors and dev rows to
            report. None: layers as they are.
        random_state : int, default=0

        Returns
        -------
        LayerProfile

        Raises
        ------
        ValueError
            If there are no layers, rows differ in number between layers, the pivot is unknown,
            there are no dev or no test rows, a pair is torn, or a layer cannot be measured (it is
            named).

        Warns
        -----
        UserWarning
            What the comparison says of the best layer.
        """
        names = _names(layers)
        n_rows = check_rows(None, layers[names[0]]).shape[0]
        languages, ids = check_language(language, n_rows), check_pair_id(pair_id, n_rows)
        if languages is None:
            raise ValueError("A layer profile needs the language of each row: pass language=.")
        if pivot not in (known_languages := np.unique(languages).tolist()):
            raise ValueError(
                f"pivot={pivot!r} is not among the languages {known_languages}: name one of them."
            )
        parts = _parts(split, languages, ids, pivot, random_state)
        known = {"language": languages, "pair_id": ids, "pivot": pivot, "label": label}
        rows, notes = [], []
        for name in names:
            X = upcast(check_rows(None, layers[name], name=f"layer {name}"))
            if X.shape[0] != n_rows:
                raise ValueError(
                    f"Layer {name!r} has {X.shape[0]} rows and layer {names[0]!r} has {n_rows}: "
                    "pass the same rows of every layer."
                )
            try:
                fitted = _fitted(X, aligner, parts == _TRAIN, known)
                dev = _chosen_by(X, fitted, parts == _DEV, known)
                row, heard = _reported(X, aligner, parts, random_state, known)
                row["before"]["values"] |= _geometry(X, None, parts == _TEST, known)
                if aligner is not None:
                    row["after"]["values"] |= _geometry(X, fitted, parts == _TEST, known)
            except ValueError as error:
                raise ValueError(f"Layer {name!r} cannot be measured: {error}") from error
            rows.append({"layer": name, "dev": dev, **row})
            notes.append([f"layer {name}: {note}" for note in heard])
        settings = {
            "pivot": pivot,
            "languages": known_languages,
            "rows": n_rows,
            **{f"{part} rows": int(np.sum(parts == part)) for part in (_TRAIN, _DEV, _TEST)},
            "aligner": "none" if aligner is None else " ".join(repr(aligner).split()),
            "random_state": random_state,
        }
        profile = cls(rows, settings, [note for found in notes for note in found])
        for note in notes[rows.index(profile.best)]:
            warnings.warn(note, stacklevel=2)
        return profile

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best layer; of equal ones the first, which costs least to compute."""
        return max(self.rows, key=lambda row: row["dev"])

    @property
    def best_layer(self) -> Any:
        """Name of the layer with the highest weak alignment on the dev pairs."""
        return self.best["layer"]

    @property
    def aligned(self) -> bool:
        """Whether layers were measured after alignment, too."""
        return "after" in self.rows[0]

    @property
    def measures(self) -> list[Measure]:
        """The measures that were taken."""
        taken = {key for row in self.rows for key in row["before"]["values"]}
        return [measure for measure in (*MEASURES, *GEOMETRY) if measure.key in taken]

    @property
    def table(self) -> dict[Any, dict[str, float]]:
        """``table[layer][measure]``: fractions on the test pairs, after alignment if there is any.

        ``pandas.DataFrame.from_dict(profile.table, orient="index")`` makes a data frame of it.
        """
        side = "after" if self.aligned else "before"
        return {row["layer"]: row[side]["values"] for row in self.rows}

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the measures over the layers.

        Parameters
        ----------
        ax : Axes, or as many as there are panels, optional

        Returns
        -------
        LayerProfileDisplay
        """
        from posthoc_align.plots import LayerProfileDisplay

        return LayerProfileDisplay(self).plot(ax=ax)

    def __str__(self) -> str:
        head = ["layer", "dev", *(measure.title for measure in self.measures)]
        lines = [head]
        for name, values in self.table.items():
            row = next(row for row in self.rows if row["layer"] == name)
            cells = [values.get(measure.key) for measure in self.measures]
            lines.append(
                [
                    f"{name}{'*' if name == self.best_layer else ' '}",
                    *("-" if v is None else f"{100 * v:.1f}" for v in (row["dev"], *cells)),
                ]
            )
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        out = [" ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
        how = f"after {self.settings['aligner']}" if self.aligned else "not aligned"
        caption = (
            f"percent; {how}; * best layer, chosen by weak alignment on the dev pairs (dev); all "
            "else on the test pairs"
        )
        return "\n".join([out[0], "-" * len(out[0]), *out[1:], "-" * len(out[0]), caption])


def _names(layers: Any) -> list[Any]:
    """What the layers are called: keys, or places from 0."""
    if not isinstance(layers, Mapping) and getattr(layers, "ndim", 3) != 3:
        raise ValueError(
            f"layers has shape {tuple(layers.shape)}: expected (n_layers, n_samples, n_features), "
            "a sequence of arrays, or a dict of layer -> array."
        )
    if not len(layers):
        raise ValueError("layers is empty: pass the rows of one layer at least.")
    return list(layers) if isinstance(layers, Mapping) else list(range(len(layers)))


def _parts(
    split: Any, languages: np.ndarray, ids: np.ndarray, pivot: Any, random_state: int
) -> np.ndarray:
    """Which rows are anchors, choose the layer, or are reported on; a pair stays whole."""
    n_rows, rng, paired = len(languages), np.random.default_rng(random_state), is_paired(ids)
    parts = np.full(n_rows, _TRAIN, dtype="<U5")
    if split is not None:
        said = np.asarray(split)
        if said.shape != (n_rows,):
            raise ValueError(
                f"split has shape {said.shape} but there are {n_rows} rows: pass one a row."
            )
        for part in (_DEV, _TEST):
            parts[said == part] = part
    missing = [_DEV, _TEST] if split is None else [_DEV] * (_DEV not in parts)
    known = rng.permutation(np.unique(ids[paired & (languages == pivot) & (parts == _TRAIN)]))
    quarter = len(known) // 4
    for i, part in enumerate(missing):
        parts[np.isin(ids, known[i * quarter : (i + 1) * quarter])] = part
    for part in (_DEV, _TEST):
        inside = parts == part
        if not inside.any():
            raise ValueError(
                f"There are no {part} rows: dev pairs choose the layer and test pairs say how good "
                "it is. Name them in split, or pass 8 pairs or more."
            )
        torn = np.intersect1d(ids[inside & paired], ids[~inside & paired])
        if len(torn):
            raise ValueError(
                f"{len(torn)} pair ids have {part} rows and others, first {torn.tolist()[0]!r}: "
                "held-out rows would be translations of anchors. Split by pair_id."
            )
    return parts


def _fitted(X: Array, aligner: Any, anchors: np.ndarray, known: Mapping[str, Any]) -> Any:
    """The aligner, fitted on anchors."""
    at = np.flatnonzero(anchors)
    label = known["label"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit that is reported on says the same again
        return fit_aligner(
            aligner,
            X[index_like(at, X)],
            None if label is None else np.asarray(label)[at],
            language=known["language"][at],
            pair_id=known["pair_id"][at],
        )


def _chosen_by(X: Array, fitted: Any, dev: np.ndarray, known: Mapping[str, Any]) -> float:
    """Weak alignment into the pivot on the dev pairs, mean over the other languages."""
    at, pivot = np.flatnonzero(dev), known["pivot"]
    Z = apply_aligner(fitted, X[index_like(at, X)], known["language"][at])
    found = weak_between(Z, known["language"][at], known["pair_id"][at], pivot=pivot)
    return float(np.mean([row[pivot] for row in found.values() if row[pivot] is not None]))


def _geometry(
    X: Array, fitted: Any, test: np.ndarray, known: Mapping[str, Any]
) -> dict[str, float]:
    """Shape of the space on the test rows, mean over languages."""
    at, pivot = np.flatnonzero(test), known["pivot"]
    languages = known["language"][at]
    Z = apply_aligner(fitted, X[index_like(at, X)], languages)

    def rows(name: Any) -> Array:
        return Z[index_like(np.flatnonzero(languages == name), Z)]

    pool = rows(pivot)
    unfound = [
        hubness(rows(name), pool, k=min(_NEIGHBOURS, pool.shape[0])).antihub_share
        for name in np.unique(languages).tolist()
        if name != pivot
    ]
    return {
        "anisotropy": float(np.mean(list(anisotropy(Z, languages).values()))),
        "antihubs": float(np.mean(unfound)),
    }


def _reported(
    X: Array, aligner: Any, parts: np.ndarray, random_state: int, known: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Rows of the comparison on the test pairs, and what it warns of."""
    chosen = {IDENTITY: "passthrough"} | ({} if aligner is None else {ALIGNED: aligner})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kept in the comparison
        found = compare(X, aligners=chosen, split=parts, random_state=random_state, **known)
    rows = {row["method"]: row for row in found.rows}
    row = {"before": rows[IDENTITY]} | ({} if aligner is None else {"after": rows[ALIGNED]})
    return row, found.warnings
