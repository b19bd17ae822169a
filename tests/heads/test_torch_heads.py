"""A torch module is a head like any other: it learns, stays on its device and can be had again."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone

from posthoc_align import AlignedClassifier, AlignedRegressor, LanguageCentering

# Fits take some 300 steps; skorch, which wraps the module, is in no other extra.
pytestmark = [pytest.mark.slow, pytest.mark.extras]


@pytest.fixture(autouse=True)
def _needs_skorch(request):
    if "without_skorch" not in request.node.name:
        pytest.importorskip("skorch")


class Perceptron(torch.nn.Module):
    """What a user would write: made of the numbers of features and of outputs."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_features, 16),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(16, n_outputs),
        )

    def forward(self, X):
        return self.layers(X)


HEADS = {
    "a linear class": lambda: torch.nn.Linear,
    "a class": lambda: Perceptron,
    "a module": lambda: torch.nn.Linear(6, 2),
}


@pytest.fixture(params=list(HEADS))
def head(request):
    torch.manual_seed(0)
    return HEADS[request.param]()


def test_a_module_learns_english_and_works_in_every_language(head, task):
    model = AlignedClassifier(LanguageCentering(), head, missing_label="")
    model.fit(task.X, task.masked, language=task.language)
    assert model.score(task.X, task.y, language=task.language) > 0.95
    proba = model.predict_proba(task.X, language=task.language)
    assert isinstance(proba, np.ndarray)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        model.classes_[proba.argmax(axis=1)], model.predict(task.X, language=task.language)
    )
    raw = AlignedClassifier("passthrough", head, missing_label="").fit(task.X, task.masked)
    assert raw.score(task.X[~task.english], task.y[~task.english]) < 0.9


def test_tensors_stay_tensors_on_their_device(head, task):
    X, y = torch.as_tensor(task.X), torch.as_tensor((task.y == "yes") * 3)
    model = AlignedClassifier(LanguageCentering(), head).fit(X, y, language=task.language)
    found = model.predict(X, language=task.language)
    proba = model.predict_proba(X, language=task.language)
    assert isinstance(found, torch.Tensor)
    assert isinstance(proba, torch.Tensor)
    assert proba.dtype == torch.float64
    assert proba.device == X.device
    assert set(found.tolist()) == {0, 3}
    assert model.score(X, y, language=task.language) > 0.95
    named = AlignedClassifier(LanguageCentering(), head).fit(X, task.y, language=task.language)
    assert set(named.predict(X, language=task.language)) == {"no", "yes"}


def test_a_fit_can_be_had_again_and_leaves_the_random_state_alone(head, task):
    weights = copy.deepcopy(head.state_dict()) if isinstance(head, torch.nn.Module) else {}
    model = AlignedClassifier(LanguageCentering(), head, missing_label="")
    given = {"language": task.language}
    state = torch.get_rng_state()
    first = model.fit(task.X, task.masked, **given).predict_proba(task.X, **given)
    assert torch.equal(torch.get_rng_state(), state)
    second = clone(model).fit(task.X, task.masked, **given).predict_proba(task.X, **given)
    np.testing.assert_array_equal(first, second)
    third = pickle.loads(pickle.dumps(model)).predict_proba(task.X, **given)
    np.testing.assert_array_equal(first, third)
    for name, value in weights.items():
        assert torch.equal(value, head.state_dict()[name])  # a copy was trained


@pytest.mark.parametrize("unit", [1.0, 1e4])
def test_a_module_regresses_targets_of_any_unit(unit, task):
    y = np.where(task.english, unit * task.target, np.nan)
    model = AlignedRegressor(LanguageCentering(), Perceptron, missing_label=np.nan)
    model.fit(task.X, y, language=task.language)
    assert model.score(task.X, unit * task.target, language=task.language) > 0.7
    X = torch.as_tensor(task.X)
    tensor = model.fit(X, torch.as_tensor(y), language=task.language).predict(
        X, language=task.language
    )
    assert isinstance(tensor, torch.Tensor)
    assert tensor.shape == (len(X),)


def test_several_targets_are_regressed_at_once(task):
    y = np.column_stack([task.target, 2 - task.target])
    model = AlignedRegressor(LanguageCentering(), torch.nn.Linear)
    found = model.fit(task.X, y, language=task.language).predict(task.X, language=task.language)
    assert found.shape == y.shape
    assert model.score(task.X, y, language=task.language) > 0.5


def test_a_net_of_skorch_keeps_its_own_options(task):
    import skorch

    net = skorch.NeuralNetClassifier(
        torch.nn.Linear(6, 2),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=7,
        train_split=None,
        verbose=0,
    )
    model = AlignedClassifier(LanguageCentering(), net, missing_label="")
    model.fit(task.X, task.masked, language=task.language)
    assert len(model.head_.net_.history) == 7
    assert model.score(task.X, task.y, language=task.language) > 0.9
    assert not hasattr(net, "module_")
    assert model.get_params()["head__lr"] == 0.05  # which a search may go over
    regressor = skorch.NeuralNetRegressor(
        torch.nn.Linear(6, 1), max_epochs=3, train_split=None, verbose=0
    )
    fitted = AlignedRegressor(LanguageCentering(), regressor)
    found = fitted.fit(task.X, task.target, language=task.language).predict(
        task.X, language=task.language
    )
    assert found.shape == task.target.shape


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_module_of_another_number_of_outputs_is_refused_before_it_is_trained(n_outputs, task):
    says = rf"answers \(32, {n_outputs}\) to 32 rows; expected is \(32, 2\).*class of module, which"
    with pytest.raises(ValueError, match=says):
        AlignedClassifier("passthrough", torch.nn.Linear(6, n_outputs)).fit(task.X, task.y)
    y = np.column_stack([task.target, task.target])
    with pytest.raises(ValueError, match=says):
        AlignedRegressor("passthrough", torch.nn.Linear(6, n_outputs)).fit(task.X, y)


def test_a_net_of_another_number_of_outputs_is_refused(task):
    import skorch

    net = skorch.NeuralNetClassifier(
        torch.nn.Linear(6, 9),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=1,
        train_split=None,
        verbose=0,
    )
    with pytest.raises(ValueError, match="answers 9 probabilities a row, but y has 2 classes"):
        AlignedClassifier("passthrough", net).fit(task.X, task.y)


def test_a_module_of_another_width_is_refused(task):
    says = "Linear, cannot read aligned rows of 6 columns: .*Give one of 6 inputs and 2 outputs"
    with pytest.raises(ValueError, match=says):
        AlignedClassifier("passthrough", torch.nn.Linear(7, 2)).fit(task.X, task.y)
    lazy = AlignedClassifier(LanguageCentering(), torch.nn.LazyLinear(2))  # takes any width
    lazy.fit(task.X, task.y, language=task.language)
    assert lazy.score(task.X, task.y, language=task.language) > 0.95


def test_a_fit_on_the_host_sets_the_seed_of_no_gpu(monkeypatch, task):
    # Before CUDA is first used a seed given to all GPUs would wait for it.
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    AlignedClassifier("passthrough", torch.nn.Linear).fit(task.X, task.y)
    assert seeded == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_fit_leaves_the_random_state_of_gpus_alone_and_can_be_had_again(device, task):
    X = torch.as_tensor(task.X, device=device)
    model = AlignedClassifier("passthrough", Perceptron)
    torch.cuda.manual_seed_all(5)
    states = torch.cuda.get_rng_state_all()
    first = model.fit(X, task.y).predict_proba(X)
    for before, after in zip(states, torch.cuda.get_rng_state_all(), strict=True):
        assert torch.equal(before, after)
    torch.rand(3, device="cuda")
    torch.testing.assert_close(clone(model).fit(X, task.y).predict_proba(X), first)


def test_one_class_is_not_enough(task):
    with pytest.raises(ValueError, match="one class only, 'yes': a head needs two or more"):
        AlignedClassifier("passthrough", torch.nn.Linear).fit(task.X, ["yes"] * len(task.X))


def test_a_module_without_skorch_names_what_to_install_without_skorch(monkeypatch, task):
    monkeypatch.setitem(sys.modules, "skorch", None)
    with pytest.raises(ImportError, match=r'pip install "posthoc-align\[heads\]"'):
        AlignedClassifier("passthrough", torch.nn.Linear).fit(task.X, task.y)


def test_a_batch_is_taken_by_one_index():
    from skorch.dataset import Dataset

    from posthoc_align.heads._torch import batches

    class Counting(Dataset):
        asked = 0

        def __getitem__(self, i):
            self.asked += 1
            return super().__getitem__(i)

    data = Counting(torch.arange(10.0)[:, None], torch.arange(10))
    parts = list(batches(data, batch_size=4, shuffle=True))
    assert data.asked == 3
    assert sorted(torch.cat([y for _, y in parts]).tolist()) == list(range(10))
    assert all(torch.equal(x[:, 0], y.float()) for x, y in parts)
