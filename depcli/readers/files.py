"""Opening what people name: a file, plain or gzipped whatever its name says, or '-' for standard input."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from depcli.errors import BadInput, NotFound

STDIN = "-"
MAX_BYTES = 64 * 2**20  # of one line or element: no review is as long, and memory stays flat
ENDLESS_BYTES = 2**30  # a line as long as this will not end: /dev/zero, a disk image, whatever it is
_BLOCK_BYTES = 2**20
_KEPT = "what stands before it was read; mend the file and run the same command again"
_GZIP, _UTF16, _BOM = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff"), b"\xef\xbb\xbf"
_PACKED = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # zip, as .xlsx and .ods are too; .xls
_WHITE = b" \t\r\n"
_ALONE = re.compile(r"(?<=\r)(?!\n|$)")  # after the end of a line of an old Mac
_START, _BETWEEN = re.compile(r"\s*\[?\s*"), re.compile(r"\s*,?\s*")  # of the elements of a JSON array


def open_source(path: str | os.PathLike) -> Source:
    """The bytes of a file, or of standard input. Raises NotFound for a file that is not there, BadInput for what
    cannot be read."""
    if path == STDIN:
        return Source("standard input", sys.stdin.buffer, owned=False)
    return Source(os.fspath(path), _open(os.fspath(path)), owned=True)


class Source:
    """One file, decompressed, from its start on."""

    kind, description, columns = "jsonl", "", None

    def __init__(self, name: str, raw: BinaryIO, *, owned: bool):
        self.name, self._raw, self._owned = name, raw, owned
        self._size = os.fstat(raw.fileno()).st_size if owned else 0
        self._stream = raw if isinstance(raw, BufferedReader) else BufferedReader(raw)
        try:
            self._check()
        except BadInput:
            self.close()
            raise

    def _check(self) -> None:
        head = self._peek()
        if head.startswith(_GZIP):
            self._stream = BufferedReader(gzip.GzipFile(fileobj=self._raw))
            head = self._peek()
        if head.startswith(_UTF16):
            raise BadInput(f"{self.name} is UTF-16, not UTF-8", f"convert it: iconv -f UTF-16 -t UTF-8 {self.name} > NEW")
        if head.startswith(_PACKED):
            hint = "save the spreadsheet as CSV, in UTF-8; or unpack the archive, and name the files that were in it"
            raise BadInput(f"{self.name} is a spreadsheet (.xlsx, .ods, .xls) or a zip archive", hint)
        if head.startswith(_BOM):
            self._stream.read(len(_BOM))
        if not head:
            raise BadInput(f"{self.name} is empty")
        self.unit = "element" if self._is_array() else "line"

    @property
    def head(self) -> bytes:
        """The first few thousand bytes, decompressed; they are still to be read."""
        return self._peek()

    def lines(self) -> Iterator[str]:
        """Lines with their ends (\\n, \\r or \\r\\n); a byte that is not UTF-8 becomes a lone surrogate. A line longer than
        MAX_BYTES comes in pieces."""
        utf8, number, held = codecs.getincrementaldecoder("utf-8")("surrogateescape"), 0, ""
        while block := self._read(self._stream.readline, _BLOCK_BYTES, f"line {number}"):
            text, held = held + utf8.decode(block), ""
            lines = _ALONE.split(text) if "\r" in text else [text]
            if block.endswith(b"\n"):
                number += 1
            elif len(lines[-1]) <= MAX_BYTES:  # the rest of it is still to come, or a \n to its \r
                held = lines.pop()
            yield from lines
        if held:
            yield held

    def entries(self) -> Iterator[tuple[int, str | None, str]]:
        """(number from 1, JSON text, ""), or for what is none (number, its text where that can be held, the reason): one per line
        that is not blank, or per element of the array."""
        return self._elements() if self.unit == "element" else self._lines()

    @property
    def position(self) -> tuple[int, int] | None:
        """(bytes read, bytes in all) of the file as it lies on the disk; None for a pipe, whose end is not known."""
        if not self._size:
            return None
        return (self._size if self._raw.closed else self._raw.tell()), self._size

    def close(self) -> None:
        """Let go of the file; standard input stays open."""
        if self._owned:
            self._stream.close()
            self._raw.close()

    def __del__(self):  # nobody need iterate over a reader
        self.close()

    def _is_array(self) -> bool:
        """Whether the file is one JSON array of objects. (A line may be an array too: of something else.)"""
        head = self._peek().lstrip(_WHITE)
        return head[:1] == b"[" and head[1:].lstrip(_WHITE)[:1] in (b"{", b"]", b"")

    def _lines(self) -> Iterator[tuple[int, str | None, str]]:
        number = 0
        while line := self._read(self._stream.readline, MAX_BYTES, f"line {number}"):
            number += 1
            if len(line) == MAX_BYTES and not line.endswith(b"\n"):
                length = len(line)
                while line and not line.endswith(b"\n"):
                    line = self._read(self._stream.readline, MAX_BYTES, f"line {number}")
                    length += len(line)
                    if length > ENDLESS_BYTES:
                        hint = "what stands before it was read; is it a file of reviews, one JSON object per line?"
                        raise BadInput(f"{self.name}: line {number} goes on after {ENDLESS_BYTES // 2**20:,} MiB", hint)
                yield number, None, f"longer than {MAX_BYTES // 2**20} MiB"
            elif line.strip():
                yield number, *_decoded(line)

    def _elements(self) -> Iterator[tuple[int, str | None, str]]:
        """Element by element, without holding the whole array."""
        decoder, utf8 = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")("surrogateescape")
        text, at, number, block = "", 0, 0, b"first"
        while True:
            at = (_BETWEEN if number else _START).match(text, at).end()
            if text.startswith("]", at):
                self._refuse_more(text[at + 1 :].encode("utf-8", "surrogateescape"), number)
                return
            try:
                end = decoder.raw_decode(text, at)[1]
            except RecursionError:
                raise BadInput(f"{self.name}: element {number + 1} is nested too deep", _KEPT) from None
            except ValueError as error:  # broken, or not all of it read yet
                if not block or len(text) - at > MAX_BYTES:
                    raise BadInput(f"{self.name} is not valid JSON after element {number}: {error}", _KEPT) from None
                block = self._read(self._stream.read, max(len(text) - at, _BLOCK_BYTES), f"element {number}")
                text, at = text[at:] + utf8.decode(block), 0
                continue
            number += 1
            yield number, *_decoded(text[at:end].encode("utf-8", "surrogateescape"))
            at = end

    def _refuse_more(self, rest: bytes, number: int) -> None:
        """Whatever follows the array would be left out without a word: another array, say, of files that were joined by cat."""
        while not rest.strip(_WHITE):
            rest = self._read(self._stream.read, _BLOCK_BYTES, f"element {number}")
            if not rest:
                return
        message = f"{self.name} goes on after the end of its JSON array of {number:,} elements"
        raise BadInput(message, "the array was read; name files one by one, or write one object per line")

    def _peek(self) -> bytes:
        return self._read(self._stream.peek, 4096, "its first bytes", "nothing of it was read; mend the file and try again")

    def _read(self, read: Callable[[int], bytes], size: int, place: str, hint: str = _KEPT) -> bytes:
        try:
            return read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadInput(f"{self.name} is a broken gzip file after {place}: {error}", hint) from error
        except OSError as error:
            raise BadInput(f"{self.name} cannot be read after {place}: {error.strerror or error}") from error


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path or repr(path)}", "check the path; '-' reads standard input") from None
    except IsADirectoryError:
        endings = Counter("".join(file.suffixes[-2:]) for file in Path(path).iterdir() if file.is_file())
        usual = endings.most_common(1)[0][0] if endings else ""
        raise BadInput(f"{path} is a folder", f"name the files in it: {os.path.join(path, '*' + usual)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}") from None


def _decoded(line: bytes) -> tuple[str, str]:
    try:
        return line.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return line.decode("utf-8", "replace"), f"not valid UTF-8 at byte {error.start + 1}"
