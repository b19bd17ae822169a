"""A model file gives the model back, whole, and runs nothing."""

from __future__ import annotations

import importlib.util
import json
import pickle
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import posthoc_align
from posthoc_align import (
    LSAR,
    Blend,
    ContrastiveMap,
    LanguageCentering,
    Layerwise,
    LinearMap,
    PivotAligner,
    Procrustes,
    TransportMap,
    load,
    save,
)
from posthoc_align._array_files import Refused
from posthoc_align._state import known_classes
from posthoc_align.persist import describe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6)) + np.repeat(RNG.normal(size=(3, 6)), 40, axis=0)
LANGUAGE = np.repeat(["en", "de", "fi"], 40)
PAIR_ID = np.tile(np.arange(40), 3)
TOPIC = np.tile(["a", "b"], 60)

CENTRING = LanguageCentering()
NEEDS = {
    "Blend": (LSAR(),),
    "Anchored": (CENTRING,),
    "FrozenAligner": (LanguageCentering().fit(X, language=LANGUAGE),),
    "DoNoHarm": (CENTRING,),
    "AlignedClassifier": (CENTRING,),
    "AlignedRegressor": (CENTRING,),
}
QUICK = {
    "LanguageSubspaceShift": {"to": "en"},
    "ContrastiveMap": {"max_epochs": 2, "random_state": 0},
    "INLP": {"n_rounds": 2},
}


def own_estimators() -> list[Any]:
    """One of each estimator of the library."""
    found = []
    for name, kind in known_classes().items():
        if "." not in name and issubclass(kind, BaseEstimator) and hasattr(kind, "fit"):
            found.append(kind(*NEEDS.get(name, ()), **QUICK.get(name, {})))
    return found


def fitted(estimator: Any) -> tuple[Any, dict[str, Any]]:
    """The estimator fitted in whichever way it takes, and what its transform wants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = {"language": LANGUAGE, "pair_id": PAIR_ID}
        for names in (("language", "pair_id"), ("language",)):
            try:
                target = X[:, 0] if is_regressor(estimator) else TOPIC
                return estimator.fit(X, target, **{n: known[n] for n in names}), {
                    "language": LANGUAGE
                }
            except TypeError:
                continue
        return estimator.fit(X[:40], X[40:80]), {}


def all_estimators() -> list[Any]:
    """One of each, and those that keep scikit-learn's contract, whose parameters differ."""
    path = Path(__file__).parent / "test_contract.py"
    spec = importlib.util.spec_from_file_location("contract", path)
    contract = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contract)
    found = {repr(estimator): estimator for estimator in own_estimators()}
    for estimator in contract.ESTIMATORS:
        if hasattr(estimator, "to"):
            estimator.set_params(to="en")
        found.setdefault(repr(estimator), estimator)
    return list(found.values())


@pytest.fixture(
    scope="module", params=all_estimators(), ids=lambda e: " ".join(repr(e).split())[:60]
)
def known_model(request):
    """A fitted estimator, and what its transform wants."""
    return fitted(clone(request.param))


def require_same_answers(again, model, known):
    assert type(again) is type(model)
    assert repr(again) == repr(model)
    assert sorted(vars(again)) == sorted(vars(model))
    answer = "transform" if hasattr(model, "transform") else "predict"
    before, after = (getattr(m, answer)(X, **known) for m in (model, again))
    if before.dtype.kind == "U":
        assert np.array_equal(before, after)
        return
    # A view of another array comes back compact, which can change the last bit of a product
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-14)


def test_every_estimator_comes_back_as_it_was(known_model, tmp_path):
    model, known = known_model
    save(model, tmp_path / "model.safetensors")
    require_same_answers(load(tmp_path / "model.safetensors"), model, known)


def test_every_estimator_survives_joblib(known_model, tmp_path):
    model, known = known_model
    joblib.dump(model, tmp_path / "model.joblib")
    require_same_answers(joblib.load(tmp_path / "model.joblib"), model, known)


@pytest.mark.extras
def test_every_estimator_survives_skops(known_model):
    """Which types are foreign to skops is told to it, and they are this library's alone."""
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    model, known = known_model
    data = skops.dumps(model)
    own = skops.get_untrusted_types(data=data)
    assert all(name.startswith("posthoc_align.") for name in own)
    require_same_answers(skops.loads(data, trusted=own), model, known)


@pytest.mark.parametrize(
    "dump", ["save", "joblib", pytest.param("skops", marks=pytest.mark.extras)]
)
def test_a_pipeline_fitted_without_languages_survives(dump, tmp_path):
    model = make_pipeline(StandardScaler(), LanguageCentering(), LSAR(), LogisticRegression())
    model.fit(X, TOPIC)
    path = tmp_path / "m"
    if dump == "save":
        save(model, path)
        again = load(path)
    elif dump == "joblib":
        joblib.dump(model, path)
        again = joblib.load(path)
    else:
        skops = pytest.importorskip("skops.io", reason="skops is not installed")
        skops.dump(model, path)
        again = skops.load(path, trusted=skops.get_untrusted_types(file=path))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))


def test_an_unfitted_estimator_comes_back_unfitted(tmp_path):
    save(Blend(LSAR(rank=2), strength=0.5), tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.estimator.rank == 2
    assert again.strength == 0.5
    assert clone(again).fit(X, language=LANGUAGE).transform(X).shape == X.shape


@pytest.mark.parametrize("labels", ["text", "numbers"])
def test_a_pipeline_with_a_head_predicts_as_before(labels, tmp_path):
    y = TOPIC if labels == "text" else (TOPIC == "a").astype(int)
    model = make_pipeline(StandardScaler(), PCA(4), LSAR(), LogisticRegression(C=2.0)).fit(X, y)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert np.array_equal(model.predict_proba(X), again.predict_proba(X))
    assert np.array_equal(model.predict(X), again.predict(X))
    assert again.classes_.dtype == model.classes_.dtype


def test_a_model_loaded_can_be_fitted_on_and_added_to(tmp_path):
    model = LanguageCentering().fit(X[:80], language=LANGUAGE[:80])
    save(model, tmp_path / "m")
    again = load(tmp_path / "m").partial_fit(X[80:], language=LANGUAGE[80:])
    whole = LanguageCentering().fit(X, language=LANGUAGE)
    assert np.allclose(
        again.transform(X, language=LANGUAGE), whole.transform(X, language=LANGUAGE), atol=1e-12
    )


def test_integer_languages_infinities_and_frames_keep_their_types(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"e{i}" for i in range(6)])
    model = LanguageCentering().fit(frame, language=np.repeat([0, 1, 2], 40))
    model.extra_ = {"least": -np.inf, "none": float("nan"), ("a", 1): (True, [np.float32(0.5)])}
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.languages_ == [0, 1, 2]
    assert again.feature_names_in_.tolist() == list(frame.columns)
    assert again.extra_["least"] == -np.inf
    assert np.isnan(again.extra_["none"])
    assert again.extra_["a", 1] == (True, [0.5])


def test_tensors_that_a_transport_keeps_are_saved_and_map_tensors_again(tmp_path):
    x, y = torch.as_tensor(X[:40]), torch.as_tensor(X[40:80])
    model = TransportMap(reg=1.0).fit(x, y)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m").transform(x)
    assert isinstance(again, torch.Tensor)
    assert torch.allclose(again, model.transform(x), atol=1e-12)


def test_an_array_held_twice_is_stored_once_and_its_order_is_kept(tmp_path):
    model = Procrustes().fit(X[:40], X[40:80])
    model.twice_, model.turned_ = model.rotation_, np.asfortranarray(RNG.normal(size=(30, 20)))
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.twice_ is not None
    assert again.turned_.flags.f_contiguous
    assert np.array_equal(again.turned_, model.turned_)
    single = sum(v.nbytes for v in vars(model).values() if isinstance(v, np.ndarray))
    assert describe(tmp_path / "m")["bytes"] < single + model.moments_.cross.nbytes + 200


def test_describe_says_what_is_inside(tmp_path):
    save(LanguageCentering(shrinkage=0.5).fit(X, language=LANGUAGE), tmp_path / "m")
    about = describe(tmp_path / "m")
    assert about["estimator"] == "LanguageCentering(shrinkage=0.5)"
    assert about["languages"] == ["de", "en", "fi"]
    assert about["rows"] == {"de": 40, "en": 40, "fi": 40}
    assert about["versions"]["posthoc_align"] == posthoc_align.__version__
    assert about["bytes"] > 0


class Own(BaseEstimator):
    """An estimator of somebody else."""


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Own(), r"Own is a .*Own, which a model file cannot hold.*joblib"),
        (LanguageCentering, "Only an estimator can be saved; got ABCMeta|got type"),
        (make_pipeline(FunctionTransformer(np.log)), r"steps\[0\]\[1\] is a .*FunctionTransformer"),
        (
            RandomForestClassifier(n_estimators=2).fit(X, TOPIC),
            "RandomForestClassifier is a .*cannot hold",
        ),
        (
            ContrastiveMap(random_state=np.random.RandomState(0)),
            r"ContrastiveMap.random_state is a .*RandomState.* cannot hold",
        ),
        (Blend(LSAR(), strength=1j), "strength is a builtins.complex"),
    ],
    ids=["foreign", "class", "function", "forest", "random state", "complex"],
)
def test_what_a_file_cannot_hold_is_refused_by_name_and_nothing_is_written(model, says, tmp_path):
    (tmp_path / "m").write_text("before")
    with pytest.raises(TypeError, match=says):
        save(model, tmp_path / "m")
    assert (tmp_path / "m").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    save(LSAR(), tmp_path / "m")
    before = (tmp_path / "m").read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("posthoc_align._array_files.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save(LanguageCentering(), tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def rewrite(path: Path, change: Any) -> None:
    """Change the metadata of a file, checksum included unless the change sets one."""
    from safetensors.numpy import save_file

    from posthoc_align.persist import _checksum, _read

    metadata, arrays = _read(path)
    metadata.pop("posthoc_align.checksum")
    change(metadata, arrays)
    metadata.setdefault("posthoc_align.checksum", _checksum(metadata["posthoc_align"], arrays))
    save_file(arrays, path, metadata=metadata)


def with_tree(tree: Any) -> Any:
    def change(metadata: dict[str, str], arrays: Any) -> None:
        metadata["posthoc_align"] = json.dumps({"model": tree})

    return change


MOMENTS = {"object": "Moments", "state": {"count": 1}}
HOSTILE = [
    (lambda m, a: m.update({"posthoc_align.format": "2"}), "version 2 of the format.*upgrade"),
    (lambda m, a: m.update({"posthoc_align.format": "x"}), "does not say in which version"),
    (lambda m, a: m.update({"posthoc_align.checksum": "0" * 64}), "its checksum differs"),
    (with_tree({"object": "os.system", "state": {}}), "class 'os.system', which is not known"),
    (with_tree({"object": ["LSAR"], "state": {}}), "which is not known"),
    (with_tree({"object": "LSAR", "state": []}), "which is not known"),
    (with_tree({"array": "none"}), "array 'none' is missing"),
    (with_tree({"call": "print"}), "which is no value"),
    (with_tree(MOMENTS), "its Moments has other attributes than expected"),
    (with_tree([1, 2]), "holds no estimator but a list"),
    (with_tree({"dict": [[[1], 2]]}), "not a model this version can read"),
    (with_tree({"text": ["a"], "shape": [7]}), "not a model this version can read"),
    (
        with_tree({"object": "sklearn.pipeline.Pipeline", "state": {"memory": "/tmp/folder"}}),
        "caches in a folder",
    ),
    (lambda m, a: m.update({"posthoc_align": "[" * 100_000}), "not a model this version can read"),
    (lambda m, a: m.update({"posthoc_align": "{}"}), "not a model this version can read"),
    (lambda m, a: m.update({"posthoc_align": "null"}), "holds a NoneType where an object belongs"),
]


@pytest.mark.parametrize(("change", "says"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_file_is_refused(change, says, tmp_path):
    save(LSAR().fit(X, language=LANGUAGE), tmp_path / "m")
    rewrite(tmp_path / "m", change)
    with pytest.raises(ValueError, match=says):
        load(tmp_path / "m")


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "[1]", '"x"', "{"])
def test_nothing_is_described_of_a_tree_that_is_none(text, tmp_path):
    save(LSAR(), tmp_path / "m")
    rewrite(tmp_path / "m", lambda m, a: m.update({"posthoc_align": text}))
    for read in (describe, load):
        with pytest.raises(Refused, match=r"m is not a model this version can read"):
            read(tmp_path / "m")


def test_attributes_of_a_file_do_not_reach_the_class(tmp_path):
    state = {"__class__": "x", "__dict__": 1, "rank": 3, "center": True}
    save(LSAR(), tmp_path / "m")
    rewrite(tmp_path / "m", with_tree({"object": "LSAR", "state": state}))
    again = load(tmp_path / "m")
    assert type(again) is LSAR
    assert again.rank == 3


def test_a_parameter_younger_than_the_file_has_its_default(tmp_path):
    save(LanguageCentering(shrinkage=0.5).fit(X, language=LANGUAGE), tmp_path / "m")

    def forget(metadata: dict[str, str], arrays: Any) -> None:
        content = json.loads(metadata["posthoc_align"])
        del (
            content["model"]["state"]["anchor"],
            content["model"]["state"]["moments_"]["state"]["within"],
        )
        metadata["posthoc_align"] = json.dumps(content)

    rewrite(tmp_path / "m", forget)
    again = load(tmp_path / "m")
    assert again.anchor == "origin"
    assert again.transform(X, language=LANGUAGE).shape == X.shape


def test_estimators_of_another_scikit_learn_bring_a_warning(tmp_path):
    save(make_pipeline(StandardScaler(), LSAR()).fit(X), tmp_path / "m")

    def age(metadata: dict[str, str], arrays: Any) -> None:
        content = json.loads(metadata["posthoc_align"])
        content["about"]["versions"]["scikit-learn"] = "0.24.0"
        metadata["posthoc_align"] = json.dumps(content)

    load(tmp_path / "m")  # a warning would be an error here
    rewrite(tmp_path / "m", age)
    with pytest.warns(UserWarning, match=r"scikit-learn 0\.24\.0 fitted.*read differently"):
        load(tmp_path / "m")


def test_savers_of_one_path_do_not_disturb_each_other(tmp_path):
    model = LSAR().fit(X, language=LANGUAGE)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: save(model, tmp_path / "m"), range(60)))
    assert np.array_equal(load(tmp_path / "m").transform(X), model.transform(X))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.filterwarnings("ignore:.*scikit-learn .* fitted")
def test_a_file_of_format_1_still_loads():
    """The file was written when the format was made, and must never be written again."""
    model = load(Path(__file__).parent / "data" / "model_format_1.safetensors")
    rows = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    other = rows[:, ::-1] * [1.0, -1.0] + 3.0  # turned by a quarter, and moved
    centred = model["centring"].transform(other, language="b")
    turned = model["rotation"].transform(centred, language="b")
    np.testing.assert_allclose(turned, rows, atol=1e-12)
    assert model["head"].predict(turned**2).tolist() == ["x", "x", "y", "y"]


def test_embeddings_pickles_and_missing_files_are_told_apart(tmp_path):
    from safetensors.numpy import save_file

    save_file({"embeddings": X}, tmp_path / "e.safetensors")
    with pytest.raises(ValueError, match="holds arrays but no model.*read_embeddings"):
        load(tmp_path / "e.safetensors")
    (tmp_path / "p").write_bytes(pickle.dumps(LSAR()))
    with pytest.raises(ValueError, match="not a complete model file"):
        load(tmp_path / "p")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load(tmp_path / "nowhere")


def test_every_truncation_and_every_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "m"
    save(LanguageCentering().fit(X[:, :2], language=LANGUAGE), path)
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for end in {0, 1, 7, 8, 20, header - 1, header, len(whole) - 1}:
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="complete model file|holds arrays but no model"):
            load(path)
    for at in range(header, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="its checksum differs"):
            load(path)


def loaded_or_refused(path: Path) -> None:
    """Any other error than the refusal, which names the file, fails the test."""
    try:
        model = load(path)
    except Refused as refusal:
        message = str(refusal)
    else:
        message = f"{path} gave a model"
        assert isinstance(model, BaseEstimator)
    assert str(path) in message


@pytest.mark.slow
@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damage_to_a_file_ends_in_anything_but_a_refusal(data, tmp_path):
    path = tmp_path / "fuzzed"
    save(PivotAligner(LinearMap(penalty=1.0)).fit(X, language=LANGUAGE, pair_id=PAIR_ID), path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(raw)
    loaded_or_refused(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["object", "state", "array", "dict", "tuple", "text", "shape", "float"]
            ),
            inner | st.sampled_from(["LSAR", "Moments", "sklearn.pipeline.Pipeline"]),
            max_size=3,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(tree=JSON)
def test_no_tree_ends_in_anything_but_an_estimator_or_a_refusal(tree, tmp_path):
    path = tmp_path / "tree"
    save(LSAR(), path)
    rewrite(path, with_tree(tree))
    loaded_or_refused(path)


def test_nested_estimators_of_layers_survive(tmp_path):
    layers = np.concatenate([X, X[:, ::-1]], axis=1)
    model = Layerwise(LanguageCentering(), n_layers=2).fit(layers, language=LANGUAGE)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert np.array_equal(
        model.transform(layers, language=LANGUAGE), again.transform(layers, language=LANGUAGE)
    )
