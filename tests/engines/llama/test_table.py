"""Text as rows of the embedding table: the numbers are those of token ids, to the last bit, or no rows are used."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.engines.llama import table as llama_table
from depcli.engines.llama.context import LlamaContext
from depcli.engines.llama.model import LlamaModel
from depcli.engines.tuning import USUAL
from depcli.records import Sampling, SoftPrompt, Text, Vectors
from tests.engines.ggufs import told_as, with_table
from tests.tiny import build_tiny_backbone

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
GREEDY = Sampling(temperature=0, max_new_tokens=24)


def logits(model: LlamaModel, *parts) -> np.ndarray:
    with closing(LlamaContext(model, USUAL, exact=True)) as context:
        context.reserve(sum(map(len, parts)) + 1)
        return context.read(context.pieces(parts))[0]


@pytest.fixture
def as_both():
    """as_both(path): logits after token ids, and after what the library's reading of the table makes of them."""

    def read(path: Path, table=None) -> tuple[np.ndarray, np.ndarray]:
        with closing(LlamaModel(path)) as model:
            ids = np.arange(0, model.vocabulary_size, model.vocabulary_size // 100)[:100]
            rows = (table or model.table).rows(ids)
            return logits(model, ids.tolist()), logits(model, rows)

    return read


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_table_gives_the_logits_of_token_ids(dtype, as_both, tmp_path):
    path = with_table(dtype, find("mini").gguf, tmp_path / "mini.gguf")
    (stored,) = (tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == "token_embd.weight")
    assert stored.tensor_type.name == dtype
    tokens, rows = as_both(path)
    assert np.array_equal(tokens, rows)


@pytest.mark.parametrize("architecture", sorted(llama_table.PLAIN))
def test_every_architecture_of_the_list_takes_rows_as_it_takes_tokens(architecture, as_both, tiny_backbone, tmp_path):
    tokens, rows = as_both(told_as(architecture, tiny_backbone / "tiny.gguf", tmp_path / "told.gguf"))
    assert np.array_equal(tokens, rows)
    assert np.ptp(tokens[np.isfinite(tokens)]) > 0.1


def test_one_that_scales_tokens_and_not_rows_has_no_table(as_both, tiny_backbone, tmp_path, monkeypatch):
    path = told_as("gemma3", tiny_backbone / "tiny.gguf", tmp_path / "told.gguf")
    assert llama_table.embedding_table(path, "gemma3") is None
    monkeypatch.setattr(llama_table, "PLAIN", {"gemma3"})
    tokens, rows = as_both(path)
    assert not np.allclose(tokens, rows, atol=0.01)


@pytest.mark.parametrize("architecture", ["gemma", "gemma2", "gemma3", "qwen2"])
def test_soft_tokens_are_what_layers_get_as_with_transformers(architecture, tiny_backbone, tmp_path):
    """Gemma's tables hold embeddings that their layers get sqrt(width) times as long."""
    path = told_as(architecture, tiny_backbone / "tiny.gguf", tmp_path / "told.gguf")
    (table,) = (tensor.data for tensor in gguf.GGUFReader(path).tensors if tensor.name == "token_embd.weight")
    with load("llamacpp", replace(find(str(tiny_backbone)), gguf=path), exact=True) as engine:
        words = "We've seen this before"
        ids, scale = engine._tokenize(words), 1 if architecture == "qwen2" else engine.width**0.5
        soft = SoftPrompt((Text("And now: "), Vectors(np.float32(scale) * table[ids]), Text(", again")), engine.width)
        as_text = engine.next_logits(SoftPrompt((Text("And now: "), Text(words), Text(", again"))))
        np.testing.assert_allclose(engine.next_logits(soft), as_text, rtol=1e-3, atol=2e-3)


def test_the_table_is_found_in_whichever_part_of_a_file_it_is(as_both, tiny_backbone, tmp_path):
    told_as("qwen2", tiny_backbone / "tiny.gguf", tmp_path / "t.gguf", split_max_tensors=5, small_first_shard=True)
    first = min(tmp_path.iterdir())
    assert first.name.startswith("t-00001-of-0000") and not gguf.GGUFReader(first).tensors
    tokens, rows = as_both(first)
    assert np.array_equal(tokens, rows)


def test_the_table_is_that_of_the_weights_in_memory_whatever_the_file_becomes(tiny_backbone, soft, tmp_path):
    prompt, path = soft("We've seen this before. ", 2, "And now:"), tmp_path / "model.gguf"
    shutil.copy(tiny_backbone / "tiny.gguf", path)
    with load("llamacpp", find(str(path)), exact=True) as engine:
        expected = engine.next_logits(prompt)
    with load("llamacpp", find(str(path)), exact=True) as engine:
        os.replace(build_tiny_backbone(tmp_path / "other", seed=5) / "tiny.gguf", path)
        assert np.array_equal(engine.next_logits(prompt), expected)


@pytest.mark.parametrize("table", [True, False], ids=["rows", "in turns"])
def test_text_and_soft_tokens_in_turn_are_read_in_as_few_batches_as_a_text(table, reference, tiny_backbone, soft, monkeypatch):
    if not table:
        monkeypatch.setattr(llama_table, "PLAIN", set())
    prompt = soft(*["We've seen this before. ", 4] * 12, "And now:")
    sizes = []
    with load("llamacpp", find(str(tiny_backbone)), exact=True) as engine:
        decode, at_once = engine._llama._decode, engine._llama._piece

        def counted(values, *where, **wanted):
            sizes.append(len(values))
            decode(values, *where, **wanted)

        monkeypatch.setattr(engine._llama, "_decode", counted)
        engine.next_logits(prompt)
        monkeypatch.undo()
        (found,) = engine.generate([(prompt, GREEDY)])
    assert sum(sizes) == found.prompt_tokens > at_once
    assert len(sizes) == (-(-found.prompt_tokens // at_once) if table else len(prompt.parts))
    (expected,) = reference.generate([(prompt, GREEDY)])
    assert found.tokens == expected.tokens
