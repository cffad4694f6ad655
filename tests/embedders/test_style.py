from __future__ import annotations

import numpy as np
import pytest

from depcli import embedders
from depcli.cli import main
from depcli.embedders import minilm
from depcli.embedders.style import projection
from depcli.embedders.style.features import COUNT, features
from depcli.errors import Incompatible
from depcli.recipes import style
from depcli.store import Store

ODD = ["", " ", "x", "\n\n", "映画 🙂 [b]bold[/b]", "\ud800 alone", "A" * 50_000, "!?" * 3000, "0", "word " * 9000, "\x00\x1b[0m"]
needs_minilm = pytest.mark.skipif(not minilm.installed(), reason="the minilm extra is not installed")


@pytest.mark.parametrize("text", ODD)
def test_features_of_any_text_are_finite(text):
    found = features(text)
    assert found.shape == (COUNT,) and found.dtype == np.float32 and np.isfinite(found).all()


def test_features_count_style_and_not_topic():
    plain = features("The film is good, and the cast of it was even better.")
    other_topic = features("The soup is good, and the cook of it was even better.")
    other_style = features("the film is GOOD!! and (wow) its cast - even better...")
    assert np.linalg.norm(plain - other_topic) < 0.15 * np.linalg.norm(plain - other_style)


def world(seed: int, *, users: int, topic: float = 3.0, style: float = 1.0):
    """Inputs (n, 30) of users who each wrote about 8 of 40 items: the item shows in dimensions 0-9, the author in 10-14, noise
    everywhere. What the item shows is the same in every world, so are the places."""
    rng, items = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(40, 30))
    items[:, 10:] = 0
    rows, who, what = [], [], []
    for user in range(users):
        own = np.zeros(30)
        own[10:15] = rng.normal(size=5)
        for item in rng.permutation(40)[:8]:
            rows.append(topic * items[item] + style * own + rng.normal(size=30))
            who.append(f"u{user}")
            what.append(f"i{item}")
    return np.array(rows, np.float32), who, what


def auc(vectors: np.ndarray, users: list[str]) -> float:
    """How often the last of each user's eight is nearer to the mean of the others than to another user's."""
    grouped = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).reshape(len(users) // 8, 8, -1)
    profiles = grouped[:, :7].mean(axis=1)
    near = grouped[:, 7] @ (profiles / np.linalg.norm(profiles, axis=1, keepdims=True)).T
    own = np.diag(near)[:, None]
    return float((own > near).sum() / (len(near) * (len(near) - 1)))


def test_the_fit_finds_what_tells_people_apart_on_people_it_never_saw():
    fitted = style.fit(*world(0, users=200), dimension=8)
    rows, users, _ = world(1, users=100)
    assert auc(rows, users) < 0.65 and auc(fitted(rows), users) > 0.85
    strength = np.linalg.norm(fitted.matrix.astype(float) / fitted.deviation[:, None], axis=1)
    assert strength[10:15].min() > 2 * strength[:10].max() and strength[10:15].min() > 2 * strength[15:].max()


def test_the_fit_finds_nothing_where_there_is_nothing():
    fitted = style.fit(*world(0, users=200, style=0.0), dimension=8)
    rows, users, _ = world(1, users=100, style=0.0)
    assert auc(fitted(rows), users) == pytest.approx(0.5, abs=0.1)


def test_one_review_of_an_item_alone_does_not_count():
    rows, users, items = world(0, users=50)
    more = np.concatenate([rows, np.full((3, 30), 2.0, np.float32)])
    alone, without = style.fit(more, [*users, "u0", "u1", "u1"], [*items, "a", "b", "c"]), style.fit(rows, users, items)
    kept, before = alone.matrix / alone.deviation[:, None], without.matrix / without.deviation[:, None]
    assert abs(np.corrcoef(kept[:, 0], before[:, 0])[0, 1]) > 0.999


def test_the_bundled_projection_is_whole():
    bundled, digest = projection.load()
    inputs = COUNT + 384 * len(projection.LAYERS)
    assert bundled.mean.shape == bundled.deviation.shape == (inputs,) and bundled.matrix.shape == (inputs, style.DIMENSION)
    assert (bundled.deviation > 0).all() and all(np.isfinite(part).all() for part in vars(bundled).values())
    assert len(digest) == 12 and projection.WEIGHTS.stat().st_size < 1_000_000


@needs_minilm
def test_minilm_style_is_minilm_beside_style():
    embedder, texts = embedders.load("minilm+style", offline=True), [text for text in ODD if text != "\ud800 alone"]
    vectors = embedder.encode(texts)
    assert vectors.shape == (len(texts), 512) == (len(texts), embedder.identity.dimension) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[:, :384] * np.sqrt(5), embedders.load("minilm", offline=True).encode(texts), atol=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(embedder.encode([text])[0], vector, atol=2e-5)
    assert embedder.encode([]).shape == (0, 512)
    assert embedder.identity == embedders.load("minilm+style", offline=True).identity
    assert projection.load()[1] in embedder.identity.revision and minilm.MiniLM().identity.revision in embedder.identity.revision


@needs_minilm
def test_two_texts_on_one_thing_are_near_in_minilm_and_far_in_style():
    calm = "The film is slow, patient and, in the end, rather moving; one leaves it grateful."
    calm2 = "The concert was long, careful and, on the whole, quite beautiful; one went home content."
    loud = "OMG this film!!! SLOW but sooo moving, i cried... 10/10 WATCH IT"
    a, b, c = embedders.load("minilm+style", offline=True).encode([calm, calm2, loud])
    assert a[:384] @ c[:384] > a[:384] @ b[:384]
    assert a[384:] @ b[384:] > a[384:] @ c[384:]


@needs_minilm
def test_a_store_of_it_is_made_and_never_mixed(tmp_path, capsys):
    file, profiles = tmp_path / "reviews.jsonl", str(tmp_path / "profiles")
    file.write_text('{"user_id": "u", "asin": "i", "text": "Well, well."}\n{"user_id": "v", "asin": "i", "text": "bad!!"}\n')
    assert main(["ingest", str(file), "--embedder", "minilm+style", "--profiles", profiles]) == 0
    assert "minilm+style (512-d" in capsys.readouterr().err
    assert main(["ingest", str(file), "--profiles", profiles]) == 0 and "the store was made with it" in capsys.readouterr().err
    assert main(["ingest", str(file), "--embedder", "minilm", "--profiles", profiles]) == Incompatible.exit_code
    assert Store.open(profiles).embedder == embedders.load("minilm+style", offline=True).identity
