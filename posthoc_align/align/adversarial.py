"""A map learned from an adversary: make mapped rows look like rows of the other space."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from posthoc_align._arrays import index_like, like, to_host
from posthoc_align.align._map import SpaceMap
from posthoc_align.align._parameters import require_choice, require_number
from posthoc_align.align._training.adversary import Game, Rules, Tensor, play, quality
from posthoc_align.align._training.optimise import Schedule
from posthoc_align.align._transport.clouds import Clouds
from posthoc_align.align._transport.problem import two_clouds
from posthoc_align.linalg import EPS, nearest_isometry

JUDGED = 10_000  # rows of either cloud that a map is judged by, as in MUSE

CHOICES: dict[str, tuple[Any, ...]] = {
    "start": ("identity", "random"),
    "critic": ("mlp", "linear"),
    "cycle_loss": ("squared", "contrastive"),
    "center": (True, False),
}
AT_LEAST_0, POSITIVE, COUNT = "a number >= 0", "a number > 0", "an integer >= 1"
RANGES: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "n_hidden": (Integral, lambda v: v >= 1, COUNT),
    "n_critic": (Integral, lambda v: v >= 1, COUNT),
    "gradient_penalty": (Real, lambda v: 0 <= v < np.inf, AT_LEAST_0),
    "cycle": (Real, lambda v: 0 <= v < np.inf, AT_LEAST_0),
    "temperature": (Real, lambda v: 0 < v < np.inf, POSITIVE),
    "orthogonality": (Real, lambda v: 0 <= v < 1, "a number from 0 up to, but not, 1"),
    "batch_size": (Integral, lambda v: v >= 2, "an integer >= 2"),
    "learning_rate": (Real, lambda v: 0 < v < np.inf, POSITIVE),
    "critic_learning_rate": (Real, lambda v: 0 < v < np.inf, POSITIVE),
    "max_epochs": (Integral, lambda v: v >= 1, COUNT),
    "n_restarts": (Integral, lambda v: v >= 1, COUNT),
    "neighbors": (Integral, lambda v: v >= 1, COUNT),
}


class AdversarialMap(SpaceMap):
    r"""Map one cloud of embeddings onto another without pairs, against a critic.

    A critic c learns to tell rows of y from mapped rows of X; the linear map F learns to mislead
    it [1]_, and a second map G to bring mapped rows back [2]_:

    .. math:: \min_{F,G}\;\max_{c}\;\mathbb{E}\,c(y) - \mathbb{E}\,c(xF)
              + \lambda\,\mathbb{E}\,\ell(xFG,\,x)

    where c has slope 1, which a gradient penalty sees to [3]_. Rows are centred first and mean is
    mapped onto mean. Out of all epochs of all restarts, and the starts themselves, the map is kept
    by which rows of the two clouds are closest to their mutual neighbours; no pairs are needed for
    that either. An epoch costs O(k (n + m) (d^2 + d h + h^2)) for k critic steps a step and h
    hidden units, and judging it O(n m d), for at most 10 000 rows of each; memory is O((n + m) d).

    Parameters
    ----------
    start : {"identity", "random"}, default="identity"
        F to begin with. "identity": for clouds of one encoder, which share their axes. "random":
        another random orthogonal matrix in each restart, for spaces that do not, of any widths.
    critic : {"mlp", "linear"}, default="mlp"
        Two hidden layers, or none as in [2]_. A linear critic sees nothing but the difference of
        the means and is for uncentred rows.
    n_hidden : int, default=64
        Units in each hidden layer.
    n_critic : int, default=5
        Steps of the critic for each step of the maps.
    gradient_penalty : float, default=10.0
        Weight of the squared distance of the critic's slopes from 1. 0: no constraint, as in [2]_,
        which is unstable.
    cycle : float, default=1.0
        :math:`\lambda`. 0: no way back, as in [1]_; G is then of no use.
    cycle_loss : {"squared", "contrastive"}, default="squared"
        :math:`\ell`: squared distance, as a share of the variance, or InfoNCE of the cosines in the
        batch, as in [2]_.
    temperature : float, default=0.1
        Of the contrastive loss.
    orthogonality : float, default=0.01
        :math:`\beta` of the pull :math:`F \leftarrow (1+\beta)F - \beta FF^\top F` after each step
        [1]_. 0: none.
    center : bool, default=True
        Train on centred rows and map mean onto mean. False trains about the origin.
    batch_size : int, default=128
        Rows of either cloud in a batch.
    learning_rate : float, default=0.03
        Of F and G, plain gradient descent on rows scaled to unit variance; falls to zero along
        half a cosine.
    critic_learning_rate : float, default=0.003
        Of the critic, which descends with Adam.
    max_epochs : int, default=30
        Passes over the larger cloud.
    n_restarts : int, default=1
        Games that are played, each with another critic, other batches and, if random, another
        start.
    neighbors : int, default=10
        Neighbourhood of the CSLS that judges; fewer if a cloud has fewer rows.
    verbose : bool, default=False
        Show a progress bar for each game.
    random_state : int, RandomState or None, default=0

    Attributes
    ----------
    forward_matrix_ : ndarray of shape (n_features_in, n_features_out)
        F.
    matrix_ : ndarray of shape (n_features_in, n_features_out)
        The same, the linear part of the map.
    backward_matrix_ : ndarray of shape (n_features_out, n_features_in)
        G; ``inverse_transform`` uses the inverse of F instead.
    mean_in_, mean_out_ : ndarray of shape (n_features_in,), (n_features_out,)
        Zero if not ``center``.
    quality_ : float
        Mean CSLS, 2 cos(x, y) - r(x) - r(y), of mapped rows and their mutual nearest neighbours.
    history_ : dict of str to list of lists of float
        For each restart and by epoch: "quality", which begins with that of the start; "distance",
        how far apart the critic sees the clouds; "cycle", the loss of the way there and back.
    best_restart_, best_epoch_ : int
        Where the map was found; epoch 0 is a start.
    n_iter_ : int
        Epochs of the longest game.
    n_features_in_ : int

    Raises
    ------
    ValueError
        If X or y has fewer than 2 rows, they differ in width with ``start="identity"``, contain
        NaN or infinity, a parameter is out of range, or a linear critic is to judge centred rows.

    Warns
    -----
    ConvergenceWarning
        If no state of training was better than the start, which is then kept, or a game diverged.

    Notes
    -----
    Good for a small improvement on centring, where no pairs can be had and the clouds are of about
    the same content, which the choice of a state presupposes. On SIB-200 (19 languages onto
    English, 800 sentences each, 384 dimensions of one encoder) the defaults take weak alignment
    from 49.2 to 49.7 % and strong alignment from 34.1 to 38.4 % beyond the recipe alone;
    :class:`SelfLearningAligner`, also without pairs, reaches 53.3 and 43.1 %.
    With so few rows the critic learns them by heart and F soon follows noise, the faster the
    larger the steps: published results are of 50 000 word vectors and more. The game is local:
    from random starts it ended at a wrong rotation in all trials, even in three dimensions; for
    unrelated axes take ``WassersteinProcrustes(start="convex")``.

    MUSE judges by the mean cosine of mutual neighbours. That can rise while retrieval falls, as F
    draws rows to where the target is dense, so the neighbourhoods' means are taken off here; in a
    handful of dimensions this tells little.

    References
    ----------
    .. [1] A. Conneau, G. Lample, M. Ranzato, L. Denoyer, H. Jegou, "Word translation without
       parallel data", ICLR 2018.
    .. [2] C. Tien, S. Steinert-Threlkeld, "Bilingual alignment transfers to multilingual alignment
       for unsupervised parallel text mining", ACL 2022.
    .. [3] I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of
       Wasserstein GANs", NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from posthoc_align import AdversarialMap
    >>> X = np.random.default_rng(2).exponential(size=(200, 6))
    >>> turn = np.eye(6)
    >>> turn[:2, :2] = [[0.8, 0.6], [-0.6, 0.8]]
    >>> map_ = AdversarialMap(learning_rate=0.1, max_epochs=15)
    >>> fitted = map_.fit(X, (X @ turn)[::-1])
    >>> bool(np.linalg.norm(fitted.matrix_ - turn) < 0.9 * np.linalg.norm(np.eye(6) - turn))
    True
    """

    requires_pairs: ClassVar[bool] = False

    forward_matrix_: np.ndarray
    backward_matrix_: np.ndarray
    quality_: float
    history_: dict[str, list[list[float]]]

    def __init__(
        self,
        *,
        start: Literal["identity", "random"] = "identity",
        critic: Literal["mlp", "linear"] = "mlp",
        n_hidden: int = 64,
        n_critic: int = 5,
        gradient_penalty: float = 10.0,
        cycle: float = 1.0,
        cycle_loss: Literal["squared", "contrastive"] = "squared",
        temperature: float = 0.1,
        orthogonality: float = 0.01,
        center: bool = True,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        critic_learning_rate: float = 0.003,
        max_epochs: int = 30,
        n_restarts: int = 1,
        neighbors: int = 10,
        verbose: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.start = start
        self.critic = critic
        self.n_hidden = n_hidden
        self.n_critic = n_critic
        self.gradient_penalty = gradient_penalty
        self.cycle = cycle
        self.cycle_loss = cycle_loss
        self.temperature = temperature
        self.orthogonality = orthogonality
        self.center = center
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.critic_learning_rate = critic_learning_rate
        self.max_epochs = max_epochs
        self.n_restarts = n_restarts
        self.neighbors = neighbors
        self.verbose = verbose
        self.random_state = random_state

    @property
    def matrix_(self) -> np.ndarray:
        """The linear part of the map, shape (n_features_in, n_features_out)."""
        return self.forward_matrix_

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit on two clouds whose rows need not correspond; forgets what was seen before.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Source cloud. Training runs where it lies.
        y : array of shape (n_target, n_features_out)
            Target cloud, of any number of rows, of X's kind and on X's device.
        """
        self._check_parameters()
        X, y = two_clouds(self, X, y)
        if self.start == "identity" and X.shape[1] != y.shape[1]:
            raise ValueError(
                f"X has {X.shape[1]} features and y has {y.shape[1]}: start='identity' needs "
                "spaces of equal width. Choose start='random'."
            )
        clouds = Clouds.of(X, y, unit=False)
        self.mean_in_, self.mean_out_ = clouds.mean_x, clouds.mean_y
        if not self.center:
            self.mean_in_, self.mean_out_ = 0 * clouds.mean_x, 0 * clouds.mean_y
        self._train(*self._scaled(clouds))
        return self

    def _scaled(self, clouds: Clouds) -> tuple[Tensor, Tensor]:
        """The clouds as tensors, both divided by the one number that F does not feel."""
        import torch

        offsets = clouds.mean_x - self.mean_in_, clouds.mean_y - self.mean_out_
        total = clouds.spread_x + clouds.spread_y + sum(float(shift @ shift) for shift in offsets)
        scale = (total / sum(len(shift) for shift in offsets)) ** 0.5 or 1.0
        x, y = (
            torch.as_tensor((rows + like(shift, rows)) / scale)
            for rows, shift in zip((clouds.x, clouds.y), offsets, strict=True)
        )
        return x, y

    def _train(self, x: Tensor, y: Tensor) -> None:
        """Play every game and keep the best map of all."""
        random_state = check_random_state(self.random_state)
        sample_x, sample_y = (
            rows[index_like(random_state.permutation(len(rows))[:JUDGED], rows)] for rows in (x, y)
        )

        def judge(forward: Tensor) -> float:
            return quality(sample_x @ forward, sample_y, self.neighbors)

        games = []
        for _ in range(self.n_restarts):
            start = np.eye(x.shape[1], y.shape[1])
            if self.start == "random":
                start = nearest_isometry(random_state.normal(size=start.shape), eps=EPS)[0]
            options = {"verbose": self.verbose}
            games.append(play(x, y, start, self._rules(), judge, random_state, **options))
        self._keep(games)

    def _rules(self) -> Rules:
        return Rules(
            n_hidden=self.n_hidden if self.critic == "mlp" else 0,
            n_critic=self.n_critic,
            gradient_penalty=self.gradient_penalty,
            critic_rate=self.critic_learning_rate,
            cycle=self.cycle,
            temperature=self.temperature if self.cycle_loss == "contrastive" else None,
            orthogonality=self.orthogonality,
            schedule=Schedule(self.batch_size, self.learning_rate, self.max_epochs, patience=1),
        )

    def _keep(self, games: list[Game]) -> None:
        tops = [game.quality[game.best] for game in games]
        self.best_restart_ = int(np.argmax(tops))
        best = games[self.best_restart_]
        self.best_epoch_, self.quality_ = best.best, tops[self.best_restart_]
        self.forward_matrix_, self.backward_matrix_ = to_host(best.forward), to_host(best.backward)
        names = ("quality", "distance", "cycle")
        self.history_ = {name: [getattr(game, name) for game in games] for name in names}
        self.n_iter_ = max(len(game.distance) for game in games)
        n_diverged = sum(game.diverged for game in games)
        if n_diverged:
            warnings.warn(
                f"{n_diverged} of {len(games)} games diverged at a learning rate of "
                f"{self.learning_rate}; the best state before is kept. Choose a smaller "
                "learning_rate, or a larger gradient_penalty.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if not self.best_epoch_:
            warnings.warn(
                f"No state of training was better than the start (quality {self.quality_:.4f}), "
                "which is kept. Give more rows, choose a smaller learning_rate, or do without "
                "this map.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _check_parameters(self) -> None:
        for name, choices in CHOICES.items():
            require_choice(name, getattr(self, name), choices)
        for name, (kind, holds, expected) in RANGES.items():
            require_number(name, getattr(self, name), kind, holds, expected)
        if self.critic == "linear" and self.center:
            raise ValueError(
                "critic='linear' sees nothing but the difference of the means, which center=True "
                "takes away: choose center=False, or critic='mlp'."
            )
