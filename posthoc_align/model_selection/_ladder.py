"""What is tried when nobody says what to try: from the simplest aligner to the most elaborate."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import make_pipeline

from posthoc_align.align import (
    LEACE,
    LIR,
    LSAR,
    Blend,
    ConceptWhitening,
    ConsensusAligner,
    LanguageCentering,
    LanguageScaling,
    LanguageWhitening,
    LinearMap,
    PivotAligner,
    Procrustes,
    SelfLearningAligner,
    TransportMap,
)
from posthoc_align.align.identity import Identity

IDENTITY = "identity"


def ladder(pivot: Any, *, paired: bool) -> dict[str, Any]:
    """Return the default candidates by name, the simpler and cheaper before the others.

    What never came near the best of its kind on either corpus of ``docs/methods.md`` is left out,
    and so is :class:`ContrastiveMap`: it takes several times as long as all others together, and
    there came up to the ridge with concepts whitened, not beyond it.

    Parameters
    ----------
    pivot : str or int
    paired : bool
        Whether some rows are known to translate each other.

    Returns
    -------
    dict of str to estimator
    """
    simple = {
        IDENTITY: Identity(),
        "centring": LanguageCentering(),
        "scaling": LanguageScaling(),
    }
    if not paired:
        linear = LinearMap(penalty=3.0)
        return {
            **simple,
            "LSAR": LSAR(),
            "LEACE": LEACE(),
            "LIR": LIR(),
            "whitening": LanguageWhitening(),
            "transport, then linear": PivotAligner(
                TransportMap(reg=0.02, tol=1e-2, out_of_sample=linear), pivot=pivot
            ),
            "self-learning": SelfLearningAligner(pivot=pivot),
        }

    def pivoted(estimator: Any, **options: Any) -> PivotAligner:
        return PivotAligner(estimator, pivot=pivot, **options)

    return {
        **simple,
        "Procrustes": pivoted(Procrustes()),
        "ridge to identity, half strength": pivoted(Blend(LinearMap())),
        "ridge to identity": pivoted(LinearMap()),
        "ridge to identity, centred only": pivoted(LinearMap(), recipe="center"),
        "ridge to identity, concepts whitened": make_pipeline(
            pivoted(LinearMap()), ConceptWhitening()
        ),
        "consensus CCA": ConsensusAligner(method="cca"),
    }
