"""Lines of a requests file in, their entries out: in order, a few in memory at a time; those that cannot be written say why."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from depcli.actions.writing import Writer, Written, find_request
from depcli.errors import BadInput, Unbroken, Unknown
from depcli.readers import RequestLine
from depcli.records import Request, Sampling


class Answers:
    """What becomes of lines, by one writer. Raises what stops all of them alike."""

    def __init__(self, writer: Writer, snapshot, sampling: Sampling):
        self._writer, self._snapshot, self._sampling = writer, snapshot, sampling

    def after(self, begun: Sequence[RequestLine], lines: Iterator[RequestLine]) -> Iterator[dict]:
        """The entries of `lines`. Where an engine computes requests together, so that the rounding of one depends on its
        neighbours, `begun` are those of an unfinished company that have their entries: they are computed again with the rest,
        so that a run that was killed ends in the same file."""
        together, unbroken = self._writer.engine.together, Unbroken(lines)
        if together == 1:
            yield from self._one_after_another(iter(unbroken))
        else:
            lines, done = chain(begun, unbroken), len(begun)
            while window := list(islice(lines, together)):
                if len(window) > done:
                    yield from islice(self._together(window), done, None)
                done = 0
        if unbroken.error:
            raise unbroken.error

    def _one_after_another(self, lines: Iterator[RequestLine]) -> Iterator[dict]:
        """As one stream, so that an engine never waits for the last of a window."""
        waiting: deque[tuple[RequestLine, Request | str]] = deque()  # read, and without an entry

        def requests() -> Iterator[Request]:
            yield from [found for _, found in waiting if isinstance(found, Request)]
            for line in lines:
                found = self._find(line)
                waiting.append((line, found))
                if isinstance(found, Request):
                    yield found

        more = True
        while more:
            try:
                for written in self._writer.write(requests(), self._sampling):
                    yield from _refused(waiting)
                    yield _entry(waiting.popleft()[0], written)
                more = False
            except BadInput:  # of the next one
                yield from _refused(waiting)
                line, request = waiting.popleft()
                yield _entry(line, self._alone(request))
        yield from _refused(waiting)

    def _together(self, window: Sequence[RequestLine]) -> Iterator[dict]:
        found = [self._find(line) for line in window]
        written = self._write([request for request in found if isinstance(request, Request)])
        for line, request in zip(window, found, strict=True):
            yield _entry(line, next(written) if isinstance(request, Request) else request)

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
        except BadInput:
            for request in requests[done:]:
                yield self._alone(request)

    def _alone(self, request: Request) -> Written | str:
        try:
            (written,) = self._writer.write([request], self._sampling)
            return written
        except BadInput as error:
            return error.message


def _refused(waiting: deque[tuple[RequestLine, Request | str]]) -> Iterator[dict]:
    """The entries of those at the front that are no requests."""
    while waiting and isinstance(waiting[0][1], str):
        yield _entry(*waiting.popleft())


def _entry(line: RequestLine, found: Written | str) -> dict:
    entry = {
        "line": line.number,
        **({} if line.id is None else {"id": line.id}),
        **{key: line.asked[key] for key in ("user_id", "asin") if key in line.asked},
        "request": line.digest,
    }
    if isinstance(found, str):
        return {**entry, "error": found}
    completion = found.completion
    if found.problem:
        return {**entry, "error": found.problem, "generated_tokens": completion.generated_tokens}
    return {
        **entry,
        "text": completion.text,
        "finish": completion.finish,
        "request_seed": found.seed,
        "prompt_tokens": completion.prompt_tokens,
        "generated_tokens": completion.generated_tokens,
    }
