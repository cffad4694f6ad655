"""The types that travel between the parts: what people wrote, what is asked, what a model eats and returns.

Frozen dataclasses without behaviour beyond validation. Shapes: d is the embedder's dimension, H the backbone's hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Vector = np.ndarray  # (d,) float32


@dataclass(frozen=True)
class Review:
    """One review of one item by one user. `timestamp` is unix seconds, None when the source has none.

    `superseded` are the store's hashes of equally dated versions that this one replaced: an export carries them along, so that
    the files it came from change nothing when they are read again.
    """

    user_id: str
    asin: str
    text: str
    rating: float | None = None
    title: str = ""
    timestamp: float | None = None
    superseded: tuple[bytes, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Item:
    """What was reviewed, or, with a `task`, what else a person writes about: then the description is the text they are given
    (an article, an abstract), and the task says in a few words what becomes of it ("Generate a headline for the following
    article"). All but the id may be empty; without a task it is a review."""

    asin: str
    title: str = ""
    description: str = ""
    task: str = ""


def stable_order(review: Review) -> tuple[float, str]:
    """The one order of a user's reviews everywhere: by time, ties by item; undated reviews count as the oldest."""
    return (float("-inf") if review.timestamp is None else review.timestamp, review.asin)


@dataclass(frozen=True)
class EmbedderIdentity:
    """What makes vectors comparable: two stores or adapters fit together only when all of this is equal."""

    name: str
    revision: str
    dimension: int
    normalized: bool = True

    def __str__(self) -> str:
        return f"{self.name} ({self.dimension}-d, {self.revision})"


@dataclass(frozen=True, eq=False)
class Stored:
    """A review as the store holds it, with the embedding (d,) float32 of its text."""

    review: Review
    vector: Vector


@dataclass(frozen=True, eq=False)
class ItemSum:
    """What the store knows of an item's reviewers: their number and the sum (d,) float64 of their vectors."""

    reviews: int
    total: Vector


@dataclass(frozen=True)
class Request:
    """A review to write: who, about what, and optionally the rating and title it shall have.

    `before` is the (timestamp, asin) of a review that exists already: only what the user wrote earlier is history
    (None: everything the user wrote, except a review of the item itself).
    """

    user_id: str
    item: Item
    rating: float | None = None
    title: str | None = None
    before: tuple[float, str] | None = None


@dataclass(frozen=True, eq=False)
class PastReview:
    """One review of a user's history with what makes it personal.

    `his` (d,) float32 is the embedding of its text; `diff` (d,) float32 is his minus the mean of the peers' embeddings
    (DEP eq. 4), None when too few others reviewed the item (by default: nobody); `peers` counts those others.
    """

    review: Review
    item: Item
    his: Vector
    diff: Vector | None
    peers: int


@dataclass(frozen=True)
class Text:
    """A piece of prompt text, ready for the tokenizer."""

    text: str


@dataclass(frozen=True, eq=False)
class Slot:
    """A place in a prompt that an adapter fills with one soft token.

    `kind` names the projector or trained vector; `embedding` (d,) float32 is what is projected, None for slots that
    are pure parameters (boundary markers, task tokens). With a `history` the embedding is a query, and these vectors (d,) float32
    are what is projected, weighed by it. `age`: how many of the reviews shown are newer than the one that the slot belongs to.
    """

    kind: str
    embedding: Vector | None = None
    history: tuple[Vector, ...] = ()
    age: int = 0


@dataclass(frozen=True)
class Difference:
    """How a user's review of an item differs from what the peers wrote about it, in an analyst's words."""

    asin: str
    text: str


@dataclass(frozen=True)
class Dimension:
    """One respect in which a user differs: what it is, and how they differ in each review where it was found, newest first."""

    name: str
    definition: str
    differences: tuple[Difference, ...]

    @property
    def seen(self) -> int:
        return len(self.differences)


@dataclass(frozen=True)
class Analysis:
    """What the intermediate texts of a profile took, and what became of them: `failures` counts answers that could not be used by
    kind, `dropped` the questions that were left without an answer. Counts in tokens, time in seconds."""

    calls: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True)
class Profile:
    """What an analyst made of a user's reviews. `text` stands in the prompt; it is empty when there was nothing to use.

    `anchors` counts the reviews that were compared with peers, `rejected` the dimensions that did not stand the second look,
    `commanding` the reviews that seem to give a model orders. `reused`: made earlier, for nothing now.
    """

    text: str = ""
    differences: tuple[Difference, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    anchors: int = 0
    rejected: int = 0
    commanding: int = 0
    analysis: Analysis = Analysis()
    reused: bool = field(default=False, compare=False)


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a method builds for one request, with the past reviews that made it into the budget (oldest first), and what an
    analyst wrote about the user, where the method asks one. `pooled` are past reviews that are there only as vectors, many in one
    soft token (oldest first)."""

    parts: tuple[Text | Slot, ...]
    shown: tuple[PastReview, ...] = ()
    dropped: int = 0
    profile: Profile | None = None
    pooled: tuple[Review, ...] = ()

    @property
    def text_only(self) -> bool:
        return all(isinstance(part, Text) for part in self.parts)

    def render(self) -> str:
        """The prompt as a person reads it: slots appear as their kind in guillemets."""
        return "".join(part.text if isinstance(part, Text) else f"«{part.kind}»" for part in self.parts)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Soft tokens: rows (n, H) float32, finite, no all-zero row."""

    rows: np.ndarray

    def __post_init__(self):
        import numpy as np

        rows = self.rows
        if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype != np.float32 or not len(rows):
            raise ValueError("soft tokens must be a non-empty (n, H) float32 array")
        if not np.isfinite(rows).all():
            raise ValueError("soft tokens contain NaN or infinity")
        if not np.abs(rows).max(axis=1).all():
            raise ValueError("a soft token is all zero")


@dataclass(frozen=True, eq=False)
class SoftPrompt:
    """What an engine eats: text and soft tokens in reading order. `width` is H; checked once, here. `origin` tells the weights
    that made the soft tokens from others: no state of an engine is shared between two."""

    parts: tuple[Text | Vectors, ...]
    width: int | None = None
    origin: str = ""

    def __post_init__(self):
        for part in self.parts:
            if isinstance(part, Vectors) and part.rows.shape[1] != self.width:
                raise ValueError(f"soft tokens are {part.rows.shape[1]} wide, the backbone needs {self.width}")

    @property
    def text_only(self) -> bool:
        return all(isinstance(part, Text) for part in self.parts)


@dataclass(frozen=True)
class Sampling:
    """How to sample. Temperature 0 is greedy. The paper's values are the defaults (DEP, section 4.1).

    `schema` is a JSON schema as JSON text, under which the text has to parse, a thought before it aside; None for free text.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    max_new_tokens: int = 2048
    seed: int = 0
    schema: str | None = None


@dataclass(frozen=True)
class Completion:
    """What an engine returns for one request. `finish` is 'stop' or 'length' (or, where a text has been read, thought.THINKING);
    counts are in tokens, time in seconds."""

    text: str
    finish: str
    prompt_tokens: int
    generated_tokens: int
    seconds: float = 0.0
    tokens: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Likelihood:
    """How well a backbone foresees one text after a prompt: the sum of its tokens' negative log-likelihoods in nats, the number
    of those tokens (end of turn included), and whether it was cut to a limit."""

    nats: float
    tokens: int
    cut: bool
