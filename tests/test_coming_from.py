"""The page for those who come from other packages: it leaves nothing out, and its calls work."""

from __future__ import annotations

import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "coming_from.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
CALL = re.compile(r"[A-Za-z_][\w.]*\(.*\)$")

VECMAP = """
--supervised --semi_supervised --identical --unsupervised --acl2018 --aaai2018 --acl2017
--acl2017_seed --emnlp2016 --init_dictionary --init_identical --init_numerals --init_unsupervised
--unsupervised_vocab --normalize --whiten --src_reweight --trg_reweight --src_dewhiten
--trg_dewhiten --dim_reduction --orthogonal --unconstrained --self_learning --vocabulary_cutoff
--direction --csls --threshold --validation --stochastic_initial --stochastic_multiplier
--stochastic_interval --seed --cuda --precision --batch_size --encoding --verbose --log
eval_translation.py eval_similarity.py eval_analogy.py
"""
MUSE = """
supervised.py unsupervised.py evaluate.py --n_refinement --dico_train --dico_eval --dico_method
--dico_build --dico_max_rank --dico_threshold --dico_min_size --dico_max_size
--normalize_embeddings --adversarial --n_epochs --epoch_size --map_id_init --map_beta --dis_layers
--dis_hid_dim --dis_steps --dis_clip_weights --dis_lambda --dis_smooth --dis_dropout
--dis_input_dropout --dis_most_frequent --batch_size --map_optimizer --dis_optimizer --lr_decay
--lr_shrink --min_lr --max_vocab --emb_dim --src_emb --export --cuda --seed --verbose --exp_path
"""
SKADA = """
sample_domain make_da_pipeline CORAL LinearOTMapping MultiLinearMongeAlignment OTMapping
EntropicOTMapping ClassRegularizerOTMapping SubspaceAlignment TransferComponentAnalysis
TransferJointMatching TransferSubspaceLearning MMDLSConSMapping ReweightDensity KLIEP JDOTRegressor
DASVMClassifier PerDomain Shared source_target_split SupervisedScorer PredictionEntropyScorer
ImportanceWeightedScorer SourceTargetShuffleSplit LeaveOneDomainOut MaximumMeanDiscrepancy
"""

QUICK = {"max_epochs": 1, "max_iter": 10}  # what is wrong with a parameter shows at once


def rows(section: str) -> list[list[str]]:
    """The cells of each line of a section's table, its head left out."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


ROWS = [row for section in SECTIONS.values() for row in rows(section)]
CALLS = sorted(
    {span for row in ROWS for cell in row[1:] for span in re.findall(r"`([^`]+)`", cell)}
)
CALLS = [span for span in CALLS if CALL.match(span)]


@pytest.fixture(scope="module")
def names():
    """What the first block of the page brings, with rows few and narrow enough to be quick."""
    found: dict[str, object] = {}
    exec(compile(BLOCKS[0], "coming_from.md", "exec"), found)
    few = np.isin(found["pair_id"], np.unique(found["pair_id"])[::12])
    for name in ("X", "language", "pair_id", "topic"):
        found[name] = found[name][few]
    found["X"] = found["X"][:, :6].astype(np.float64)
    found["de"], found["en"] = (found["X"][found["language"] == code] for code in ("de", "en"))
    found["topic"] = np.where(found["language"] == "en", found["topic"], "")
    return found


@pytest.mark.slow
def test_its_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    turn = np.random.default_rng(0).normal(size=(30, 3))
    for code, vectors in {"de": turn, "en": turn[:, ::-1]}.items():
        lines = [f"{code}{i} {' '.join(map(str, row))}" for i, row in enumerate(vectors)]
        Path(f"{code}.vec").write_text("\n".join(["30 3", *lines]))
    Path("de-en.txt").write_text("".join(f"de{i} en{i}\n" for i in range(20)))
    known: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "coming_from.md", "exec"), known)
    assert known["mapped"].shape == (30, 3)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_call_it_names_runs_and_its_estimator_fits(call, names, tmp_path, monkeypatch):
    """A parameter that is misspelt raises when it is made, a wrong value when it is fitted."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few rows have their warnings
        made = eval(call, dict(names))
        if not hasattr(made, "fit") or hasattr(made, "n_features_in_"):
            return
        fit(made, names)


def fit(made, names):
    """Fit on the data of the page, in the way that the estimator asks for."""
    own = made.get_params(deep=False)
    made.set_params(**{name: most for name, most in QUICK.items() if name in own})
    asked = inspect.signature(made.fit).parameters
    steps = [step for _, step in getattr(made, "steps", ())]
    if steps:
        fit(steps[0], names)
        return
    if "language" not in asked:
        made.fit(names["de"], names["en"])
        return
    known = {"language": names["language"]}
    if "pair_id" in asked:
        known["pair_id"] = names["pair_id"]
    if "label" in asked and "pair_id" not in asked:
        known["label"] = names["topic"]
    needs_target = "Regressor" in type(made).__name__
    made.fit(names["X"], names["X"][:, 0] if needs_target else names["topic"], **known)


def test_every_line_has_their_option_a_call_here_or_a_word_why_not():
    assert len(ROWS) > 80
    for theirs, here, why in ROWS:
        assert theirs
        assert "`" in here or here in ("the same", "none", "none to set"), theirs
        if here == "none":
            assert why or "dropout" in theirs, f"{theirs}: none, and no word why"


@pytest.mark.parametrize(
    ("section", "options"), [("VecMap", VECMAP), ("MUSE", MUSE), ("skada", SKADA)]
)
def test_no_option_of_theirs_is_left_out(section, options):
    cells = " ".join(row[0] for row in rows(SECTIONS[section]))
    missing = [option for option in options.split() if not re.search(rf"{option}\b", cells)]
    assert not missing


def test_no_class_of_pot_for_domain_adaptation_is_left_out():
    da = pytest.importorskip("ot.da")
    classes = [
        name
        for name, thing in vars(da).items()
        if inspect.isclass(thing) and thing.__module__ == "ot.da" and name != "BaseTransport"
    ]
    (section,) = (text for title, text in SECTIONS.items() if "ot.da" in title)
    assert len(classes) > 8
    assert [name for name in classes if name not in section] == []
