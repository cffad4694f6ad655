"""Many requests, their reviews in a file: in the order of the requests, resumable, a few of them in memory at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from depcli.actions.answers import Answers
from depcli.actions.writing import Writer
from depcli.backbones.catalogue import Backbone
from depcli.engines.engine import weights_of
from depcli.engines.tuning import USUAL, Tuning
from depcli.errors import Incompatible
from depcli.readers import RequestLine
from depcli.records import Sampling
from depcli.system import resumable

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


def settings_of(writer: Writer, snapshot, backbone: Backbone, sampling: Sampling, analyst=None, tuning: Tuning = USUAL) -> dict:
    """All that shapes a text beside the request: what a file is begun with, and has to go on with."""
    builder, config = writer.builder, writer.adapter_config
    return {
        "method": writer.method,
        "engine": writer.engine.name,
        "backbone": backbone.name,
        "weights": weights_of(writer.engine),
        "chat": writer.engine.chat.digest(),
        "adapter": config and config["weights_sha256"],
        "store_commit": snapshot.commit.id,
        "as_of": snapshot.moment,
        "min_peers": builder.min_peers,
        "history": builder.k,
        "choices": asdict(builder.choices),
        "max_input_tokens": builder.max_input_tokens,
        "template": hashlib.sha256(builder.template.source.encode()).hexdigest(),
        "analyst": analyst.identity if builder.method.profile else None,
        "sampling": asdict(sampling),
        **tuning.rounding(writer.engine.name),
    }


def write_all(
    asked: Generator[RequestLine],
    out: Path,
    writer: Writer,
    snapshot,
    sampling: Sampling,
    settings: dict,
    *,
    total: int | None = None,
    on_progress: Callable[[dict], None] = lambda event: None,
) -> BatchReport:
    """Write the requests, which are closed in the end, into `out`, a file of JSON lines, one for each: line, id if the request
    has one, user_id, asin, and either text, finish, request_seed, prompt_tokens and generated_tokens, or `error` where it cannot
    be written (no request, a user or item that nobody knows, a prompt that does not fit, a model that only thought). `request` is
    the digest of the line that was answered.

    What `out` has already is kept, so the same call goes on after a kill; `settings` (see `settings_of`) are kept beside it, and
    others raise Incompatible, as do other requests than those that were answered. Whatever stops all requests alike (an endpoint
    that is down, a store that is gone, somebody who was forgotten meanwhile) is raised. Progress events: {"done_requests",
    "total_requests" (`total`), "failed_requests", "generated_tokens", "seconds"}.
    """
    report, started = BatchReport(), time.perf_counter()
    beside, lock = out.with_name(f"{out.name}.settings.json"), out.with_name(f".{out.name}.lock")
    with closing(asked), resumable.claimed(out, settings, beside=beside, lock=lock, advice=snapshot.advice):
        resumable.cut_torn_line(out)
        answers, begun = Answers(writer, snapshot, sampling), []
        for entry in resumable.read_lines(out):
            line = next(asked, None)
            if line is None:
                raise _other_requests(out, f"{out} has more lines than there are requests")
            _check_same(line, entry, out)
            report.count(entry, kept=True)
            begun = [*begun, line] if len(begun) + 1 < writer.engine.together else []
        for entry in resumable.append_lines(out, answers.after(begun, asked), snapshot.check_nobody_forgotten):
            report.count(entry, kept=False)
            report.seconds = round(time.perf_counter() - started, 3)
            on_progress(
                {
                    "done_requests": report.requests,
                    "total_requests": total,
                    "failed_requests": report.failed,
                    "generated_tokens": report.generated_tokens,
                    "seconds": report.seconds,
                }
            )
        out.touch(0o600)  # of a shard without a line there is a file too
    return report


def _check_same(line: RequestLine, entry: dict, out: Path) -> None:
    if (entry.get("line"), entry.get("request")) != (line.number, line.digest):
        message = f"{out}, line {entry.get('line')}, was written for another request than line {line.number} now holds"
        raise _other_requests(out, message)


def _other_requests(out: Path, message: str) -> Incompatible:
    return Incompatible(message, "give the requests it was begun with (more at the end are fine), or another --out")
