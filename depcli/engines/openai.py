"""The engine for any OpenAI-compatible chat endpoint: the model runs elsewhere, and only its name is known here."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import chain, islice
from queue import SimpleQueue

import anyio
from anyio.from_thread import start_blocking_portal
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

from depcli.backbones.catalogue import Backbone
from depcli.chat import Chat
from depcli.engines.checks import check_room
from depcli.engines.endpoint import Endpoint, find_endpoint, no_soft_tokens
from depcli.engines.engine import Engine
from depcli.errors import DepError, NotFound, Unbroken
from depcli.records import Completion, Sampling, SoftPrompt
from depcli.thought import THINK

AHEAD = 8
_BETWEEN = "\n\ufdd2\n"  # between the messages; `Chat.clean` takes noncharacters out of user text
_BYTES_PER_TOKEN = 3
# How control tokens begin in the chat formats of common models. An endpoint does not say which ones its model has, and many read
# them in user text too.
_CONTROL = ("<|", "<｜", "<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]")


class OpenAIEngine(Engine):
    """Writes through an endpoint with the model that it serves as `backbone.name`, up to 8 requests at the same time.

    `url` and `key` default to OPENAI_BASE_URL and OPENAI_API_KEY. `seconds` is what one completion may take, with the `retries`
    after a lost connection, 429 or 5xx (backing off, or as long as the endpoint says). `extra` are fields of the request that
    OpenAI's interface lacks, such as {"repeat_penalty": 1.0} for llama-cpp-python's server.

    The draw is the endpoint's: a seed is sent, but no other engine draws the same text from it. Token counts are the endpoint's,
    estimates where it gives none.
    """

    name, blind = "openai", True
    width = None  # of soft tokens: there are none
    chat = Chat("{{ messages[0].content }}" + _BETWEEN + "{{ messages[1].content }}", end="", specials=_CONTROL)

    def __init__(
        self,
        backbone: Backbone,
        *,
        url: str | None = None,
        key: str | None = None,
        offline: bool = False,
        seconds: float = 600,
        retries: int = 4,
        extra: Mapping[str, object] | None = None,
    ):
        self.endpoint: Endpoint = find_endpoint(url, key, offline=offline)
        self.context: int = backbone.context or sys.maxsize  # not known: the endpoint refuses what it cannot hold
        self._model, self._seconds, self._extra = backbone.name, seconds, extra
        self._schema_beside_type = False
        self._client = AsyncOpenAI(
            base_url=self.endpoint.address,
            api_key=self.endpoint.key or "none",
            max_retries=retries,
            timeout=Timeout(None, connect=5.0),  # `seconds` bounds the rest, retries and all
            http_client=DefaultAsyncHttpxClient(follow_redirects=False),  # texts go to the endpoint that was named
        )
        # Requests run in an event loop of another thread: Ctrl-C waits for none of them, and notebooks keep their own loop.
        self._open = ExitStack()
        self._loop = self._open.enter_context(start_blocking_portal())
        self._open.callback(self._loop.call, self._loop.stop, True)  # also requests that Ctrl-C let nobody hold any more
        self._open.callback(self._loop.call, self._client.close)

    @property
    def identity(self) -> dict:
        """All that is known here of what writes: where it is, and what it is called there."""
        return {"endpoint": str(self.endpoint), "name": self._model}

    def count(self, text: str) -> int:
        """An estimate of tokens, rather too high for English: which tokenizer the endpoint has is not known here."""
        return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)

    def generate(
        self, requests: Iterable[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None = None
    ) -> Iterator[Completion]:
        """Completions in the order of `requests`, of which at most 8 are taken ahead and asked for at the same time.

        `on_text` gets the text of all completions in that order, piece by piece when there is one request.
        Raises Incompatible for soft tokens, Refused for what the endpoint will not answer, BadInput, NotFound for an unknown
        model, DepError for other failures.
        """
        unbroken = Unbroken(requests)
        requests = iter(unbroken)
        first = list(islice(requests, 2))
        if on_text and len(first) == 1 and not unbroken.error:
            yield self._stream(*first[0], on_text)
            return
        asked: deque[Future[Completion]] = deque()

        def earliest() -> Completion:
            completion = asked[0].result()
            asked.popleft()  # not before it is done: what is in here is cancelled when the caller stops
            if on_text:
                on_text(completion.text)
            return completion

        try:
            for prompt, sampling in chain(first, requests):
                asked.append(self._loop.start_task_soon(self._complete, self._text(prompt, sampling), sampling))
                if len(asked) == AHEAD:
                    yield earliest()
            while asked:
                yield earliest()
            if unbroken.error:
                raise unbroken.error
        finally:
            for completion in asked:
                completion.cancel()

    def _stream(self, prompt: SoftPrompt, sampling: Sampling, on_text: Callable[[str], None]) -> Completion:
        pieces: SimpleQueue[str | None] = SimpleQueue()
        asked = self._loop.start_task_soon(self._complete, self._text(prompt, sampling), sampling, pieces.put)
        asked.add_done_callback(lambda _: pieces.put(None))
        try:
            while (piece := pieces.get()) is not None:
                on_text(piece)
            return asked.result()
        finally:
            asked.cancel()

    def _text(self, prompt: SoftPrompt, sampling: Sampling) -> str:
        if not prompt.text_only:
            raise no_soft_tokens("this prompt holds soft tokens")
        text = "".join(part.text for part in prompt.parts)
        check_room(len(text), sampling.max_new_tokens, sys.maxsize, self._model)
        return text

    async def _complete(self, text: str, sampling: Sampling, on_text: Callable[[str], None] | None = None) -> Completion:
        started = time.perf_counter()
        arguments, schema = self._arguments(text, sampling), json.loads(sampling.schema) if sampling.schema else None
        try:
            with anyio.fail_after(self._seconds):
                if on_text:
                    written, thought, reason, usage = await self._streamed(arguments, schema, on_text)
                else:
                    written, thought, reason, usage = _content(await self._create(arguments, schema), "message")
        except TimeoutError:
            raise DepError(
                f"the endpoint {self.endpoint} was too slow: no completion within {self._seconds:g} s",
                "ask for fewer --max-new-tokens, or try when it has less to do",
            ) from None
        except APIError as error:  # never chained: it carries the request, and with it the key
            raise await self._failure(error) from None
        except ValueError:  # from the parts that decode text and JSON
            reason = None
        if reason is None:
            raise DepError(
                f"the endpoint {self.endpoint} sent no whole chat completion",
                "see that OPENAI_BASE_URL is right (most end in /v1), or try again",
            )
        return Completion(
            written if written.strip() or not thought else THINK,  # all that it did was think
            "length" if reason == "length" else "stop",
            getattr(usage, "prompt_tokens", None) or self.count(text),
            getattr(usage, "completion_tokens", None) or self.count(written),
            time.perf_counter() - started,
        )

    def _arguments(self, text: str, sampling: Sampling) -> dict:
        system, between, user = text.partition(_BETWEEN)
        if between:  # an empty system message too: without one, many chat templates put in their own
            messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        else:
            messages = [{"role": "user", "content": text}]
        official = self.endpoint.official
        drawing = {"temperature": sampling.temperature, "top_p": sampling.top_p}
        return {
            "model": self._model,
            "messages": messages,
            "seed": sampling.seed,
            "max_completion_tokens" if official else "max_tokens": sampling.max_new_tokens,
            # OpenAI's reasoning models refuse the two whatever they are, and 1 is what it takes without them.
            **{key: value for key, value in drawing.items() if not (official and value == 1)},
            "extra_body": self._extra,
        }

    async def _create(self, arguments: dict, schema: dict | None):
        """The answer, a whole one or a stream, as text under `schema` where there is one."""
        create = self._client.chat.completions.create
        if schema is None:
            return await create(**arguments)
        if not self._schema_beside_type:
            described = {"name": "answer", "schema": schema, "strict": True}
            try:
                return await create(**arguments, response_format={"type": "json_schema", "json_schema": described})
            except APIStatusError as error:
                if "json_object" not in str(error.body):
                    raise
                self._schema_beside_type = True  # as llama-cpp-python's server has it: it names the types that it knows
        return await create(**arguments, response_format={"type": "json_object", "schema": schema})

    async def _streamed(self, arguments: dict, schema: dict | None, on_text: Callable[[str], None]):
        pieces, thought, reason, usage = [], False, None, None
        more = {"stream": True, "stream_options": {"include_usage": True}}
        async with await self._create(arguments | more, schema) as stream:
            async for chunk in stream:
                piece, thinks, now, counts = _content(chunk, "delta")
                if piece:
                    pieces.append(piece)
                    on_text(piece)
                thought, reason, usage = thought or thinks, now or reason, counts or usage
        return "".join(pieces), thought, reason, usage

    async def _failure(self, error: APIError) -> DepError:
        endpoint = self.endpoint
        if isinstance(error, APIStatusError):
            return await self._not_found(error) if error.status_code == 404 else endpoint.failure(error.status_code, error.body)
        if isinstance(error, APIConnectionError):
            why = endpoint.quote(error.__cause__ or error)
            return DepError(f"no connection to the endpoint {endpoint}: {why}", "is it running, and is OPENAI_BASE_URL right?")
        return DepError(f"the endpoint {endpoint} broke off: {endpoint.quote(error.message)}", "try again")

    async def _not_found(self, error: APIStatusError) -> NotFound:
        """A model that is not served, or an address that serves nothing: its list of models tells."""
        endpoint = self.endpoint
        try:
            served = [model.id for model in (await self._client.with_options(max_retries=0, timeout=10).models.list()).data]
        except (APIError, ValueError, TypeError, AttributeError):
            return NotFound(
                f"there is no chat endpoint at {endpoint} (404): {endpoint.quote(error.body)}",
                "see that OPENAI_BASE_URL is right (most end in /v1)",
            )
        known = endpoint.quote(", ".join(map(str, served)) or "nothing")
        return NotFound(f"the endpoint {endpoint} serves no model {self._model!r} (404)", f"--backbone NAME; it serves: {known}")

    def close(self) -> None:
        self._open.close()


def _content(answer, part: str) -> tuple[str, bool, str | None, object]:
    """Text, whether the model thought, finish reason and token counts, as far as they are there: openai checks nothing
    of an answer. Thoughts have a field of their own (vLLM, llama.cpp, OpenRouter), or are only counted (OpenAI)."""
    usage = getattr(answer, "usage", None)
    thought = bool(getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", None))
    try:
        choice = answer.choices[0]
        said = getattr(choice, part)
        thought |= any(getattr(said, name, None) for name in ("reasoning_content", "reasoning"))
        return said.content or "", thought, choice.finish_reason, usage
    except (AttributeError, IndexError, TypeError):
        return "", thought, None, usage
