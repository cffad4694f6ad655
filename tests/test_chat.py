"""Chat formats as models bring them."""

from __future__ import annotations

import pytest

from depcli.chat import Chat
from depcli.errors import BadInput

LINES = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</turn>\n{% endfor %}{% if add_generation_prompt %}<answer>{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + LINES


def test_a_format_without_system_messages_gets_the_text_before_the_users():
    assert Chat(LINES, "</turn>").render("Be brief.", "Hello.") == "<system>Be brief.</turn>\n<user>Hello.</turn>\n<answer>"
    assert Chat(NO_SYSTEM, "</turn>").render("Be brief.", "Hello.") == "<user>Be brief.\n\nHello.</turn>\n<answer>"


def test_a_format_that_leaves_system_messages_out_gets_the_text_too():
    silent = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<answer>"
    assert Chat(silent, "</turn>").render("Be brief.", "Hello.") == "<user>Be brief.\n\nHello.\n<answer>"


def test_a_digest_is_of_what_stands_around_the_messages():
    own = Chat(LINES, "</turn>").digest()
    assert Chat("{# another way to write it #}" + LINES.replace("m.role", "m['role']"), "</turn>").digest() == own
    others = [LINES.replace("<answer>", "<answer> "), LINES.replace("</turn>", "<end>"), NO_SYSTEM]
    assert len({own, Chat(LINES, "<end>").digest(), *(Chat(one, "</turn>").digest() for one in others)}) == 5


def test_a_format_that_takes_no_prompt_at_all_is_refused():
    with pytest.raises(BadInput, match="refused the prompt: never") as error:
        Chat("{{ raise_exception('never') }}", "").render("a", "b")
    assert error.value.hint


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ nothing.at.all }}", "{{ 1 / 0 }}", "{{ messages + 1 }}", "{{ messages | no_such_filter }}"]
)
def test_a_template_that_jinja_cannot_use_is_bad_input(template):
    with pytest.raises(BadInput, match="cannot be used"):
        Chat(template, "").render("a", "b")


def test_what_a_template_marks_as_the_answer_stands_there():
    template = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %};{% endfor %}"
    assert Chat(template, "").render("a", "b") == "a;b;"


def test_a_model_that_thinks_is_told_not_to():
    thinking = LINES + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    assert Chat(thinking, "").render("a", "b").endswith("<answer><think></think>")


def test_a_thought_that_a_format_opens_all_the_same_is_closed_unless_one_is_wanted():
    opening = Chat(LINES + "{{ '<think>\\n' }}", "")
    assert opening.render("a", "b").endswith("<answer><think>\n\n</think>\n\n")
    assert opening.render("a", "b", thought=True).endswith("<answer><think>\n")
    assert opening.digest() != Chat(LINES, "").digest()
    plain = Chat("{{ messages[0].content }}|{{ messages[1].content }}", "")
    assert plain.render("a", "What is <think>").endswith("|What is <think>"), "what a person wrote opens nothing"


def test_what_a_format_puts_before_an_answer_stands_at_the_end_of_a_prompt():
    """As gpt-oss and Kimi have it; what is empty but for white space is none."""
    said = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}BEFORE{% endif %}{{ m.content }}{% endfor %}"
    said += "{% if add_generation_prompt %}<assistant>{% endif %}"
    final, thought, space = (Chat(said.replace("BEFORE", put), "") for put in ("<final>", "<think></think>", " "))
    assert final.render("a", "b") == final.render("a", "b", thought=True) == "<system>a<user>b<assistant><final>"
    assert thought.render("a", "b").endswith("<assistant><think></think>")
    asked = Chat(said.replace("BEFORE", "on {{ messages[1].content }}:"), "")
    assert asked.render("a", "b") == "<system>a<user>b<assistant>", "that is about the question"
    assert thought.render("a", "b", thought=True).endswith("<assistant>") and space.render("a", "b").endswith("<assistant>")


@pytest.mark.parametrize(
    ("after", "end"),
    [
        ("</turn>\n", "</turn>"),
        (" </turn></s>", "</turn>"),
        ("\n</s>", "</s>"),
        ("", None),
        ("...", None),
        ("</turn>>x", "</turn>>"),
    ],
)
def test_the_end_of_an_answer_is_the_longest_control_token_that_follows_it(after, end):
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}" + after + "{% endfor %}"
    assert Chat(template, "</s>", specials=("</s>", "</turn>", "</turn>>", "<user>")).end_of_answer() == end
