"""How a backbone is spoken to: its chat format, in which user text is data."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import TemplateError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from depcli.errors import BadInput
from depcli.thought import THOUGHT, ends_open

# What must not reach a tokenizer from user text: controls (but tab and newline), surrogates, noncharacters.
_ANSWER, _SYSTEM = "an answer", "an instruction"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef]")


@dataclass(frozen=True)
class Chat:
    """The chat format of a backbone: its Jinja chat template, and the strings that end a turn or carry meaning.

    `specials` are the strings that its tokenizer reads as control tokens: user text must not contain them.
    """

    template: str
    end: str
    bos: str = ""
    specials: tuple[str, ...] = ()

    def render(self, system: str, user: str, *, thought: bool = False) -> str:
        """The prompt string up to where the answer begins. Where a format has no system message, its text stands before the
        user's. A model that can think before it answers is told not to; where the format opens a thought all the same it is
        closed at once, unless there may be a `thought`. Raises BadInput."""
        prompt, (header, opened) = self._filled(**self._messages(system, user)), _before_answers(self)
        if not (thought and THOUGHT in header):
            prompt += header
        return prompt if thought or not opened else f"{prompt.rstrip()}\n\n{THOUGHT}\n\n"

    def _messages(self, system: str, user: str) -> dict[str, str]:
        return {"system": system, "user": user} if _takes_system(self) else {"user": f"{system}\n\n{user}"}

    def digest(self) -> str:
        """The same for formats that put the same strings around the same messages, however their templates are written."""
        shown = self.render(_SYSTEM, "a question")
        return hashlib.sha256(f"{shown}\0{self.end}".encode()).hexdigest()[:16]

    def end_of_answer(self) -> str | None:
        """The one of `specials` that follows an answer; None where the template does not tell. (A tokenizer's `eos_token` may be
        the end of a document: Gemma, Phi-3.)"""
        try:
            filled = self._filled(user="a question", assistant=_ANSWER)
        except BadInput:
            return None
        rest = filled.rpartition(_ANSWER)[2].lstrip()
        return max((special for special in self.specials if rest.startswith(special)), key=len, default=None)

    def _filled(self, **messages: str) -> str:
        try:
            return _chat_template(self.template).render(
                messages=[{"role": role, "content": text} for role, text in messages.items()],
                add_generation_prompt="assistant" not in messages,
                bos_token=self.bos,
                eos_token=self.end,
                enable_thinking=False,
            )
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            hint = "mend the chat_template.jinja of its folder, or the one in its GGUF, or use another backbone"
            raise BadInput(f"the backbone's chat template cannot be used: {error}", hint) from error

    def clean(self, text: str | None) -> str:
        """User text made harmless: no controls, no slot marks, no control-token strings (a space breaks those)."""
        text = _UNPRINTABLE.sub("", text or "")
        for special in self.specials:
            text = text.replace(special, special[0] + " " + special[1:])
        return text.strip()


@lru_cache(maxsize=8)
def _takes_system(chat: Chat) -> bool:
    """Whether a format shows a system message; some refuse it, and some leave it out without a word."""
    try:
        return _SYSTEM in chat._filled(system=_SYSTEM, user="a question")
    except BadInput:
        return False


@lru_cache(maxsize=8)
def _before_answers(chat: Chat) -> tuple[str, bool]:
    """What a format puts between the prompt and an answer, such as the channel of gpt-oss, without which the model would think
    aloud (white space alone is nothing); and whether a thought is open behind that."""
    found = {_header(chat, question) for question in ("a question", "something else")}
    header = found.pop() if len(found) == 1 else ""  # else it is about the question
    prompt = chat._filled(**chat._messages(_SYSTEM, "a question"))
    return header, ends_open((prompt + header).rpartition("a question")[2])


def _header(chat: Chat, question: str) -> str:
    messages = chat._messages(_SYSTEM, question)
    try:
        prompt, whole = chat._filled(**messages), chat._filled(**messages, assistant=_ANSWER)
    except BadInput:
        return ""
    header, answer, _ = whole.removeprefix(prompt).partition(_ANSWER)
    return header if whole.startswith(prompt) and answer and header.strip() else ""


class _Generation(Extension):
    """The tag {% generation %}, by which training libraries mark answers: what is in it stands there."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own way)

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=8)
def _chat_template(source: str):
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: ""  # a date in the prompt would break repeatability
    return environment.from_string(source)


def _refuse(message: str):
    raise BadInput(f"the backbone's chat template refused the prompt: {message}", "use another backbone")


def clip(text: str, limit: int) -> str:
    """The first `limit` characters, cut at a word where there is one, with an ellipsis when something was cut."""
    if len(text) <= limit:
        return text
    cut = text[:limit]
    return (cut.rsplit(None, 1)[0] if " " in cut else cut).rstrip(" ,;.:") + "…"
