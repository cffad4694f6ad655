"""What every engine promises, checked on each."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.errors import BadInput, Incompatible, MissingDependency, NotFound
from depcli.records import Sampling, SoftPrompt, Text, Vectors
from tests.engines.marks import VLLM

GREEDY = Sampling(temperature=0, max_new_tokens=24)


@pytest.fixture(params=["reference", "llama", pytest.param("vllm", marks=VLLM)])
def engine(request):
    return request.getfixturevalue(request.param)


def test_one_request_leaves_nothing_for_the_next(engine, soft):
    first, second = soft("We've seen", 3, "this before " * 30), soft("not my", 1, "thing")
    (alone,) = engine.generate([(second, GREEDY)])
    after = list(engine.generate([(first, GREEDY), (second, GREEDY), (second, GREEDY)]))
    assert after[1].tokens == after[2].tokens == alone.tokens != after[0].tokens


def test_seeds_repeat_and_differ(engine, soft):
    prompt = soft("the songs are", 2)
    draws = [Sampling(temperature=1.0, max_new_tokens=24, seed=seed) for seed in (1, 2, 1)]
    one, two, again = (completion.tokens for completion in engine.generate([(prompt, sampling) for sampling in draws]))
    assert one == again != two


def test_soft_tokens_and_their_order_matter(engine, soft):
    rows = soft(2).parts[0].rows
    prompts = [SoftPrompt((Text("film "), Vectors(np.ascontiguousarray(r)), Text(" said")), 64) for r in (rows, rows[::-1])]
    first, second, without = (c.tokens for c in engine.generate([(p, GREEDY) for p in (*prompts, soft("film  said"))]))
    assert first != second and first != without


def test_streamed_pieces_add_up_and_hold_whole_characters(engine, soft):
    streamed_bytes = 0
    for seed in range(4):
        pieces = []
        sampling = Sampling(temperature=1.5, top_p=1.0, max_new_tokens=200, seed=seed)
        (completion,) = engine.generate([(soft("映画 🎉", 1), sampling)], pieces.append)
        assert "".join(pieces) == completion.text
        assert len(pieces) > 1 and all(pieces)
        streamed_bytes += len(completion.text.encode())
    assert streamed_bytes > 400  # a random model writes many broken characters: the hard case


def test_a_batch_of_requests_streams_in_order(engine, soft):
    pieces = []
    requests = [(soft(f"number {i} of", 1), GREEDY) for i in range(3)]
    completions = list(engine.generate(requests, pieces.append))
    assert "".join(pieces) == "".join(completion.text for completion in completions)


def test_requests_are_taken_lazily(engine, soft):
    taken = []

    def requests():
        for i in range(40):
            taken.append(i)
            yield soft(f"request {i}"), Sampling(temperature=0, max_new_tokens=2)

    completions = engine.generate(requests())
    assert not taken
    next(completions)
    assert len(taken) <= (1024 if engine.name == "vllm" else 8)
    completions.close()


def test_no_requests_no_completions(engine):
    assert list(engine.generate([])) == []


def test_stops_at_an_end_token_and_says_so(engine, soft):
    finishes = {}
    for seed in range(60):
        (done,) = engine.generate([(soft("the end"), Sampling(temperature=2.0, top_p=1.0, max_new_tokens=40, seed=seed))])
        assert done.generated_tokens == len(done.tokens) <= 40
        assert not {0, 2} & set(done.tokens) and "<|im_end|>" not in done.text
        assert (done.finish == "length") == (len(done.tokens) == 40)
        finishes[done.finish] = done
        if len(finishes) == 2:
            break
    assert set(finishes) == {"stop", "length"}


def test_vocabulary_padding_is_never_written(engine, soft):
    heat = 2.0 if engine.name == "vllm" else 50.0  # the most that it takes
    (done,) = engine.generate([(soft("x"), Sampling(temperature=heat, top_p=1.0, max_new_tokens=600, seed=3))])
    assert max(done.tokens) < 338 and "PAD" not in done.text


def test_context_overflow_is_refused_with_the_room_left(engine, soft):
    prompt = soft("word " * 60, 3)
    length = engine.count("word " * 60) + 3
    with pytest.raises(BadInput, match=f"{length} tokens") as caught:
        list(engine.generate([(prompt, Sampling(temperature=0, max_new_tokens=2049 - length))]))
    assert caught.value.hint == f"--max-new-tokens {2048 - length}"
    with pytest.raises(BadInput):
        list(engine.generate([(soft("word " * 2000), GREEDY)]))
    (fits,) = engine.generate([(prompt, Sampling(temperature=0, max_new_tokens=2048 - length))])
    assert fits.prompt_tokens == length


def test_foreign_width_is_refused(engine, soft):
    with pytest.raises(Incompatible, match="32 wide.* takes 64"):
        list(engine.generate([(soft("a", 1, width=32), GREEDY)]))


@pytest.mark.parametrize("parts", [(), ("",)])
def test_an_empty_prompt_is_refused(engine, soft, parts):
    with pytest.raises(BadInput, match="empty"):
        list(engine.generate([(soft(*parts), GREEDY)]))


def test_nothing_to_write_is_refused(engine, soft):
    with pytest.raises(BadInput, match="0 new tokens"):
        list(engine.generate([(soft("a"), Sampling(max_new_tokens=0))]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_no_numbers_never_reach_an_engine(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        Vectors(np.array([[1.0, bad]], np.float32))


def test_an_interrupted_request_leaves_a_usable_engine(engine, soft):
    prompt = soft("they'll make", 2, "it again")
    (expected,) = engine.generate([(prompt, GREEDY)])

    def interrupt(_text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.generate([(prompt, GREEDY)], interrupt))
    (after,) = engine.generate([(prompt, GREEDY)])
    assert after.tokens == expected.tokens


def test_a_window_writes_what_each_request_writes_alone(reference, soft):
    lengths = (1, 40, 7, 90, 3, 25, 60, 2, 33, 11)
    prompts = [soft("film " * n, n % 4 + 1, "said") for n in lengths]
    settings = [Sampling(temperature=0.9 * (n % 2), max_new_tokens=5 + n % 30, seed=n) for n in lengths]
    requests = list(zip(prompts, settings, strict=True))
    together = list(reference.generate(requests))
    alone = [next(reference.generate([request])) for request in requests]
    assert [c.tokens for c in together] == [c.tokens for c in alone]
    assert [c.prompt_tokens for c in together] == [c.prompt_tokens for c in alone]
    assert len({len(c.tokens) for c in together}) > 3  # so that the batch shrank on the way


def test_llamacpp_grows_its_memory_and_goes_on(tiny_backbone, soft):
    with load("llamacpp", find(str(tiny_backbone)), exact=True) as engine:
        long = soft("word " * 300, 2)
        short = soft("a", 1)
        (before,) = engine.generate([(short, GREEDY)])
        (grown,) = engine.generate([(long, GREEDY)])
        assert before.prompt_tokens < 100 and grown.prompt_tokens > 1024
        (after,) = engine.generate([(short, GREEDY)])
        assert after.tokens == before.tokens


def test_default_precision_works_and_closing_twice_is_fine(tiny_backbone, soft):
    engine = load("llamacpp", find(str(tiny_backbone)))
    (done,) = engine.generate([(soft("a", 1), GREEDY)])
    assert done.generated_tokens
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(engine.generate([(soft("a"), GREEDY)]))


def test_llamacpp_without_gpu_support_refuses_cuda(tiny_backbone):
    import llama_cpp

    if llama_cpp.llama_supports_gpu_offload():
        pytest.skip("this llama-cpp-python has GPU support")
    with pytest.raises(MissingDependency, match="without GPU"):
        load("llamacpp", find(str(tiny_backbone)), device="cuda")


def test_unknown_engine(tiny_backbone):
    with pytest.raises(NotFound, match="no engine 'lama'") as caught:
        load("lama", find(str(tiny_backbone)))
    assert "llamacpp" in caught.value.hint


def test_damaged_gguf_is_bad_input_and_says_why(tmp_path, tiny_backbone, capfd):
    whole = (tiny_backbone / "tiny.gguf").read_bytes()
    for content in (b"", b"not a gguf at all", whole[:5000], whole[:-4000]):
        path = tmp_path / "broken.gguf"
        path.write_bytes(content)
        with pytest.raises(BadInput, match="broken.gguf: .+"):
            load("llamacpp", find(str(path)))
    assert capfd.readouterr() == ("", "")


def test_vllm_says_what_to_install(tiny_backbone):
    if find_spec("vllm"):
        pytest.skip("it is installed")
    with pytest.raises(MissingDependency, match="needs the package vllm") as caught:
        load("vllm", find(str(tiny_backbone)))
    assert caught.value.hint == 'pip install "depcli[vllm]"'
