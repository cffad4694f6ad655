"""What a method may be told to do otherwise, to see what each part is worth. Part of an adapter: it is trained with them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from depcli.errors import BadInput, Incompatible
from depcli.methods.base import Method

HISTORY = 8  # past reviews in a prompt at most, as in the paper
EMBEDDINGS = ("both", "his", "diff", "none")
RETRIEVALS = ("recency", "bm25", "dense", "random")
WEIGHTINGS = ("mean", "distance")


@dataclass(frozen=True)
class Choices:
    """The defaults are the paper's. `embeddings`: which soft tokens follow a past review; `review_text`: whether its text and
    title stand there too; `guidance`: whether the prompt explains the embeddings; `retrieval`: which past reviews are shown;
    `peer_weighting`: whether all peers count alike in a difference (eq. 4) or as in `weighting.WeighedPeers`."""

    embeddings: str = "both"
    review_text: bool = True
    guidance: bool = True
    retrieval: str = "recency"
    peer_weighting: str = "mean"

    def __post_init__(self):
        for name, known in (("embeddings", EMBEDDINGS), ("retrieval", RETRIEVALS), ("peer_weighting", WEIGHTINGS)):
            if getattr(self, name) not in known:
                raise BadInput(f"{name} must be {' or '.join(known)}, not {getattr(self, name)}")

    def wants(self, kind: str) -> bool:
        """Whether a slot of this kind belongs to what was chosen."""
        return self.embeddings == "both" or kind.startswith(self.embeddings)


def concerns(name: str, method: Method) -> bool:
    """Whether a field of Choices, or `history`, says anything of what a method writes from."""
    return method.history if name in ("review_text", "retrieval", "history") else method.slots is not None


def choices_of(method: Method, folder: Path | None, config: dict | None, asked: dict) -> Choices:
    """What an adapter was trained with, or for a method without one what is `asked` for (None: nothing in particular), as far as
    it concerns the method. Raises Incompatible when something else is asked of an adapter."""
    asked = {name: value for name, value in asked.items() if value is not None and concerns(name, method)}
    if config is None:
        return replace(Choices(), **asked)
    trained = Choices(**config["choices"])
    for name, value in asked.items():
        if asdict(trained)[name] != value:
            option, said = name.replace("_", "-"), asdict(trained)[name]
            raise Incompatible(
                f"adapter {folder.name!r} was trained with {option} {said}, not {value}".replace("True", "on").replace(
                    "False", "off"
                ),
                "ask for what it was trained with, or train another with `dep train`",
            )
    return trained
