"""Several texts side by side: the same texts in the same order, whatever their lengths, and an error in its place."""

from __future__ import annotations

import json

import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.engines.tuning import Tuning
from depcli.errors import BadInput, DepError, Incompatible, MissingDependency
from depcli.records import Sampling

THREE = Tuning(parallel=3)


@pytest.fixture(scope="module")
def side_by_side(tiny_backbone):
    with load("llamacpp", find(str(tiny_backbone)), exact=True, tuning=THREE) as engine:
        yield engine


@pytest.fixture
def asked(soft):
    """Prompts of many lengths, texts of many lengths: wherever one ends, another begins."""
    lengths = [5, 1, 30, 12, 2, 2, 40, 1, 9, 17]
    prompts = [soft("the plot " * (1 + i * 7 % 60), i % 4 + 1, "of it") for i in range(len(lengths))]
    return [(prompt, Sampling(temperature=0, max_new_tokens=n)) for prompt, n in zip(prompts, lengths, strict=True)]


def test_the_same_texts_in_the_same_order_as_one_by_one(llama, side_by_side, asked):
    alone = list(llama.generate(asked))
    together = list(side_by_side.generate(asked))
    assert [done.tokens for done in together] == [done.tokens for done in alone]
    assert [(done.text, done.finish, done.prompt_tokens) for done in together] == [
        (done.text, done.finish, done.prompt_tokens) for done in alone
    ]


def test_more_texts_than_positions_of_a_prompt_are_evaluated_at_once(llama, tiny_backbone, soft):
    asked = [(soft(f"number {i}"), Sampling(temperature=0, max_new_tokens=2)) for i in range(130)]
    with load("llamacpp", find(str(tiny_backbone)), exact=True, tuning=Tuning(parallel=130)) as engine:
        together = [done.tokens for done in engine.generate(asked)]
    assert together == [done.tokens for done in llama.generate(asked)]


def test_a_run_can_be_repeated_with_drawn_texts_and_a_schema(side_by_side, soft):
    schema = json.dumps(
        {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["n"],
            "additionalProperties": False,
        }
    )
    requests = [
        (soft(f"say {i}"), Sampling(temperature=1.0, seed=i, max_new_tokens=30, schema=schema if i % 2 else None))
        for i in range(7)
    ]
    first, second = (list(side_by_side.generate(requests)) for _ in range(2))
    assert [done.tokens for done in first] == [done.tokens for done in second]
    assert len({done.text for done in first[::2]}) == 4
    for done in first[1::2]:
        assert 1 <= json.loads(done.text)["n"] <= 9


def test_an_error_comes_after_what_was_asked_before_it_and_harms_nobody(side_by_side, asked, soft):
    expected = [done.tokens for done in side_by_side.generate(asked)]
    too_long = (soft("the plot " * 3000), Sampling(max_new_tokens=5))
    done = []
    with pytest.raises(BadInput, match="holds"):
        for completion in side_by_side.generate([*asked[:4], too_long, *asked[4:]]):
            done.append(completion.tokens)
    assert done == expected[:4]
    assert [completion.tokens for completion in side_by_side.generate(asked)] == expected


@pytest.mark.parametrize("ask", ["a text", "a long text", "a refused text", "a likelihood", "logits"])
def test_what_the_engine_is_asked_to_make_a_request_shows_in_no_text(side_by_side, asked, soft, ask):
    expected = [done.tokens for done in side_by_side.generate(asked)]
    other = soft("Un très bon disque, très doux. " * 9)
    ways = {
        "a text": lambda: list(side_by_side.generate([(other, Sampling(max_new_tokens=9, seed=i)) for i in range(4)])),
        "a long text": lambda: list(side_by_side.generate([(other, Sampling(max_new_tokens=1100))])),
        "a refused text": lambda: pytest.raises(BadInput, list, side_by_side.generate([(other, Sampling(max_new_tokens=5000))])),
        "a likelihood": lambda: side_by_side.likelihood(other, "x" * 1100, 2000),
        "logits": lambda: side_by_side.next_logits(other),
    }

    def made():
        for request in asked:
            ways[ask]()
            yield request

    side_by_side._llama.close()  # so that a long text needs more memory
    assert [done.tokens for done in side_by_side.generate(made())] == expected


def test_what_fails_under_way_while_the_engine_is_asked_ends_the_others_too(side_by_side, asked, soft, monkeypatch):
    expected = [done.tokens for done in side_by_side.generate(asked)]

    def fail(tokens):
        raise DepError("llama.cpp failed")

    def made():
        yield asked[2]
        with monkeypatch.context() as patch:
            patch.setattr(side_by_side._llama, "feed", fail)
            side_by_side.next_logits(soft("other"))
        yield asked[3]

    with pytest.raises(DepError, match=r"llama\.cpp failed"):
        list(side_by_side.generate(made()))  # and no text that goes on from an empty memory
    assert not side_by_side._active
    assert [done.tokens for done in side_by_side.generate(asked)] == expected


def test_texts_that_nobody_waits_for_are_not_written(side_by_side, asked):
    expected = [done.tokens for done in side_by_side.generate(asked)]
    broken_off = side_by_side.generate(asked)
    next(broken_off)
    broken_off.close()
    assert not side_by_side._active
    assert [done.tokens for done in side_by_side.generate(asked)] == expected


def test_requests_are_taken_as_places_become_free(side_by_side, soft):
    taken = []

    def requests():
        for i in range(9):
            taken.append(i)
            yield soft(f"number {i}"), Sampling(temperature=0, max_new_tokens=3)

    for done, _ in enumerate(side_by_side.generate(requests()), start=1):
        assert len(taken) <= done + 2 * THREE.parallel
    assert taken == list(range(9))


def test_options_of_another_engine_are_refused(tiny_backbone):
    backbone = find(str(tiny_backbone))
    for tuning in (THREE, Tuning(kv_type="q8_0"), Tuning(threads=2), Tuning(gpu_layers=0)):
        with pytest.raises(Incompatible, match="for the engine llamacpp"):
            load("transformers", backbone, tuning=tuning)
    with pytest.raises(Incompatible, match="--tensor-parallel is for the engine vllm"):
        load("llamacpp", backbone, tuning=Tuning(tensor_parallel=2))


def test_layers_on_a_gpu_need_a_library_that_can(tiny_backbone):
    import llama_cpp

    if llama_cpp.llama_supports_gpu_offload():
        pytest.skip("this llama-cpp-python has GPU support")
    with pytest.raises(MissingDependency, match="cannot put 4 layers on a GPU"):
        load("llamacpp", find(str(tiny_backbone)), tuning=Tuning(gpu_layers=4))


def test_a_smaller_memory_reads_nearly_the_same(llama, soft):
    """q8_0 keeps eight bits of each key and value: close, and not the same."""
    asked = soft("the plot " * 40, 3, "of it")
    exact = llama.next_logits(asked)
    with (
        load("llamacpp", find("mini"), tuning=Tuning(kv_type="f32")) as whole,
        load("llamacpp", find("mini"), tuning=Tuning(kv_type="q8_0", threads=1)) as small,
    ):
        asked = soft("the plot " * 40, 3, "of it", width=whole.width)
        exact, rounded = whole.next_logits(asked), small.next_logits(asked)
    finite = abs(exact) < 1e30
    difference = abs(exact - rounded)[finite].max()
    assert 0 < difference < 0.1 * exact[finite].std()
