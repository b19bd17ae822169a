"""Optimal transport: carry one cloud of embeddings onto another without knowing pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from posthoc_align._arrays import Array, check_rows, check_target, like
from posthoc_align._blocks import map_rows
from posthoc_align.align._base import as_array
from posthoc_align.align._map import explained_variance
from posthoc_align.align._on_device import tables_on
from posthoc_align.align._transport.clouds import Clouds, Solution
from posthoc_align.align._transport.potentials import at_place_of, entropic_image, neighbour_image
from posthoc_align.align._transport.problem import (
    check_parameters,
    cost_scale,
    require_equal_width,
    solve,
    temperature,
    two_clouds,
)
from posthoc_align.align.procrustes import Procrustes
from posthoc_align.linalg import unit_block


def transport_plan(X: Any, y: Any, *, label: Any = None, **parameters: Any) -> Array:
    """Return the n x m plan that :class:`TransportMap` fits and does not keep.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    y : array of shape (n_target, n_features)
        Of X's kind, on X's device.
    label : array-like of shape (n_samples,), optional
        As in :meth:`TransportMap.fit`.
    **parameters
        Those of :class:`TransportMap`.

    Returns
    -------
    array of shape (n_samples, n_target)
        Mass sent from each row of X to each row of y: rows sum to ``1 / n_samples``, columns to
        ``1 / n_target`` (nearly so if mini-batches are averaged, not if unbalanced). Of X's kind,
        on its device, in the compute type.

    Examples
    --------
    >>> from posthoc_align.align.transport import transport_plan
    >>> transport_plan([[0.0], [4.0]], [[5.0], [1.0]], method="exact")
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    clouds, solution = TransportMap(**parameters)._solve(X, y, label, whole=True)
    return like(solution.plan(), clouds.x)


class TransportMap(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Carry one cloud of embeddings onto another by optimal transport, without pairs.

    Finds the plan :math:`P \ge 0` of row sums :math:`1/n` and column sums :math:`1/m` that solves

    .. math:: \min_P \sum_{ij} P_{ij} C_{ij}
              + \varepsilon \sum_{ij} P_{ij} \log (n m P_{ij}), \qquad
              C_{ij} = \lVert x_i - y_j\rVert^2 / s

    with :math:`\varepsilon` = ``reg`` (0 for "exact") and s the mean cost, and maps a row to the
    average of the target rows that its mass goes to. Fitting takes memory for about 4.5 arrays of
    n x m in the compute type (5.5 in float64 for "exact") and O(n m) time an iteration, unless
    ``batch_size`` or "low_rank" bounds it; the plan is not kept. ``transform`` works in blocks.

    Parameters
    ----------
    method : {"entropic", "exact", "unbalanced", "low_rank", "gromov"}, default="entropic"
        "entropic": Sinkhorn iterations in the log domain, where the rows lie, in their type.
        "exact": network simplex. It runs on the host's processor in float64 whatever the device
        of X; its time grows somewhat faster than n^2.
        "unbalanced": as "entropic", but rows may send or receive more or less than their share,
        at a price of ``marginal_penalty`` times the Kullback-Leibler divergence of either marginal.
        "low_rank": through ``rank`` points between the clouds [5]_, as "exact" on the host; memory
        is O((n + m) rank). A row moves as its points' means of X and y differ.
        "gromov": Gromov-Wasserstein [6]_, which compares distances within X with distances within
        y; for spaces of different width. Time is O(n^2 m) a step.
    reg : float, optional
        Strength of the entropy, in units of the mean cost if ``scale_cost``; 0.1 if None, 0.005
        for "gromov". Larger is smoother and faster, and draws images towards the mean of y.
    metric : {"sqeuclidean", "cosine"}, default="sqeuclidean"
        "cosine" scales rows of X and y to unit norm, transports them by squared Euclidean cost
        (twice the cosine distance) and scales the images to unit norm again.
    scale_cost : bool, default=True
        Divide the cost by its mean over all n x m pairs ("gromov": either cloud's distances by
        theirs), so that ``reg`` means the same on any data. False leaves the cost as it is.
    marginal_penalty : float, default=1.0
        In units of the mean cost if ``scale_cost`` ("unbalanced").
    class_penalty : float, default=0.1
        Weight of the class regularisation if fit gets ``label``, in units as above.
    rank : int, optional
        Points between the clouds ("low_rank"); 100, or as many as the smaller cloud has, if None.
    batch_size : int, optional
        Average the plans of random batches of this many rows of either cloud [7]_: "entropic",
        "exact" and "unbalanced" in memory for ``batch_size ** 2`` numbers. None: one plan of all.
    n_passes : int, default=10
        How often each row of X is in a batch.
    out_of_sample : map, optional
        A map for pairs, such as ``LinearMap(penalty=3.0)``: a clone of it is fitted on the rows of
        X and their images and does the mapping. None: the rule of the method (see Notes).
    max_iter : int, optional
        Most Sinkhorn iterations (1000 if None), simplex pivots ("exact", ten million), or steps
        ("low_rank" and, at each strength of the entropy, "gromov": 100).
    tol : float, default=1e-4
        What ``error_`` may be. In float32 errors below about 1e-6 cannot be reached.
    n_neighbors : int, default=30
        Anchors that tell where a new row goes.
    random_state : int, RandomState or None, default=0
        Draws mini-batches, and the points that "low_rank" starts from.
    memory_budget : float, optional
        Bytes that fit may take for arrays as large as the plan. None: what is free where they lie.

    Attributes
    ----------
    anchors_ : array of shape (n_target, n_features) or (n_samples, n_features)
        Rows of y relative to ``mean_out_`` where there are potentials, else of X relative to
        ``mean_in_``. Of X's kind, on its device, in the compute type, as are the next two.
    log_weights_ : array of shape (n_target,), unitless
        Of the target anchors ("entropic", "unbalanced"): dual potential over ``temperature_``, less
        the squared norm of the anchor over ``temperature_``, plus the log of its mass.
    images_ : array of shape (n_samples, n_features)
        Image of each source anchor, relative to ``mean_out_`` (where there are no potentials).
    map_ : map
        The fitted clone of ``out_of_sample``, between centred spaces, in place of all above.
    mean_in_, mean_out_ : ndarray of shape (n_features,), (n_features_out,)
        Means of X and y (of their unit rows for "cosine").
    cost_scale_ : float
        s, in the unit of squared distances; 1 if ``scale_cost`` is False, and for "gromov".
    temperature_ : float
        ``reg * cost_scale_``, in the unit of squared distances (where there are potentials).
    cost_ : float
        Sum of :math:`P_{ij} \lVert x_i - y_j\rVert^2`, not divided by ``cost_scale_``; "gromov":
        mean squared difference of (scaled) distances under the plan.
    error_ : float
        Share of the mass that the plan puts in the wrong place; last change of a potential
        ("unbalanced"), of the points ("low_rank") or of the plan ("gromov").
    mass_ : float
        Sum of the plan: 1 but for "unbalanced".
    converged_ : bool
    n_iter_ : int
        Iterations ("entropic": granted, in rounds of 50, as POT may stop within a round and does
        not say where; 1 for "exact", whose pivots POT does not count).
    n_features_in_ : int

    Raises
    ------
    ValueError
        If X and y differ in width (but for "gromov"), lie in different places or have fewer than 2
        rows, contain NaN or infinity (or, with "cosine", a zero row), or a parameter is not known.
    MemoryError
        Before anything large is built, if the plan does not fit into ``memory_budget``.

    Warns
    -----
    ConvergenceWarning
        If ``max_iter`` was too small for ``tol``.

    Notes
    -----
    *New rows.* The entropic map is defined everywhere, from the dual potential g of y [3]_:

    .. math:: T(x) = \sum_j \mathrm{softmax}_j\!\left(
              \frac{g_j - \lVert x-y_j\rVert^2/s}{\varepsilon} + \log b_j\right) y_j

    and at the rows it was fitted on it is the barycentric image. Other plans ("exact", "low_rank",
    mini-batches, ``label``) have no smooth map; here a new row moves as its ``n_neighbors`` nearest
    anchors moved (by image minus anchor), weighted by inverse squared distance, so that an anchor
    goes to its own image [2]_. "gromov" has no common space to move in: ``Procrustes()`` on rows
    and images is its rule, since rotations are what distances within a cloud leave open.

    *What is lost.* Images are averages of target rows: they lie in the convex hull of y, and the
    entropic ones spread less than y, ever less as ``reg`` grows, until all rows go to its mean.

    *When not unique.* The entropic plan is unique; the exact plan need not be (duplicate rows,
    symmetric clouds), and "gromov" and "low_rank" find one of many local optima. Nothing but the
    geometry of the two clouds says which rows belong together: clouds of different content are
    matched wrongly.

    *What helps held-out rows* (MiniLM-L6 embeddings of SIB-200, 19 languages onto English, no
    pairs, 204 test rows; ``benchmarks/quality.py sib200``): after centring 49.2 % retrieve their
    translation; the entropic rule leaves 34.2 %, "exact" gives 51.0 %, and a map close to the
    identity that is fitted on the images 51.9 %: ``reg=0.02, tol=1e-2,
    out_of_sample=LinearMap(penalty=3.0)``.

    References
    ----------
    .. [1] M. Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", NIPS 2013.
    .. [2] S. Ferradans, N. Papadakis, G. Peyre, J.-F. Aujol, "Regularized Discrete Optimal
       Transport", SIAM Journal on Imaging Sciences 7 (2014).
    .. [3] A.-A. Pooladian, J. Niles-Weed, "Entropic estimation of optimal transport maps",
       arXiv:2109.12004 (2021).
    .. [4] G. Peyre, M. Cuturi, "Computational Optimal Transport", Foundations and Trends in Machine
       Learning 11 (2019).
    .. [5] A. Forrow, J.-C. Hutter, M. Nitzan, P. Rigollet, G. Schiebinger, J. Weed, "Statistical
       Optimal Transport via Factored Couplings", AISTATS 2019.
    .. [6] G. Peyre, M. Cuturi, J. Solomon, "Gromov-Wasserstein Averaging of Kernel and Distance
       Matrices", ICML 2016.
    .. [7] K. Fatras, Y. Zine, R. Flamary, R. Gribonval, N. Courty, "Learning with minibatch
       Wasserstein: asymptotic and gradient properties", AISTATS 2020.
    .. [8] N. Courty, R. Flamary, D. Tuia, A. Rakotomamonjy, "Optimal Transport for Domain
       Adaptation", IEEE Transactions on Pattern Analysis and Machine Intelligence 39 (2017).

    Examples
    --------
    >>> from posthoc_align import TransportMap
    >>> X, y = [[0.0, 0.0], [4.0, 0.0]], [[4.0, 1.0], [0.0, 1.0]]
    >>> TransportMap(method="exact").fit(X, y).transform(X)
    array([[0., 1.],
           [4., 1.]])
    """

    requires_pairs: ClassVar[bool] = False
    """Whether row i of y must be the counterpart of row i of X."""

    n_features_in_: int
    anchors_: Array
    mean_in_: np.ndarray
    mean_out_: np.ndarray

    def __init__(
        self,
        *,
        method: Literal["entropic", "exact", "unbalanced", "low_rank", "gromov"] = "entropic",
        reg: float | None = None,
        metric: Literal["sqeuclidean", "cosine"] = "sqeuclidean",
        scale_cost: bool = True,
        marginal_penalty: float = 1.0,
        class_penalty: float = 0.1,
        rank: int | None = None,
        batch_size: int | None = None,
        n_passes: int = 10,
        out_of_sample: Any = None,
        max_iter: int | None = None,
        tol: float = 1e-4,
        n_neighbors: int = 30,
        random_state: Any = 0,
        memory_budget: float | None = None,
    ) -> None:
        self.method = method
        self.reg = reg
        self.metric = metric
        self.scale_cost = scale_cost
        self.marginal_penalty = marginal_penalty
        self.class_penalty = class_penalty
        self.rank = rank
        self.batch_size = batch_size
        self.n_passes = n_passes
        self.out_of_sample = out_of_sample
        self.max_iter = max_iter
        self.tol = tol
        self.n_neighbors = n_neighbors
        self.random_state = random_state
        self.memory_budget = memory_budget

    def fit(self, X: Any, y: Any = None, *, label: Any = None) -> Self:
        """Fit on two clouds whose rows need not correspond; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Source cloud.
        y : array of shape (n_target, n_features)
            Target cloud, of any number of rows, of X's kind and on X's device.
        label : array-like of shape (n_samples,), optional
            Class of each source row, None or NaN where unknown ("entropic"): target rows are then
            pressed to take their mass from one class (reference 8 of the class).
        """
        clouds, solution = self._solve(X, y, label)
        for name in ("anchors_", "log_weights_", "temperature_", "images_", "map_"):
            if hasattr(self, name):  # of another method
                delattr(self, name)
        self.mean_in_, self.mean_out_ = clouds.mean_x, clouds.mean_y
        self.cost_scale_ = cost_scale(self, clouds)
        rule = Procrustes() if self.method == "gromov" else None
        rule = clone(self.out_of_sample) if self.out_of_sample is not None else rule
        if rule is not None:
            self.map_ = rule.fit(clouds.x, like(solution.images, clouds.x))
        elif solution.log_weights is not None:
            self.anchors_ = clouds.y
            self.log_weights_ = like(solution.log_weights, clouds.x)
            self.temperature_ = temperature(self, clouds)
        else:
            self.anchors_, self.images_ = clouds.x, like(solution.images, clouds.x)
        self.cost_, self.error_, self.mass_ = solution.cost, solution.error, solution.mass
        self.n_iter_, self.converged_ = solution.n_iter, solution.converged
        return self

    def transform(self, X: Any) -> Array:
        """Map rows into the target space.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Need not be rows of fit, nor of the kind or on the device of those.

        Returns
        -------
        array of shape (n_samples, n_features_out)
            Of X's kind, type and device.
        """
        check_is_fitted(self)
        X = check_rows(self, X)
        unit = self.metric == "cosine"
        before, after = self._there("mean_in_", "mean_out_", X=X)
        rule = self._rule(X)

        def image(block: Array, rows: slice) -> Array:
            if unit:
                block = unit_block(block, first=rows.start)
            moved = rule(block - before) + after
            return unit_block(moved, name=None) if unit else moved

        with np.errstate(invalid="ignore", over="ignore"):  # map_rows names such rows
            return map_rows(image, X, width=self._n_features_out)

    def _rule(self, X: Array) -> Callable[[Array], Array]:
        """The map of blocks of X between centred spaces, with its tables where X lies."""
        if "map_" in vars(self):
            return self.map_.transform
        if "log_weights_" in vars(self):
            anchors, weights = self._there("anchors_", "log_weights_", X=X)
            heat = self.temperature_
            return lambda block: entropic_image(block, anchors, weights, heat)
        anchors, images = self._there("anchors_", "images_", X=X)
        near = self.n_neighbors
        return lambda block: neighbour_image(block, anchors, images, near)

    def _there(self, *names: str, X: Array) -> list[Array]:
        """Fitted arrays where X lies; those that were fitted elsewhere are copied there once."""
        return tables_on(
            self, X, lambda: [at_place_of(getattr(self, name), X) for name in names], use=names[-1]
        )

    def score(self, X: Any, y: Any) -> float:
        """Share of the variance of y that the mapped X explains (R squared; 1 is perfect).

        Unlike ``fit``, this compares pairs: row i of y must be the counterpart of row i of X.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples, n_features)

        Returns
        -------
        float
            ``1 - sum ||y_i - T(x_i)||^2 / sum ||y_i - mean(y)||^2``; negative if worse than the
            mean.
        """
        mapped = as_array(self.transform(X))
        y = check_target(y, mapped)
        require_equal_width(mapped, y)
        return explained_variance(y, mapped)

    @property
    def _n_features_out(self) -> int:
        return len(self.mean_out_)

    def _solve(
        self, X: Any, y: Any, label: Any = None, *, whole: bool = False
    ) -> tuple[Clouds, Solution]:
        """Check everything, then solve: what `fit` and `transport_plan` share."""
        check_parameters(self, labelled=label is not None)
        X, y = two_clouds(self, X, y)
        if self.method != "gromov":
            require_equal_width(X, y)
        clouds = Clouds.of(X, y, unit=self.metric == "cosine")
        return clouds, solve(self, clouds, label, whole=whole)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags
