"""Many requests, their reviews in a file: in the order of the requests, resumable, a few of them in memory at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from depcli import resumable
from depcli.analysts.choose import weights_state
from depcli.backbones.catalogue import Backbone
from depcli.errors import BadInput, Incompatible, Unknown
from depcli.readers import RequestLine
from depcli.records import Request, Sampling
from depcli.writing import Writer, Written, find_request

_WINDOW = 32  # lines that are read, and whose store look-ups are made, together
_SHOWN = 5


@dataclass
class BatchReport:
    """What a requests file came to, lines of earlier runs included; `kept` of the lines were there, `kept_failed` of them with an
    error (and were not tried again), tokens and seconds are of this run."""

    requests: int = 0
    failed: int = 0
    kept: int = 0
    kept_failed: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0
    first_errors: list[dict] = field(default_factory=list)

    @property
    def written(self) -> int:
        return self.requests - self.failed

    def count(self, entry: dict, *, kept: bool) -> None:
        self.requests += 1
        self.kept += kept
        self.generated_tokens += 0 if kept else entry.get("generated_tokens", 0)
        if "error" in entry:
            self.failed += 1
            self.kept_failed += kept
            if len(self.first_errors) < _SHOWN:
                self.first_errors.append({key: entry[key] for key in ("line", "error")})


def settings_of(writer: Writer, snapshot, backbone: Backbone, sampling: Sampling, analyst=None) -> dict:
    """All that shapes a text beside the request: what a file is begun with, and has to go on with."""
    builder, config = writer.builder, writer.adapter_config
    return {
        "method": writer.method, "engine": writer.engine.name, "backbone": backbone.name,
        "weights": weights_state(writer.engine, backbone), "adapter": config and config["weights_sha256"],
        "store_commit": snapshot.commit.id, "as_of": snapshot.moment, "min_peers": builder.min_peers, "history": builder.k,
        "choices": asdict(builder.choices), "max_input_tokens": builder.max_input_tokens,
        "template": hashlib.sha256(builder.template.source.encode()).hexdigest(),
        "analyst": analyst.identity if builder.method.profile else None, "sampling": asdict(sampling),
    }  # fmt: skip


def write_all(
    asked: Iterable[RequestLine], out: Path, writer: Writer, snapshot, sampling: Sampling, settings: dict, *,
    total: int | None = None, on_progress: Callable[[dict], None] = lambda event: None,
) -> BatchReport:  # fmt: skip
    """Write the requests into `out`, a file of JSON lines, one for each: line, id if the request has one, user_id, asin, and
    either text, finish, request_seed, prompt_tokens and generated_tokens, or `error` where it cannot be written (no request, a
    user or item that nobody knows, a prompt that does not fit). `request` is the digest of the line that was answered.

    What `out` has already is kept, so the same call goes on after a kill; `settings` (see `settings_of`) are kept beside it, and
    others raise Incompatible, as do other requests than those that were answered. Whatever stops all requests alike (an endpoint
    that is down, a store that is gone) is raised. Progress events: {"done_requests", "total_requests" (`total`),
    "failed_requests", "generated_tokens", "seconds"}.
    """
    report, started = BatchReport(), time.perf_counter()
    beside, lock = out.with_name(f"{out.name}.settings.json"), out.with_name(f".{out.name}.lock")
    with resumable.claimed(out, settings, beside=beside, lock=lock):
        resumable.cut_torn_line(out)
        there, asked, batch = resumable.read_lines(out), iter(asked), _Batch(writer, snapshot, sampling)
        while window := list(islice(asked, batch.window)):
            done = list(islice(there, len(window)))
            for line, entry in zip(window, done, strict=False):
                _check_same(line, entry, out)
                report.count(entry, kept=True)
            for entry in resumable.append_lines(out, batch.answers(window, len(done))):
                report.count(entry, kept=False)
                report.seconds = round(time.perf_counter() - started, 3)
                on_progress({
                    "done_requests": report.requests, "total_requests": total, "failed_requests": report.failed,
                    "generated_tokens": report.generated_tokens, "seconds": report.seconds,
                })  # fmt: skip
        if next(there, None) is not None:
            raise _other_requests(out, f"{out} has more lines than there are requests")
    return report


class _Batch:
    """How one window of lines becomes as many entries."""

    def __init__(self, writer: Writer, snapshot, sampling: Sampling):
        self._writer, self._snapshot, self._sampling = writer, snapshot, sampling
        self._together = writer.engine.together
        self.window = self._together if self._together > 1 else _WINDOW

    def answers(self, window: Sequence[RequestLine], done: int) -> Iterator[dict]:
        """The entries of a window but the first `done`. Where an engine computes requests together, so that the rounding of
        one depends on its neighbours, those are computed again with the rest: a run that was killed ends in the same file."""
        if done == len(window):
            return
        if self._together == 1:
            window, done = window[done:], 0
        found = [self._find(line) for line in window]
        written = self._write([request for request in found if isinstance(request, Request)])
        entries = (
            _entry(line, next(written) if isinstance(request, Request) else request)
            for line, request in zip(window, found, strict=True)
        )
        yield from islice(entries, done, None)

    def _find(self, line: RequestLine) -> Request | str:
        """The request of a line, or why there is none."""
        if line.problem:
            return line.problem
        try:
            return find_request(self._snapshot, **line.asked)
        except Unknown as error:
            return f"{error.message}: {error.hint}".replace(
                "--item-title and --item-description", "item_title and item_description"
            )

    def _write(self, requests: Sequence[Request]) -> Iterator[Written | str]:
        """Each of the requests as it was written, or why it cannot be; from the first of these on, one by one."""
        done = 0
        try:
            for written in self._writer.write(requests, self._sampling):
                done += 1
                yield written
        except BadInput as error:
            if len(requests) == 1:
                yield error.message
                return
            for request in requests[done:]:
                yield from self._write([request])


def _entry(line: RequestLine, found: Written | str) -> dict:
    entry = {
        "line": line.number, **({} if line.id is None else {"id": line.id}),
        **{key: line.asked[key] for key in ("user_id", "asin") if key in line.asked}, "request": line.digest,
    }  # fmt: skip
    if isinstance(found, str):
        return {**entry, "error": found}
    completion = found.completion
    return {
        **entry, "text": completion.text, "finish": completion.finish, "request_seed": found.seed,
        "prompt_tokens": completion.prompt_tokens, "generated_tokens": completion.generated_tokens,
    }  # fmt: skip


def _check_same(line: RequestLine, entry: dict, out: Path) -> None:
    if (entry.get("line"), entry.get("request")) != (line.number, line.digest):
        message = f"{out}, line {entry.get('line')}, was written for another request than line {line.number} now holds"
        raise _other_requests(out, message)


def _other_requests(out: Path, message: str) -> Incompatible:
    return Incompatible(message, "give the requests it was begun with (more at the end are fine), or another --out")
