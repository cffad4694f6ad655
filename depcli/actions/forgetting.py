"""`dep forget` as a whole: people and items out of a profiles folder, and what is beyond its reach named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from depcli.adapters import files, seen
from depcli.analysts import cache
from depcli.engines.llama import kept_states
from depcli.errors import DepError, NotFound
from depcli.evaluation import predictions
from depcli.profiles import EVALUATIONS
from depcli.store import Snapshot, Store
from depcli.store.upkeep import erase
from depcli.store.upkeep.backup import files_below
from depcli.store.upkeep.erase import Erased
from depcli.system import resumable
from depcli.system.lock import is_held


@dataclass(frozen=True)
class Beyond:
    """What may hold the same words and is not the store: input files, as they were named; adapters that were trained on these
    people, those that do not tell, and those that are being trained; evaluations with texts about them, those that cannot be
    read, and those that are under way, which end before their next text."""

    inputs: tuple[str, ...]
    adapters: tuple[str, ...]
    adapters_unknown: tuple[str, ...]
    adapters_under_way: tuple[str, ...]
    evaluations: tuple[str, ...]
    evaluations_unknown: tuple[str, ...]
    evaluations_under_way: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What will be erased. `people` wrote it: the users asked for and whoever reviewed the items. When `unfinished`, an earlier
    erasing was killed before the last traces were gone, and will be finished first; what was asked for may be gone already."""

    users: tuple[str, ...]
    items: tuple[str, ...]
    reviews: int
    people: int
    unfinished: bool


def plan(profiles: Path, users: Collection[str], items: Collection[str]) -> Plan:
    """Look what there is. Raises NotFound when nothing is known of one of them, unless an erasing is unfinished."""
    store = Store.open(profiles)
    snapshot, unfinished = store.snapshot(), erase.unfinished(store.folder)
    authors = _authors(snapshot, users, items)
    if not unfinished:
        known = [user for user in users if snapshot.has_user(user)]
        for user in set(users) - set(known):
            if found := snapshot.twin(user):
                hint = f"nothing was removed; it has {ascii(found)}, in another case or of other characters"
                raise NotFound(f"the store has no user {user!r}", hint)
        erase.refuse_unknown("user", users, known)
        erase.refuse_unknown("item", items, {**snapshot.items(list(items)), **snapshot.sums(list(items))})
    return Plan(tuple(users), tuple(items), len(authors), len(set(authors)), unfinished)


def forget(
    profiles: Path, planned: Plan, wait: bool = True, on_wait: Callable[[str], None] | None = None
) -> tuple[Erased, Beyond]:
    """Do it, and look what is left elsewhere. Raises NotFound when what was planned is not there, unless an unfinished erasing
    was finished instead."""
    store = Store.open(profiles)
    with store.writer(wait, on_wait) as writer, cache.unchanging(profiles):
        people = {*planned.users, *_authors(store.snapshot(), planned.users, planned.items)}
        cache.forget(profiles, planned.users, planned.items)  # first: a profile can be made again, and so can a state
        kept_states.forget(profiles)
        try:
            erased = erase.forget(writer.tables, planned.users, planned.items)
        except NotFound:
            if not planned.unfinished or planned.reviews:
                raise
            erased = Erased(0, 0, 0)
        return erased, _beyond(profiles, store, people, planned.items)  # at the end: who begins now finds nothing of them


def _authors(snapshot: Snapshot, users: Collection[str], items: Collection[str]) -> list[str]:
    """Who wrote each of the reviews that go."""
    theirs = {(stored.review.user_id, stored.review.asin) for h in snapshot.histories(list(users)).values() for stored in h}
    of_items = {
        (user, asin)
        for asin in items
        for rows in snapshot.review_rows(("user_id",), asin)
        for user in rows.column("user_id").to_pylist()
    }
    return [user for user, _ in theirs | of_items]


def _beyond(profiles: Path, store: Store, people: Collection[str], items: Collection[str]) -> Beyond:
    # Who is at work comes first: whoever ends meanwhile has left what is looked at after.
    training = files.under_way(profiles)
    writing = [str(lock.parent.relative_to(profiles)) for lock in _evaluations(profiles, predictions.LOCK) if is_held(lock)]
    inputs = dict.fromkeys(commit.source for commit in store.log() if commit.source)
    adapters = {name: _was_trained_on(files.folder_of(profiles, name), people) for name in files.names(profiles)}
    adapters |= {f"{name} (unfinished)": None for name in files.unfinished(profiles)}
    evaluations = {
        str(file.parent.relative_to(profiles)): _mentions(file, people, items)
        for file in _evaluations(profiles, predictions.PREDICTIONS)
    }
    return Beyond(
        tuple(inputs),
        _names(adapters, True),
        _names(adapters, None),
        tuple(training),
        _names(evaluations, True),
        _names(evaluations, None),
        tuple(sorted(writing)),
    )


def _evaluations(profiles: Path, name: str) -> Iterator[Path]:
    """The files of this name among the evaluations."""
    return (path for path in files_below(profiles / EVALUATIONS) if path.name == name)


def _names(found: dict[str, bool | None], answer: bool | None) -> tuple[str, ...]:
    return tuple(sorted(name for name, said in found.items() if said is answer))


def _was_trained_on(adapter: Path, people: Collection[str]) -> bool | None:
    try:
        return seen.has_seen(files.read_config(adapter), people)
    except DepError:
        return None


def _mentions(file: Path, people: Collection[str], items: Collection[str]) -> bool | None:
    """Whether a prediction is by one of these people or about one of these items; None when the file cannot be read."""
    try:
        return any(line.get("user_id") in people or line.get("asin") in items for line in resumable.read_lines(file))
    except DepError:
        return None
