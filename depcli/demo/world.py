"""A made-up world of reviewers and items for `dep demo` and the tests: written by us, the same for the same seed.

What a person says of an item follows from three things: their habits of writing, what the item is like, and what they think
of it. The first is what personalization should pick up, and no other person shares it.
"""

from __future__ import annotations

import random
import re

from depcli.demo.cast import PEOPLE, REMARKS, THINGS, Person, Thing
from depcli.records import Item, Review

REVIEWS_PER_PERSON = 14
_START, _DAY = 1_609_459_200, 86_400  # the first of January 2021
_WORDS = ("zero", "one", "two", "three", "four", "five")
_KINDS = {"film": "film", "book": "book", "kitchen": "thing"}


def world(seed: int = 0) -> tuple[list[Review], list[Item]]:
    """(reviews, items): 30 people with 14 reviews each of 40 items. No two texts are equal."""
    reviews, seen = [], set()
    for person, things in _who_reviews_what(random.Random(f"{seed}/choice")).items():
        time = _START + 3600 * (sum(map(ord, person.user_id)) % 24)
        for thing in things:
            chance = random.Random(f"{seed}/{person.user_id}/{thing.asin}")
            time += _DAY * chance.randint(3, 40)
            while (review := _review(person, thing, time, chance)).text in seen:
                pass  # the next throw of the same dice
            seen.add(review.text)
            reviews.append(review)
    return reviews, [Item(thing.asin, thing.title, thing.description) for thing in THINGS]


def _who_reviews_what(chance: random.Random) -> dict[Person, list[Thing]]:
    """Everybody reviews equally many items, and every item has about equally many reviewers."""
    reviewers = dict.fromkeys(THINGS, 0)
    choice = {}
    for person in PEOPLE:
        wanted = sorted(THINGS, key=lambda thing: reviewers[thing] + 3 * chance.random())[:REVIEWS_PER_PERSON]
        chance.shuffle(wanted)
        choice[person] = wanted
        for thing in wanted:
            reviewers[thing] += 1
    return choice


def _review(person: Person, thing: Thing, time: float, chance: random.Random) -> Review:
    rating = _rating(person, thing, chance)
    fields = {"title": thing.title, "kind": _KINDS[thing.kind], "n": str(rating), "word": _WORDS[rating]}
    text = _styled(_sentences(person, thing, rating, fields, chance), person, chance)
    return Review(person.user_id, thing.asin, text, float(rating), person.headline.format(**fields), float(time))


def _rating(person: Person, thing: Thing, chance: random.Random) -> int:
    taste = sum((trait in person.likes) - (trait in person.dislikes) for trait in thing.traits)
    return min(5, max(1, round(3.1 + 0.8 * thing.quality + 0.9 * taste + person.mood + chance.gauss(0, 0.5))))


def _sentences(person: Person, thing: Thing, rating: int, fields: dict[str, str], chance: random.Random) -> list[str]:
    aspects = iter(chance.sample(thing.aspects, len(thing.aspects)))
    praise, blame = (iter(chance.sample(pool[thing.kind], len(pool[thing.kind]))) for pool in (REMARKS.good, REMARKS.bad))
    patterns = {kind: iter(_endless(getattr(person, kind), chance)) for kind in ("good", "bad")}
    verdict = person.verdict_bad if rating < 3 else person.verdict_mixed if rating == 3 else person.verdict_good
    verdicts = iter(_endless(verdict, chance))
    sentences = []
    for step in person.plan:
        if step == "o" and person.opening[0]:
            sentences.append(chance.choice(person.opening).format(**fields))
        elif step == "a":
            kind = "good" if chance.random() < (0.0, 0.05, 0.2, 0.5, 0.85, 1.0)[rating] else "bad"
            said = next(praise if kind == "good" else blame)
            sentences.append(next(patterns[kind]).format(a=next(aspects), p=said, **fields))
        elif step == "t":
            sentences += _on_traits(person, thing, rating, chance)
        elif step == "v":
            sentences.append(next(verdicts).format(**fields))
        elif step == "x":
            sentences.append(chance.choice(person.aside))
        elif step == "s":
            sentences.append(person.sign_off)
    return sentences


def _endless(patterns: tuple[str, ...], chance: random.Random):
    """All patterns in a random order, then again: nobody says the same phrase twice while they have another."""
    while True:
        yield from chance.sample(patterns, len(patterns))


def _on_traits(person: Person, thing: Thing, rating: int, chance: random.Random) -> list[str]:
    """A remark on a trait that this person minds one way or the other; on an indifferent one when there is none."""
    minded = [REMARKS.liked[trait] for trait in thing.traits if trait in person.likes]
    minded += [REMARKS.disliked[trait] for trait in thing.traits if trait in person.dislikes]
    if not minded:
        trait = chance.choice(thing.traits)
        minded = [REMARKS.liked[trait] if rating > 3 else REMARKS.disliked[trait]] if rating != 3 else []
    return [chance.choice(minded) + "."] if minded else []


def _styled(sentences: list[str], person: Person, chance: random.Random) -> str:
    """The sentences as this person would type them."""
    style = person.style
    if "nodots" in style:
        sentences = [sentence.rstrip(".") for sentence in sentences]
    text = ("\n" if "list" in style or "nodots" in style else " ").join(sentences)
    if "lines" in style:
        text = re.sub(r" / |(?<=[.]) ", "\n", text)
    text = text.lower() if "lower" in style else _SENTENCE_START.sub(lambda found: found[0].upper(), text)
    if "ellipsis" in style:
        text = _FULL_STOP.sub("...", text)
    if "dashes" in style:
        text = text.replace(", ", " - ")
    if "questions" in style:
        text = _FULL_STOP.sub(", right?", text)
    if "bangs" in style:
        text = _FULL_STOP.sub(lambda found: "!" * chance.randint(1, 3), text)
    if "shout" in style:
        text = _SHOUTED.sub(lambda found: found[0].upper(), text)
    return text


_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?]\s))[a-z]")
_FULL_STOP = re.compile(r"\.(?=\s|$)")
_SHOUTED = re.compile(r"\b(?:love|never|amazing|obsessed|totally|loud|every|why|stop|honestly|so)\b", re.IGNORECASE)
