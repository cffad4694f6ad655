"""Where an OpenAI-compatible endpoint is, with which key it is asked, and what its failures mean. The key is never shown."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from depcli.errors import BadInput, DepError, Incompatible, NeedsNetwork, Refused

OFFICIAL = "https://api.openai.com/v1"
_OF_REQUEST = (400, 413, 422)  # HTTP statuses that are about what was asked
_LONGEST = 300  # characters that are shown of what an endpoint says


@dataclass(frozen=True)
class Endpoint:
    """An address with its key, '' when there is none. `address` may hold a password; `str()` is what may be shown."""

    address: str = field(repr=False)
    key: str = field(repr=False)

    @property
    def official(self) -> bool:
        return urlsplit(self.address).hostname == urlsplit(OFFICIAL).hostname

    def __str__(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def quote(self, said: object) -> str:
        """What the endpoint said, fit to be shown: one line, printable, short, without the key."""
        while isinstance(said, dict):
            said = said.get("message") or said.get("detail") or said.get("error") or "nothing more"
        text = "".join(c if c.isprintable() else " " for c in str(said))
        text = " ".join((text.replace(self.key, "[key]") if self.key else text).split())
        return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"

    def failure(self, status: int, said: object) -> DepError:
        """What an HTTP status other than 404 means for who asked."""
        told = f"({status}): {self.quote(said)}"
        if status in (401, 403):
            what = "refused the key in OPENAI_API_KEY" if self.key else "asks for a key, and OPENAI_API_KEY is not set"
            return DepError(f"the endpoint {self} {what} {told}", "set OPENAI_API_KEY to a key of this endpoint")
        if 300 <= status < 400:
            return DepError(f"the endpoint {self} sends requests elsewhere ({status})", "name that place itself: OPENAI_BASE_URL")
        if status == 429:
            hint = "try again later, or see what your account there may do"
            return DepError(f"the endpoint {self} turned the request away as one too many {told}", hint)
        if status >= 500:
            return DepError(f"the endpoint {self} failed {told}", "see its log, or try again later")
        if status in _OF_REQUEST:
            hint = "too long: fewer --max-new-tokens, or past reviews; sampling refused: --temperature 1 --top-p 1"
            return Refused(f"the endpoint {self} refused the request {told}", hint)
        return DepError(f"the endpoint {self} answers nothing now {told}", "mend what it says, then run this again")


def find_endpoint(url: str | None = None, key: str | None = None, *, offline: bool = False) -> Endpoint:
    """The endpoint at `url` (else OPENAI_BASE_URL, else OpenAI's own) with `key` (else OPENAI_API_KEY).

    Raises BadInput for an address or a key that cannot be one, DepError when OpenAI's own is to be asked without a key, and
    NeedsNetwork when `offline` and the endpoint is not on this machine.
    """
    address = (url or os.environ.get("OPENAI_BASE_URL", "")).strip() or OFFICIAL
    key = (os.environ.get("OPENAI_API_KEY", "") if key is None else key).strip()
    if not (key.isascii() and key.isprintable()):
        raise BadInput("the key in OPENAI_API_KEY holds characters that no key has", "set it again")
    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        fits = False
    if not fits:
        raise BadInput("the endpoint's address is no http or https address", "OPENAI_BASE_URL=http://localhost:8000/v1, say")
    endpoint = Endpoint(address, key)
    if offline and not _is_here(parts.hostname):
        raise NeedsNetwork(f"the endpoint {endpoint} is not on this machine", "leave --offline out, or serve a model here")
    if endpoint.official and not key:
        raise DepError(f"{endpoint} needs a key", "set OPENAI_API_KEY, or OPENAI_BASE_URL for an endpoint of your own")
    return endpoint


def no_soft_tokens(what: str, fitting: str = "a method that needs no adapter, see `dep methods`") -> Incompatible:
    """What to raise when soft tokens are asked of an endpoint, with the methods that are `fitting`."""
    hint = f"with --engine openai: {fitting}; or --engine llamacpp or transformers"
    return Incompatible(f"a chat endpoint takes text alone, and {what}", hint)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
