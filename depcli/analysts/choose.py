"""Who is asked: the writer's own model, or another one that was named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from depcli import backbones, engines
from depcli.analysts.analyst import Analyst
from depcli.backbones.catalogue import Backbone
from depcli.engines.engine import weights_of
from depcli.errors import NotFound
from depcli.records import Sampling


def named(asked: str) -> tuple[str, Backbone]:
    """(engine, backbone) of ENGINE:MODEL. Raises NotFound."""
    engine, colon, model = asked.partition(":")
    if not colon or engine not in engines.NAMES:
        raise NotFound(f"no analyst {asked!r}", f"name it as ENGINE:MODEL, the engine being one of {', '.join(engines.NAMES)}")
    return engine, backbones.served(model) if engine == "openai" else backbones.find(model)


@contextmanager
def analyst(asked: str | None, engine, backbone: Backbone, sampling: Sampling, *, offline: bool = False) -> Iterator[Analyst]:
    """The analyst `asked` for as ENGINE:MODEL; `engine` with its `backbone` when that is None or means the same. It draws as
    `sampling` says, with seeds of its own. Raises what loading an engine does."""
    own = (engine.name, backbone)
    wanted = named(asked) if asked else own
    if wanted == own:
        yield _analyst(engine, backbone, sampling)
        return
    with engines.load(*wanted, offline=offline) as other:
        yield _analyst(other, wanted[1], sampling)


def _analyst(engine, backbone: Backbone, sampling: Sampling) -> Analyst:
    revision = f"@{backbone.revision}" if backbone.revision else ""
    name = f"{engine.name}:{backbone.name}{revision}"
    weights = partial(weights_of, engine)
    return Analyst(engine, name, temperature=sampling.temperature, top_p=sampling.top_p, weights=weights)
