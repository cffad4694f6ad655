"""Where an endpoint is and what is shown of it."""

from __future__ import annotations

import pytest

from depcli.engines.endpoint import OFFICIAL, find_endpoint
from depcli.errors import BadInput, DepError, NeedsNetwork, Refused
from tests.engines.endpoints import KEY


def test_the_endpoint_comes_from_the_environment_and_hides_what_is_secret(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", " http://me:hidden@localhost:8000/v1?token=hidden ")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    found = find_endpoint()
    assert found.key == KEY and not found.official
    assert str(found) == "http://localhost:8000/v1" and "hidden" not in repr(found)
    assert str(find_endpoint("http://[::1]:9/v1", "other")) == "http://[::1]:9/v1" and find_endpoint(key="other").key == "other"


def test_an_endpoint_elsewhere_is_left_alone_when_offline(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for here in ("http://localhost:1/v1", "http://127.0.0.2:1/v1", "http://[::1]:1/v1"):
        find_endpoint(here, "", offline=True)
    for there in (None, "https://example.com/v1", "http://192.168.0.7/v1", "http://localhost.example.com/v1"):
        with pytest.raises(NeedsNetwork, match="not on this machine"):
            find_endpoint(there, KEY, offline=True)


def test_an_address_or_a_key_that_cannot_be_one(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for address in ("localhost:8000", "ftp://localhost", "http://", "http://localhost:none/v1", "http://[::1/v1"):
        with pytest.raises(BadInput, match="no http"):
            find_endpoint(address, KEY)
    for key in ("sk-ünï", "two\nlines"):
        with pytest.raises(BadInput) as caught:
            find_endpoint(OFFICIAL, key)
        assert key not in caught.value.message
    with pytest.raises(DepError, match="needs a key"):
        find_endpoint()


@pytest.mark.parametrize("status", [400, 402, 405, 408, 409, 413, 422])
def test_only_some_failures_are_of_one_request(status):
    """An empty account or a busy endpoint says nothing about what was asked."""
    failure = find_endpoint("http://localhost:1/v1", "").failure(status, "why")
    assert isinstance(failure, Refused) == isinstance(failure, BadInput) == (status in (400, 413, 422))
    assert f"({status}): why" in failure.message and failure.hint
