"""METEOR's WordNet, present and absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from depcli.errors import MissingDependency
from depcli.evaluation.measures import wordnet
from depcli.evaluation.measures.metrics import meteor, meteor_mean


def test_without_wordnet_meteor_is_none_and_says_what_to_install(tmp_path):
    score = meteor(["a car"], ["an auto"], wordnet_places=[str(tmp_path)])
    assert score.value is None and score.each is None
    assert "apt-get install wordnet-base" in score.note and "wordnet:absent" in score.signature


def test_selection_by_meteor_does_not_go_on_without_wordnet(tmp_path, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(wordnet, "DEBIAN", str(tmp_path))
    with pytest.raises(MissingDependency) as caught:
        meteor_mean(["a"], ["a"])
    assert "wordnet-base" in caught.value.hint


def test_lexnames_are_wordnet_s_45():
    lines = wordnet.lexnames().splitlines()
    assert len(lines) == 45
    assert [lines[i] for i in (0, 2, 3, 29, 43, 44)] == [
        "00\tadj.all\t3",
        "02\tadv.all\t4",
        "03\tnoun.Tops\t1",
        "29\tverb.body\t2",
        "43\tverb.weather\t2",
        "44\tadj.ppl\t3",
    ]


def write_small_wordnet(folder: Path) -> None:
    """A WordNet of one synset, car = auto. A line of a data file begins with its own place in the file."""
    folder.mkdir(parents=True)
    header = "  1 This is no WordNet 3.0 Copyright of anybody\n"
    for pos in ("adj", "adv", "noun", "verb"):
        synset = f"{len(header):08d} 06 n 02 car 0 auto 0 000 | it drives\n" if pos == "noun" else ""
        index = "".join(f"{lemma} n 1 0 1 0 {len(header):08d}  \n" for lemma in ("auto", "car")) if pos == "noun" else ""
        (folder / f"data.{pos}").write_text(header + synset)
        (folder / f"index.{pos}").write_text(header + index)
        (folder / f"{pos}.exc").write_text("")


@pytest.mark.parametrize("layout", ["nltk data", "Debian wordnet-base"])
def test_wordnet_is_found_in_either_layout(tmp_path, layout):
    place = tmp_path / "place"
    folder = place / "corpora" / "wordnet" if layout == "nltk data" else place
    write_small_wordnet(folder)
    if layout == "nltk data":
        (folder / "lexnames").write_text(wordnet.lexnames())
        (folder / "index.sense").write_text("")
    found = meteor(["an auto", "an auto"], ["a car", "a boat"], wordnet_places=[str(tmp_path / "none"), str(place)])
    assert found.each == (pytest.approx(0.25), 0)
    assert f"wordnet:3.0 ({layout})" in found.signature
