"""A map trained by gradient: pull translations together, push everything else away."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NoReturn, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from posthoc_align._arrays import (
    Array,
    cast_like,
    check_rows,
    like,
    require_same_place,
    to_host,
    upcast,
)
from posthoc_align._blocks import require_finite
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align._training.forms import FORMS, STARTS, apply_form, rescaled
from posthoc_align.align._training.losses import MARGINS, pair_loss, same_length
from posthoc_align.align._training.optimise import Schedule
from posthoc_align.align._training.pairs import PROJECTIONS, train_map
from posthoc_align.align._training.trained_map import TrainedMap
from posthoc_align.linalg import unit_block
from posthoc_align.moments import Moments

LEAST_HELD_OUT = 8  # a loss over fewer held-out pairs is mostly noise

CHOICES: dict[str, tuple[Any, ...]] = {
    "loss": (*MARGINS, "rcsls", "mse"),
    "form": FORMS,
    "start": STARTS,
    "sides": ("one", "both"),
    "negatives": ("across", "all"),
    "symmetric": (True, False),
    "center": (True, False),
}
RANGES: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "stay_close": (Real, lambda v: 0 <= v < np.inf, "a number >= 0"),
    "temperature": (Real, lambda v: 0 < v < np.inf, "a number > 0"),
    "margin": (Real, lambda v: 0 <= v < np.inf, "a number >= 0, or None"),
    "neighbors": (Integral, lambda v: v >= 1, "an integer >= 1"),
    "rank": (Integral, lambda v: v >= 1, "an integer >= 1"),
    "batch_size": (Integral, lambda v: v >= 2, "an integer >= 2, or None"),
    "learning_rate": (Real, lambda v: 0 < v < np.inf, "a number > 0, or None"),
    "max_epochs": (Integral, lambda v: v >= 1, "an integer >= 1"),
    "validation_fraction": (Real, lambda v: 0 <= v < 1, "a number from 0 up to, but not, 1"),
    "patience": (Integral, lambda v: v >= 1, "an integer >= 1"),
}
OPTIONAL = ("margin", "batch_size", "learning_rate")


class ContrastiveMap(TrainedMap):
    r"""Train a map by gradient so that translations find each other among other rows.

    Minimises :math:`\sum_i\ell(T(x_i),y_i;\text{other rows})+\lambda\lVert T-T_0\rVert^2` over the
    map T, where :math:`T_0` is the map it starts from: "align, but stay close", as
    :class:`LinearMap` does, with a loss that looks at the rows a translation must be told apart
    from. Rows are centred first, mean is mapped onto mean, and similarity is the cosine. An epoch
    costs O(n d^2 + n b d) for n pairs in batches of b; memory is O(n d + b^2).

    Parameters
    ----------
    loss : {"infonce", "additive_margin", "triplet", "rcsls", "mse"}, default="infonce"
        Softmax over the batch [1]_; the same with `margin` taken off true pairs, as in LaBSE
        [2]_; hinge on the hardest negative of the batch [3]_; minus relaxed CSLS [4]_; or squared
        distance to y, which distils a teacher's space.
    form : {"linear", "orthogonal", "spectral", "low_rank", "residual"}, default="linear"
        x C; the same with orthonormal C, or with singular values of at most 1; x (C0 + L R) with
        the start C0 and L R of rank `rank`; or x C0 + tanh(x A) B with `rank` hidden units.
    start : {"identity", "procrustes", "ridge"}, default="identity"
        The map before training. "ridge" is :class:`LinearMap` with its penalty chosen by leave-one
        -out; between spaces of unequal width its prior is zero. "identity" needs equal widths.
    stay_close : float, default=6.0
        :math:`\lambda`: weight of the squared distance of the trained matrices from their start;
        the more pairs, the less it matters.
    sides : {"one", "both"}, default="one"
        "one": X moves and y is left alone. "both": one linear part moves X and y alike [5]_;
        :meth:`transform_target` then maps y.
    negatives : {"across", "all"}, default="all"
        What a row must be told apart from: rows of the other side, which is all that weak alignment
        asks for, or rows of its own side as well, for strong alignment [6]_. Softmax and triplet
        losses only.
    symmetric : bool, default=True
        Let both sides ask; otherwise only X asks. Softmax and triplet losses only.
    temperature : float, default=0.1
        Of the softmax losses.
    margin : float, optional
        None: 0.3 for "additive_margin" and 0.2 for "triplet", as in the papers; 0 for "infonce".
    neighbors : int, default=10
        Size of a neighbourhood for "rcsls".
    rank : int, default=32
        For the forms "low_rank" and "residual".
    center : bool, default=True
        Train on centred rows and map mean onto mean. False trains about the origin.
    batch_size : int or None, default=256
        Pairs in a batch. None: all at once, by plain gradient descent whose step is halved for
        good where the loss rises, as RCSLS is trained; otherwise Adam.
    learning_rate : float, optional
        None: 0.005 for Adam, where it falls to zero along half a cosine; 1.0 for gradient descent.
    max_epochs : int, default=30
        Passes over the pairs at most.
    validation_fraction : float, default=0.0
        Share of the pairs held out to decide when to stop; no share of less than 8 pairs is.
        0: train for ``max_epochs``. Of use where ``stay_close`` is 0; beside a penalty, pairs that
        train are worth more than pairs that watch.
    patience : int, default=5
        Epochs without a lower held-out loss after which to stop. The best state is kept.
    device : str, optional
        Where to train, such as "cuda". None: where X lies.
    verbose : bool, default=False
        Show a progress bar.
    random_state : int, RandomState instance or None, default=None
        Chooses held-out pairs, batches and the start of "low_rank" and "residual".

    Attributes
    ----------
    coef_ : ndarray of shape (n_features_in, n_features_out)
        Linear part; for the form "residual" without the hidden layer.
    matrix_ : ndarray of shape (n_features_in, n_features_out)
        ``coef_``, where the map is linear.
    hidden_in_, hidden_out_ : ndarray of shape (n_features_in, rank), (rank, n_features_out)
        A and B of the form "residual".
    mean_in_, mean_out_ : ndarray of shape (n_features_in,), (n_features_out,)
        Zero if not ``center``.
    history_ : dict of str to list of float
        By epoch: "training", the mean loss with the penalty, and "held_out", the loss of held-out
        pairs without it, which begins with that of the start (empty if none were held out).
    n_iter_ : int
        Epochs run.
    best_epoch_ : int
        Epochs after which the kept state was reached; 0 is the start.
    n_held_out_ : int
        Pairs held out.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If fewer than 2 pairs were given, a parameter is out of range, widths differ where they
        must not, or the device cannot be used.

    Warns
    -----
    ConvergenceWarning
        If training diverged; the best state before is kept, weights are never NaN.

    Notes
    -----
    A cosine knows no length: with such a loss the trained map is scaled so that mapped rows are
    on average as long as their targets. A row equal to the mean has no direction and teaches
    nothing. RCSLS has no least value: unless ``stay_close`` holds it, the map grows with every
    epoch. It looks for neighbours among the training rows, or among ``candidates`` given to
    fit. In [5]_ the published flags make the triplet loss max negative - positive without a
    hinge; here the margin is one.

    References
    ----------
    .. [1] A. van den Oord, Y. Li, O. Vinyals, "Representation Learning with Contrastive
       Predictive Coding", arXiv 1807.03748 (2018).
    .. [2] F. Feng, Y. Yang, D. Cer, N. Arivazhagan, W. Wang, "Language-agnostic BERT Sentence
       Embedding", ACL 2022.
    .. [3] F. Faghri, D. Fleet, J. Kiros, S. Fidler, "VSE++: Improving Visual-Semantic Embeddings
       with Hard Negatives", BMVC 2018.
    .. [4] A. Joulin, P. Bojanowski, T. Mikolov, H. Jegou, E. Grave, "Loss in Translation: Learning
       Bilingual Word Mapping with a Retrieval Criterion", EMNLP 2018.
    .. [5] C. Tien, S. Steinert-Threlkeld, "Bilingual alignment transfers to multilingual alignment
       for unsupervised parallel text mining", ACL 2022.
    .. [6] S. Wu, M. Dredze, "Do Explicit Alignments Robustly Improve Multilingual Encoders?",
       EMNLP 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import ContrastiveMap
    >>> from posthoc_align.metrics import weak_alignment
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> y = X[:, [1, 0, 2, 3]]
    >>> fitted = ContrastiveMap(stay_close=0.0, learning_rate=0.1, random_state=0).fit(X, y)
    >>> weak_alignment(X, y) < 0.3, weak_alignment(fitted.transform(X), y) > 0.9
    (True, True)
    """

    history_: dict[str, list[float]]
    n_iter_: int
    best_epoch_: int
    n_held_out_: int

    def __init__(
        self,
        *,
        loss: str = "infonce",
        form: str = "linear",
        start: str = "identity",
        stay_close: float = 6.0,
        sides: str = "one",
        negatives: str = "all",
        symmetric: bool = True,
        temperature: float = 0.1,
        margin: float | None = None,
        neighbors: int = 10,
        rank: int = 32,
        center: bool = True,
        batch_size: int | None = 256,
        learning_rate: float | None = None,
        max_epochs: int = 30,
        validation_fraction: float = 0.0,
        patience: int = 5,
        device: str | None = None,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.form = form
        self.start = start
        self.stay_close = stay_close
        self.sides = sides
        self.negatives = negatives
        self.symmetric = symmetric
        self.temperature = temperature
        self.margin = margin
        self.neighbors = neighbors
        self.rank = rank
        self.center = center
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, candidates: tuple[Any, Any] | None = None) -> Self:
        """Train on all pairs; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples, n_features_out)
            Row i is the counterpart of row i of X; of X's kind, on X's device.
        candidates : tuple of two arrays, optional
            For "rcsls": rows of X's space and rows of y's among which neighbours are looked for,
            such as two whole vocabularies; unpaired. None: X and y.
        """
        self._check_parameters(candidates)
        X, y = self._check_pairs(X, y, reset=True)
        if X.shape[0] < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 pairs and got {X.shape[0]} "
                f"(n_samples = {X.shape[0]}). Give more rows that translate each other."
            )
        if self.sides == "both" and X.shape[1] != y.shape[1]:
            raise ValueError(
                f"sides='both' needs spaces of equal width; X has {X.shape[1]} features and y has "
                f"{y.shape[1]}. Use sides='one'."
            )
        require_finite(X)
        require_finite(y, name="y")
        spaces = (X, y) if candidates is None else (X, y, *self._check_pools(X, y, candidates))
        self.mean_in_ = Moments.of(X).mean if self.center else np.zeros(X.shape[1])
        self.mean_out_ = Moments.of(y).mean if self.center else np.zeros(y.shape[1])
        means = (self.mean_in_, self.mean_out_) * 2
        x, y, *pools = (
            self._tensor(rows, X, mean) for rows, mean in zip(spaces, means, strict=False)
        )
        pools = pools or [x, y]
        if self.loss == "rcsls" and self.neighbors > min(len(pool) for pool in pools):
            raise ValueError(
                f"neighbors={self.neighbors}, but there are {len(pools[0])} candidates in X's "
                f"space and {len(pools[1])} in y's: choose at most as many."
            )
        self._train(x, y, pools)
        return self

    def _train(self, x: Any, y: Any, pools: list[Any]) -> None:
        """Descend on centred rows, given as tensors where training runs."""
        n_held_out = int(self.validation_fraction * len(x))
        self.n_held_out_ = n_held_out if n_held_out >= LEAST_HELD_OUT else 0
        schedule = self._schedule()
        run, weights = train_map(
            x,
            y,
            pair_loss(
                self.loss,
                pools=pools,
                temperature=self.temperature,
                margin=self.margin,
                symmetric=self.symmetric,
                same_side=self.negatives == "all",
                neighbors=self.neighbors,
            ),
            form=self.form,
            start=self.start,
            rank=self.rank,
            stay_close=self.stay_close,
            both=self.sides == "both",
            n_held_out=self.n_held_out_,
            schedule=schedule,
            random_state=check_random_state(self.random_state),
            verbose=self.verbose,
        )
        if run.diverged:
            warnings.warn(
                f"Training diverged at a learning rate of {schedule.learning_rate} after "
                f"{len(run.training)} epochs; the state after {run.best} epochs is kept. Choose a "
                "smaller learning_rate, or rescale the rows.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.history_ = {"training": run.training, "held_out": run.held_out}
        self.n_iter_, self.best_epoch_ = len(run.training), run.best
        if self.loss in MARGINS and self.form not in PROJECTIONS:  # cosines know no length
            moved = y if self.sides == "both" else x
            weights = rescaled(weights, same_length(apply_form(weights, moved), y))
        self._store({name: to_host(value) for name, value in weights.items()})

    def _schedule(self) -> Schedule:
        rate = self.learning_rate
        if rate is None:
            rate = 5e-3 if self.batch_size else 1.0
        return Schedule(self.batch_size, rate, self.max_epochs, self.patience)

    def _tensor(self, rows: Array, X: Array, mean: np.ndarray) -> Any:
        """Centred rows as a tensor where training runs, in the type X is computed in."""
        import torch

        rows = cast_like(upcast(rows), upcast(X[:1])) - like(mean, X)
        if self.loss == "rcsls":
            rows = unit_block(rows, name=None)
        try:
            return torch.as_tensor(rows, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"device={self.device!r} cannot be used here ({str(error).splitlines()[0]}). Leave "
                "device=None to train where X lies."
            ) from None

    @available_if(lambda self: self.sides == "both")
    def onto_target(self) -> NoReturn:
        """Say why a map that both sides share cannot be folded into one onto the untouched target.

        Raises
        ------
        ValueError
            Always: what moves X to y and back again is the identity.
        """
        raise ValueError(
            "sides='both' moves the target as well, and onto the target as it is such a map would "
            "be the identity. Use it in SharedAligner, or choose sides='one'."
        )

    def _check_pools(self, X: Array, y: Array, candidates: Any) -> tuple[Array, Array]:
        """Candidates of either side as checked rows."""
        pools = []
        for name, rows, pool in zip(
            ("candidates[0]", "candidates[1]"), (X, y), candidates, strict=True
        ):
            pool = check_rows(None, pool, name=name)
            require_same_place(rows, pool, names=("X", name))
            if pool.shape[1] != rows.shape[1]:
                raise ValueError(
                    f"{name} has {pool.shape[1]} features and the rows beside it have "
                    f"{rows.shape[1]}: give rows of the same space."
                )
            require_finite(pool, name=name)
            pools.append(pool)
        return pools[0], pools[1]

    def _check_parameters(self, candidates: Any) -> None:
        for name, choices in CHOICES.items():
            require_choice(name, getattr(self, name), choices)
        for name, (kind, holds, expected) in RANGES.items():
            if getattr(self, name) is not None or name not in OPTIONAL:
                require_number(name, getattr(self, name), kind, holds, expected)
        if self.sides == "both" and self.loss not in MARGINS:
            raise ValueError(
                f"loss={self.loss!r} would shrink two sides that both move to a point: choose "
                f"sides='one', or one of {tuple(MARGINS)}."
            )
        if self.sides == "both" and self.form == "orthogonal":
            raise ValueError(
                "form='orthogonal' with sides='both' turns both spaces alike and changes no "
                "cosine: choose another form, or sides='one'."
            )
        if candidates is not None and (self.loss != "rcsls" or len(candidates) != 2):
            raise ValueError(
                "candidates are a tuple of two arrays and for loss='rcsls' alone: give "
                "(rows of X's space, rows of y's space), or leave them out."
            )
