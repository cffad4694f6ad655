"""Endpoints on this machine: llama-cpp-python's server with a real model, and one that answers as a test says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from depcli.errors import DepError
from depcli.records import Sampling, SoftPrompt, Text

GREEDY = Sampling(temperature=0, max_new_tokens=40)
KEY = "sk-a-secret-of-the-tests"


@contextmanager
def llama_server(gguf: Path, model: str, positions: int) -> Iterator[str]:
    """The base URL of a server in a process of its own that serves `gguf` as `model` to whoever has KEY."""
    settings = {
        "model": gguf,
        "model_alias": model,
        "n_ctx": positions,
        "host": "127.0.0.1",
        "port": 0,
        "api_key": KEY,
        "n_threads": 1,
        "n_threads_batch": 1,
        "verbose": "false",
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-m", "llama_cpp.server", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if "running on" in line:
                    break
            else:
                raise RuntimeError("".join(said))
            threading.Thread(target=process.stderr.read, daemon=True).start()  # so that it never waits for a reader
            yield line.partition("running on ")[2].split()[0] + "/v1"
        finally:
            process.terminate()
            process.wait()


@dataclass
class Answer:
    """What the scripted endpoint sends: a document or text, with a status; `stream` is sent as server-sent events."""

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stream: list | None = None


def completion(text: str | None, finish: str = "stop", **more) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Answer({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], **more})


def failing(status: int, message: str = "no", **headers: str) -> Answer:
    return Answer({"error": {"message": message, "type": "t"}}, status, {"retry-after-ms": "1", **headers})


class Scripted:
    """An endpoint whose answers are computed by `answer(request document)`; it keeps the documents and the headers it got."""

    def __init__(self, answer: Callable[[dict], Answer], models: list[str] | None = None):
        self.asked: list[dict] = []
        self.headers: list[dict] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                document = json.loads(self.rfile.read(int(self.headers["content-length"])))
                scripted.asked.append(document)
                scripted.headers.append({name.lower(): value for name, value in self.headers.items()})
                self._send(answer(document) if self.path == "/v1/chat/completions" else failing(404, "nothing here"))

            def do_GET(self):
                there = self.path == "/v1/models" and models is not None
                self._send(
                    Answer({"object": "list", "data": [{"id": m, "object": "model"} for m in models]})
                    if there
                    else failing(404, "nothing here")
                )

            def _send(self, answer: Answer):
                if answer.stream is not None:
                    body, kind = "".join(f"data: {_text(event)}\n\n" for event in answer.stream), "text/event-stream"
                else:
                    body, kind = _text(answer.body), "application/json"
                self.send_response(answer.status)
                for name, value in {"content-type": kind, "content-length": str(len(body.encode())), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that has gone away
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _text(body: object) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def prompt(text: str = "hello") -> SoftPrompt:
    return SoftPrompt((Text(text),))


def chat_prompt(engine, system: str, user: str) -> SoftPrompt:
    return SoftPrompt((Text(engine.chat.render(system, engine.chat.clean(user))),))


def failure_of(engine, sampling: Sampling = GREEDY, on_text=None) -> DepError:
    with pytest.raises(DepError) as caught:
        list(engine.generate([(prompt(), sampling)], on_text))
    assert KEY not in f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


def in_turn(*answers):
    """One answer after the other, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
