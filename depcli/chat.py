"""How a backbone is spoken to: its chat format, in which user text is data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from jinja2.sandbox import ImmutableSandboxedEnvironment

from depcli.errors import BadInput

# What must not reach a tokenizer from user text: controls (but tab and newline), surrogates, noncharacters.
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

    def render(self, system: str, user: str) -> str:
        """The prompt string up to and including the header of the answer."""
        return _chat_template(self.template).render(
            messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
            add_generation_prompt=True, bos_token=self.bos, eos_token=self.end,
        )  # fmt: skip

    def clean(self, text: str | None) -> str:
        """User text made harmless: no controls, no slot marks, no control-token strings (a space breaks those)."""
        text = _UNPRINTABLE.sub("", text or "")
        for special in self.specials:
            text = text.replace(special, special[0] + " " + special[1:])
        return text.strip()


@lru_cache(maxsize=8)
def _chat_template(source: str):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: ""  # a date in the prompt would break repeatability
    return environment.from_string(source)


def _refuse(message: str):
    raise BadInput(f"the backbone's chat template refused the prompt: {message}")


def clip(text: str, limit: int) -> str:
    """The first `limit` characters, cut at a word where there is one, with an ellipsis when something was cut."""
    if len(text) <= limit:
        return text
    cut = text[:limit]
    return (cut.rsplit(None, 1)[0] if " " in cut else cut).rstrip(" ,;.:") + "…"
