"""Templates: how a request and a history become chat messages with slots, and from there the parts of a Prompt.

A template is one Jinja2 file with the blocks `system` and `user`. User text is data: it can neither open a slot nor
a chat turn, whatever it contains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from depcli.chat import Chat, clip
from depcli.errors import BadInput, NotFound
from depcli.records import Item, PastReview, Request, Review, Slot, Text

BUNDLED = Path(__file__).parent / "templates"
GUIDED = "full"  # the bundled template that explains the soft tokens
# Unicode noncharacters mark slots while Jinja handles the text; they are removed from user text first.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_LONGEST_PROFILE = 1500  # characters
_SLOT = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


class Template:
    """A named or user-supplied template. Raises NotFound, or BadInput with the line of a Jinja error.

    Its variables: `item` (title, description, and `task`, '' where a review is to be written), `rating` (None where none is
    asked for) and `title` of what is to be written, `history` (oldest first: item_title, item_description, task, rating, title,
    text, slots), `profile`, `embeddings` (whether there are soft tokens), `guidance`. Filters: clip(characters), number.
    """

    def __init__(self, name: str):
        self.bundled = re.fullmatch(r"[\w-]+", name) is not None
        path = BUNDLED / f"{name}.jinja" if self.bundled else Path(name)
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.jinja")))
            raise NotFound(f"no template {name!r}", f"bundled: {known}; or give the path of a .jinja file")
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        environment.filters.update(clip=clip, number=lambda value: f"{value:g}")
        try:
            self.name, self.source = name, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"template {path} cannot be read: {error}", "give a Jinja2 file in UTF-8") from error
        try:
            self._template = environment.from_string(self.source)
        except TemplateError as error:
            line = getattr(error, "lineno", "?")
            raise BadInput(f"template {path}, line {line}: {error}", "see depcli/personal/templates/") from error
        missing = {"system", "user"} - set(self._template.blocks)
        if missing:
            raise BadInput(f"template {path} lacks the block {' and '.join(sorted(missing))}")

    def parts(
        self,
        chat: Chat,
        request: Request,
        history: Sequence[PastReview] = (),
        *,
        slots: Sequence[Sequence[Slot]] = (),
        guidance: bool = True,
        profile: str = "",
        texts: bool = True,
    ) -> tuple[Text | Slot, ...]:
        """Render a request as prompt parts. `slots[i]` follow the text of `history[i]`; none when `slots` is empty. `profile` is
        a text about the user, which becomes one line; without `texts` title and text of the past reviews are left out."""
        flat: list[Slot] = []

        def marks(group: Sequence[Slot]) -> str:
            flat.extend(group)
            return "".join(f"{_OPEN}{i}{_CLOSE}" for i in range(len(flat) - len(group), len(flat)))

        past = [_past(chat, entry, marks(slots[i]) if slots else "", texts) for i, entry in enumerate(history)]
        fields = {
            "item": Item(request.item.asin, *map(chat.clean, (request.item.title, request.item.description, request.item.task))),
            "rating": request.rating,
            "title": chat.clean(request.title),
            "history": past,
            "embeddings": bool(flat),
            "guidance": guidance,
            "profile": clip(" ".join(chat.clean(profile).split()), _LONGEST_PROFILE),
        }
        try:
            system, user = ("".join(self._block(block, fields)).strip() for block in ("system", "user"))
        except Exception as error:  # whatever goes wrong inside a template is the template's
            raise BadInput(f"template {self.name}: {error}", "see depcli/personal/templates/ for what is defined") from error
        return _split(chat.render(system, user), flat)

    def shows_reviews(self, texts: bool) -> bool:
        """Whether anything of past reviews stands in a prompt beside their soft tokens: their item or rating, or where `texts`
        are not left out title or text."""
        return self._probe("one", 1.0, texts=texts) != self._probe("other", 2.0, texts=texts)

    def has_guidance(self) -> bool:
        """Whether a prompt with soft tokens says with guidance what it does not say without."""
        slots = [[Slot("his")]]
        return self._probe("one", 1.0, slots=slots) != self._probe("one", 1.0, slots=slots, guidance=False)

    def _probe(self, word: str, rating: float, **given) -> tuple[Text | Slot, ...]:
        """A prompt with one past review, all of whose fields are `word`."""
        chat = Chat("{{ messages[0].content }}\n{{ messages[1].content }}", "")
        past = PastReview(Review("", "", word, rating, word), Item("", word, word), None, None, 0)
        return self.parts(chat, Request("", Item("", "item", "description"), 3.0, "title"), [past], **given)

    def _block(self, block: str, fields: dict):
        return self._template.blocks[block](self._template.new_context(fields))


def _past(chat: Chat, entry: PastReview, slots: str, texts: bool) -> dict:
    return {
        "item_title": chat.clean(entry.item.title),
        "item_description": chat.clean(entry.item.description),
        "task": chat.clean(entry.item.task),
        "rating": entry.review.rating,
        "title": chat.clean(entry.review.title) if texts else "",
        "text": chat.clean(entry.review.text) if texts else "",
        "slots": slots,
    }


def _split(rendered: str, slots: Sequence[Slot]) -> tuple[Text | Slot, ...]:
    parts: list[Text | Slot] = []
    for index, piece in enumerate(_SLOT.split(rendered)):
        if index % 2:
            parts.append(slots[int(piece)])
        elif piece:
            parts.append(Text(piece))
    return tuple(parts)
