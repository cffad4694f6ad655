"""DRP: as DPL, with dimensions that the model finds by itself and checks in a second pass; only what holds is used.

(The authors' release forgets to pass the second pass's result on.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from depcli.analysts.analyst import Analyst, Tally
from depcli.analysts.answers import BROKEN, Unusable, json_object
from depcli.chat import clip
from depcli.methods.asking import beside, question, summary
from depcli.methods.base import Anchor, Method
from depcli.records import Difference, Dimension, Profile

START = (
    {"name": "writing style", "definition": "choice of words and structure of sentences"},
    {"name": "emotional style", "definition": "tone, and how strongly feelings are shown"},
    {"name": "semantic style", "definition": "how much is said in how many words, and how well it hangs together"},
)
_MOST = 8  # dimensions of one review: what a second pass can still check one by one
# Characters. An answer of the longest strings fits its tokens when one stands for two and a half characters.
_NAME, _DEFINITION, _DIFFERENCE, _REASON = 40, 120, 200, 80
_PROPOSE_TOKENS, _VERIFY_TOKENS = 1400, 480


def _object(**properties) -> dict:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _string(longest: int) -> dict:
    return {"type": "string", "minLength": 1, "maxLength": longest}


_PROPOSAL = _object(name=_string(_NAME), definition=_string(_DEFINITION), difference=_string(_DIFFERENCE))
PROPOSE = json.dumps(_object(dimensions={"type": "array", "minItems": 1, "maxItems": _MOST, "items": _PROPOSAL}))
_VERDICT = _object(reason=_string(_REASON), holds={"type": "boolean"})


def profile(analyst: Analyst, anchors: Sequence[Anchor]) -> Profile:
    """Two calls for each review that has representative peers, and one to sum up."""
    tally = Tally()
    compared = [anchor for anchor in anchors if anchor.peers]
    proposed = analyst.ask([_propose(analyst, anchor) for anchor in compared], tally)
    found = [(anchor, proposals) for anchor, proposals in zip(compared, proposed, strict=True) if proposals]
    checked = analyst.ask([_verify(analyst, anchor, proposals) for anchor, proposals in found], tally)
    kept = [
        (anchor, [proposal for proposal, holds in zip(proposals, verdicts or (), strict=False) if holds])
        for (anchor, proposals), verdicts in zip(found, checked, strict=True)
    ]
    dimensions = merged(kept)
    text = summary(analyst, anchors, [_finding(dimension, len(compared)) for dimension in dimensions], tally)
    rejected = sum(len(proposals) for _, proposals in found) - sum(len(proposals) for _, proposals in kept)
    return Profile(text, (), dimensions, len(compared), rejected, analysis=tally.analysis())


def merged(kept: Sequence[tuple[Anchor, Sequence[dict]]]) -> tuple[Dimension, ...]:
    """One dimension per name (case and punctuation aside), those seen in most reviews first, of equals what was proposed first
    for the newest review; `kept` is oldest first, with one proposal of each name. The definition is the newest one."""
    grouped: dict[str, tuple[dict, list[Difference]]] = {}
    for anchor, proposals in reversed(kept):
        for proposal in proposals:
            _, differences = grouped.setdefault(_plain(proposal["name"]), (proposal, []))
            differences.append(Difference(anchor.past.review.asin, proposal["difference"]))
    dimensions = [Dimension(newest["name"], newest["definition"], tuple(differences)) for newest, differences in grouped.values()]
    return tuple(sorted(dimensions, key=lambda dimension: -dimension.seen))


def _propose(analyst: Analyst, anchor: Anchor):
    return question(analyst, "propose", read=_proposals, tokens=_PROPOSE_TOKENS, schema=PROPOSE, start=START, **beside(anchor))


def _verify(analyst: Analyst, anchor: Anchor, proposed: Sequence[dict]):
    numbers = [str(number) for number in range(1, len(proposed) + 1)]
    schema = json.dumps(_object(**dict.fromkeys(numbers, _VERDICT)))

    def read(text: str) -> list[bool]:
        found = json_object(text)
        verdicts = [found.get(number) for number in numbers]
        if not all(isinstance(verdict, dict) and isinstance(verdict.get("holds"), bool) for verdict in verdicts):
            raise Unusable(BROKEN)
        return [verdict["holds"] for verdict in verdicts]

    return question(analyst, "verify", read=read, tokens=_VERIFY_TOKENS, schema=schema, proposed=proposed, **beside(anchor))


def _proposals(text: str) -> list[dict]:
    """The proposed dimensions of one review, each named once, without those that lack something. Raises Unusable."""
    listed = json_object(text).get("dimensions")
    if not isinstance(listed, list):
        raise Unusable(BROKEN)
    named: dict[str, dict] = {}
    for entry in listed[:_MOST]:
        values = [entry.get(field) if isinstance(entry, dict) else None for field in ("name", "definition", "difference")]
        if all(isinstance(value, str) and any(map(str.isalnum, value)) for value in values):
            longest = (_NAME, _DEFINITION, _DIFFERENCE)  # engines that cannot keep to a schema know no limits
            name, definition, difference = (clip(" ".join(v.split()), most) for v, most in zip(values, longest, strict=True))
            named.setdefault(_plain(name), {"name": name, "definition": definition, "difference": difference})
    return list(named.values())


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _finding(dimension: Dimension, anchors: int) -> str:
    """What was found in each review where the dimension holds, the newest first: not all of it need point the same way."""
    said = "; ".join(difference.text for difference in dimension.differences)
    return f"{dimension.name} ({dimension.definition}), in {dimension.seen} of {anchors} reviews: {said}"


METHOD = Method(
    "drp",
    "as dpl, with dimensions that the model finds and checks by itself",
    history=True,
    profile=profile,
    peers=True,
)
