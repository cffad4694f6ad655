"""The questions that PAG, DPL and DRP put to an analyst, from the templates in prompts/."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from depcli.analysts.analyst import Analyst, Question, Tally
from depcli.analysts.answers import plain_text
from depcli.chat import Chat, clip
from depcli.methods.base import Anchor
from depcli.records import Item

PROMPTS = Path(__file__).parent / "prompts"
# Characters of a review, and how many findings: the first pair that lets question and answer fit.
_LIMITS = ((4000, 48), (2000, 32), (1000, 24), (500, 16), (250, 12), (120, 8), (120, 4))
_SUMMARY_TOKENS = 300
_FINDING = 350  # characters of each in the place of a summary


def question(
    analyst: Analyst,
    name: str,
    *,
    read: Callable[[str], object],
    tokens: int,
    schema: str | None = None,
    any_script: bool = False,
    folder: Path = PROMPTS,
    **fields,
) -> Question:
    """The question in `name`.jinja of the folder, which may include what is in prompts/, with reviews clipped and findings left
    out, the last first, as far as the analyst's context asks for."""
    template = _environment(folder).get_template(f"{name}.jinja")
    for limit, most in _LIMITS:
        context = template.new_context({**fields, "limit": limit, "most": most, "quote": _quoter(analyst.engine.chat)})
        system, user = ("".join(template.blocks[block](context)).strip() for block in ("system", "user"))
        asked = Question(system, user, read, tokens, schema, any_script)
        if analyst.fits(asked):
            break
    return asked


def beside(anchor: Anchor) -> dict:
    """What the templates need to show a review beside those of its peers."""
    return {"item": title_of(anchor.past.item), "own": anchor.past.review, "peers": anchor.peers}


def summary(analyst: Analyst, anchors: Sequence[Anchor], findings: Sequence[str], tally: Tally) -> str:
    """A profile from the reviews, oldest first, and from findings on how they differ, what matters most first. When no usable one
    was written, the findings themselves."""
    reviews = [
        {"item": title_of(a.past.item), "rating": a.past.review.rating, "title": a.past.review.title, "text": a.past.review.text}
        for a in anchors
    ]
    asked = question(analyst, "summary", read=plain_text, tokens=_SUMMARY_TOKENS, reviews=reviews, findings=findings)
    return analyst.ask([asked], tally)[0] or " ".join(clip(finding, _FINDING) for finding in findings[: _LIMITS[-1][1]])


def title_of(item: Item) -> str:
    return item.title or item.description or item.asin


@lru_cache(maxsize=1)
def prompts_digest() -> str:
    """Changes when a word of any question does."""
    return hashlib.sha256("\0".join(path.read_text("utf-8") for path in sorted(PROMPTS.glob("*.jinja"))).encode()).hexdigest()


@lru_cache(maxsize=4)
def _environment(folder: Path) -> Environment:
    environment = Environment(loader=FileSystemLoader([folder, PROMPTS]), undefined=StrictUndefined, autoescape=False)
    environment.filters["number"] = lambda value: f"{value:g}"
    return environment


def _quoter(chat: Chat) -> Callable[[str, int], str]:
    def quote(text: str, limit: int) -> str:
        """User text as a quotation that it cannot leave: every line of it begins with the mark."""
        lines = [line.strip() for line in clip(chat.clean(text), limit).splitlines()]
        return "\n".join(f"> {line}" for line in lines if line) or "> (nothing)"

    return quote
