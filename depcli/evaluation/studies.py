"""The papers' studies (`dep eval --study NAME`): methods under several settings on the same requests, against the paper's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """One row of a table: a method, with an adapter where it needs one, and what a study sets for it: `history` (past reviews at
    most), `reduction`, `template`, or fields of personal.choices.Choices. An adapter was trained with them."""

    label: str
    method: str
    adapter: Path | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def history(self) -> int | None:
        """How many past reviews a method without an adapter is to show at most; None where nothing is set."""
        return self.settings.get("history")

    @property
    def choices(self) -> dict[str, object]:
        """The fields of Choices among the settings."""
        return {name: value for name, value in self.settings.items() if name not in ("history", "reduction", "template")}


@dataclass(frozen=True)
class Study:
    """`levels` are names with their settings: history, reduction, or fields of Choices; `reference` is the paper's, which the
    others are tested against. `beside` are further methods, shown as they are. Without levels, methods are compared in groups of
    users."""

    about: str
    methods: tuple[str, ...]
    levels: tuple[tuple[str, Mapping[str, object]], ...] = ()
    reference: str = ""
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What is compared with what: the pairs (against, method) of labels that are tested, None for all; two groups of users in
    which all is told again, None for none; and what the results say of the study (JSON values), None where there is none."""

    pairs: Sequence[tuple[str, str]] | None = None
    groups: Mapping[str, Collection[str]] | None = None
    study: dict | None = None


STUDIES = {
    "uniqueness": Study("unique users and the others (Figure 3)", ("nonperso", "rag", "dep")),
    "k": Study(
        "how many past reviews are shown (Figure 2; with none DEP learns nothing)",
        ("rag", "dep"),
        tuple((f"K={k}", {"history": k}) for k in (0, 1, 2, 4, 8)),
        "K=8",
    ),
    "embeddings": Study(
        "which soft tokens, with and without the text (Table 2)",
        ("dep",),
        tuple(
            (f"{kind}, {said}", {"embeddings": kind, "review_text": text})
            for said, text in (("text", True), ("no text", False))
            for kind in ("both", "his", "diff")
        ),
        "both, text",
        beside=("rag", "nonperso"),
    ),
    "refinement": Study(
        "what the embeddings go through (Table 3, and pca)",
        ("dep",),
        tuple((kind, {"reduction": kind}) for kind in ("sae", "ae", "none", "pca")),
        "sae",
    ),
    "retrieval": Study(
        "which past reviews are shown (Table 8)",
        ("rag", "dep"),
        tuple((kind, {"retrieval": kind}) for kind in ("recency", "bm25", "dense", "random")),
        "recency",
    ),
    "guidance": Study(
        "whether the prompt explains the soft tokens (Table 9)",
        ("dep",),
        (("guidance", {"guidance": True}), ("no guidance", {"guidance": False})),
        "guidance",
    ),
}


def plain(methods, adapters: Mapping[str, Path]) -> list[Variant]:
    """Methods as they are, with their adapters by method."""
    return [Variant(method, method, adapters.get(method)) for method in methods]
