"""WordNet for METEOR, in whichever usual place it is: NLTK's data or Debian's package. Nothing is ever fetched."""

from __future__ import annotations

import gc
import io
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

DEBIAN = "/usr/share/wordnet"
INSTALL = "apt-get install wordnet-base, or python -m nltk.downloader wordnet"
# The one file that Debian leaves out: lexicographer file names and the number of their part of speech (lexnames(5WN)).
_LEXNAMES = (
    ("adj", 3, "all pert"),
    ("adv", 4, "all"),
    (
        "noun",
        1,
        "Tops act animal artifact attribute body cognition communication event feeling food group location motive object "
        "person phenomenon plant possession process quantity relation shape state substance time",
    ),
    (
        "verb",
        2,
        "body change cognition communication competition consumption contact creation emotion motion perception "
        "possession social stative weather",
    ),
    ("adj", 3, "ppl"),
)


def lexnames() -> str:
    """The text of WordNet 3.0's file `lexnames`."""
    names = [(f"{prefix}.{name}", pos) for prefix, pos, group in _LEXNAMES for name in group.split()]
    return "".join(f"{number:02d}\t{name}\t{pos}\n" for number, (name, pos) in enumerate(names))


def find_wordnet(places: Sequence[str] | None = None):
    """(NLTK WordNet reader, where it was found), or None. Looks through NLTK's data folders, then Debian's; `places` replaces
    them all. Loading takes seconds and 100 MB, once."""
    import nltk

    if places is None:
        places = (*nltk.data.path, DEBIAN)
    return _find(tuple(dict.fromkeys(map(str, places))))  # without repeats: `_read` adds the place it found to NLTK's folders


@lru_cache(maxsize=2)
def _find(places: tuple[str, ...]):
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    for place in places:
        for name in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
            try:
                root = nltk.data.find(name, [place])
            except LookupError:
                continue
            return _read(WordNetCorpusReader, root, place), "nltk data"
        if (Path(place) / "data.noun").is_file():
            return _read(_debian_reader(), place, place), "Debian wordnet-base"
    return None


def _read(reader, root, place: str):
    import nltk

    if place not in nltk.data.path:
        nltk.data.path.append(place)  # NLTK opens files below these folders only
    collecting = gc.isenabled()
    gc.disable()  # looking for garbage among 150,000 new entries, none of them garbage, takes as long as making them
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The multilingual functions are not available")
            return reader(root, None)
    finally:
        if collecting:
            gc.enable()


def _debian_reader():
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class DebianWordNet(WordNetCorpusReader):
        """WordNet as Debian lays it out: no `lexnames`, no `index.sense` (which METEOR does not use)."""

        def open(self, file):
            if file.startswith("index."):  # large, and read line by line: faster without NLTK's kind of file
                return open(self.abspath(file), encoding="utf-8")
            return io.StringIO(lexnames()) if file == "lexnames" else super().open(file)

        def index_sense(self, version=None):
            return {}

    return DebianWordNet
