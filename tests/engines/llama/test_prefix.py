"""What two prompts share is evaluated once, and nobody can tell from the numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.personal.template import Template
from depcli.records import Item, PastReview, Request, Review, Sampling, SoftPrompt, Text, Vectors

GREEDY = Sampling(temperature=0, max_new_tokens=12)


@pytest.fixture(scope="module", params=["tiny", "mini"])
def backbone(request, tiny_backbone):
    return find(str(tiny_backbone) if request.param == "tiny" else "mini")


@pytest.fixture(scope="module", params=[True, False], ids=["exact", "default"])
def used(request, backbone):
    """An engine that has a past."""
    with load("llamacpp", backbone, exact=request.param) as engine:
        engine.exact = request.param
        yield engine


@pytest.fixture
def fresh(backbone, used):
    """fresh(): an engine without a past, of the same kind."""
    opened = []

    def make():
        opened.append(load("llamacpp", backbone, exact=used.exact))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def prompts(width: int) -> list[SoftPrompt]:
    """Prompts that share long and short beginnings, differ in a token or in one number of a soft token, or end in the middle."""
    random = np.random.default_rng(3)
    rows = (random.standard_normal((4, width)) * 0.3).astype(np.float32)
    other = rows.copy()
    other[-1, -1] += np.float32(0.1)
    system = Text("Write the review this user would write. " * 18)
    long, end = Text("A quiet film that grows on you, scene by scene. " * 9), Text(" And now, the review:")
    made = [
        (system, Vectors(rows), long, end),
        (system, Vectors(rows), long, Text(" Something else:")),
        (system, Vectors(other), long, end),
        (system, long, Vectors(rows), end),
        (system, Vectors(rows), long, end),
        (system, Vectors(rows[:2])),
        (Text(system.text + long.text),),
        (Text(system.text + "B" + long.text),),
        (Vectors(rows), system, end),
        (system, long, long, long),
    ]
    return [SoftPrompt(parts, width) for parts in made]


def test_the_logits_are_those_of_an_evaluation_from_scratch_to_the_last_bit(used, fresh):
    made = prompts(used.width)
    alone = []
    for prompt in made:
        engine = fresh()
        alone.append(engine.next_logits(prompt))
        engine.close()
    assert len({logits.tobytes() for logits in alone}) == len(made) - 1  # one of them comes twice
    for i, j in itertools.product(range(len(made)), repeat=2):
        used.next_logits(made[i])
        assert np.array_equal(used.next_logits(made[j]), alone[j]), (i, j)


def test_greedy_texts_are_those_of_an_engine_without_a_past(used, fresh):
    made = prompts(used.width)
    order = [0, 1, 0, 2, 4, 3, 5, 0, 6, 7, 6, 9, 8, 1]
    texts = [done.tokens for done in used.generate((made[i], GREEDY) for i in order)]
    for i, tokens in zip(order, texts, strict=True):
        engine = fresh()
        (done,) = engine.generate([(made[i], GREEDY)])
        assert done.tokens == tokens
        engine.close()


def test_the_shared_beginning_is_not_evaluated_again(used):
    first, second, third = prompts(used.width)[:3]
    parts = [used._tokenize(part.text) if isinstance(part, Text) else part.rows for part in first.parts]

    def reused(prompt):
        used.next_logits(prompt)
        return used.reused

    def whole(*parts):
        """Positions of the pieces that hold nothing else."""
        return sum(map(len, parts)) // used._llama._piece * used._llama._piece

    system, rows, long, end = parts
    used._llama.forget()
    assert reused(first) == 0
    assert reused(second) == len(system) + len(rows) + whole(long)
    assert reused(third) == whole(system) > 0  # one number of a soft token differs
    list(used.generate([(third, GREEDY)]))
    assert reused(third) == sum(map(len, parts))  # all of it, and none of the text
    assert reused(SoftPrompt((first.parts[0], Text(" then")))) == whole(system)  # of a prompt without soft tokens, too


def test_a_template_with_the_item_last_shares_the_whole_history(used):
    past = [
        PastReview(Review("u", f"i{n}", f"Said about number {n}. " * 4), Item(f"i{n}", f"Thing {n}"), None, None, 0)
        for n in range(8)
    ]
    for name, shares in (("compact-user-first", True), ("compact", False)):
        template, lengths = Template(name), []
        for item in ("A Kettle", "The Lamp"):
            parts = template.parts(used.chat, Request("u", Item("new", item)), past)
            used.next_logits(SoftPrompt(parts))
            lengths.append(sum(used.count(part.text) for part in parts))
        least = lengths[1] - used.count("[Item Title] The Lamp<|im_end|>\n<|im_start|>assistant\n") - used._llama._piece
        assert used.reused >= least > 100 if shares else used.reused < 100


def test_an_interruption_anywhere_leaves_nothing_behind(used, fresh, monkeypatch):
    first, second = prompts(used.width)[:2]
    expected = fresh().next_logits(second)
    evaluate = used._llama._evaluate
    for stop, after in itertools.product(range(2), (False, True)):
        left = stop

        def interrupted(*piece, last, after=after):
            nonlocal left
            left -= 1
            if left < 0 and not after:
                raise KeyboardInterrupt
            evaluate(*piece, last=last)
            if left < 0:
                raise KeyboardInterrupt

        used._llama.forget()
        monkeypatch.setattr(used._llama, "_evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            used.next_logits(first)
        monkeypatch.undo()
        assert np.array_equal(used.next_logits(second), expected)


def test_what_is_not_a_number_does_not_reach_the_next_prompt(used, fresh):
    huge = SoftPrompt((Text("a"), Vectors(np.full((2, used.width), 3e38, np.float32)), Text("b")), used.width)
    plain = prompts(used.width)[0]
    try:
        list(used.generate([(huge, GREEDY)]))
    except Exception as error:  # some models make a number of it
        assert "not a number" in str(error)
    assert np.array_equal(used.next_logits(plain), fresh().next_logits(plain))
