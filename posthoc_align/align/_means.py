"""The subspace in which language means differ, which several methods remove."""

from __future__ import annotations

import warnings

import numpy as np

from posthoc_align.linalg import fix_signs, numerical_rank
from posthoc_align.moments import LanguageMoments


def axes_of_means(
    moments: LanguageMoments, wanted: int, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal axes of the language means about their centre, every language weighing the same.

    Parameters
    ----------
    moments : LanguageMoments
    wanted : int
        Number of axes; fewer, with a warning, if the means differ in no more.
    name : str
        Who asks, for the warning.

    Returns
    -------
    axes : ndarray of shape (n_axes, d)
        Orthonormal, strongest first.
    singular_values : ndarray of shape (min(L, d),)
    centre : ndarray of shape (d,)
        Mean of the means.
    """
    means = np.stack([part.mean for part in moments.values()])
    centre = means.mean(axis=0)
    _, values, axes = np.linalg.svd(means - centre, full_matrices=False)
    found = numerical_rank(
        values, max(means.shape), moments.pooled.eps, scale=size_of_rows(moments)
    )
    if found < wanted:
        warnings.warn(
            f"{name} removes {found} directions instead of {wanted}: the means of the "
            f"{len(means)} languages differ in no more (are two languages the same data, or "
            f"more languages than the {means.shape[1]} dimensions?).",
            stacklevel=4,
        )
    rank = min(wanted, found)
    return (fix_signs(axes[:rank]) if rank else axes[:0]), values, centre


def size_of_rows(moments: LanguageMoments) -> float:
    """How large the numbers are that differences of means were computed from."""
    size = max(float(np.linalg.norm(part.mean)) for part in moments.values())
    pooled = moments.pooled
    if pooled.squares is None and pooled.scatter is None:
        return size
    return max(size, float(np.sqrt(pooled.variance.sum())))


def within_scatter(moments: LanguageMoments) -> np.ndarray:
    """The scatter of rows about the mean of their own language, summed over languages.

    Raises
    ------
    ValueError
        If the moments were taken without it.
    """
    if moments.within is not None:
        return moments.within
    scatters = [part.scatter for part in moments.values() if part.scatter is not None]
    if len(scatters) < len(moments):
        raise ValueError(
            "These moments hold no scatter within languages, which this method needs: take them "
            "with second='within' or 'full', or fit on rows."
        )
    return np.sum(scatters, axis=0)
