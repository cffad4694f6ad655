"""Pre-train `mini`: python -m depcli.recipes.pretrain DATA OUT [--tokens N] [--minutes M]

Qwen2 architecture; float32 on a CPU without bf16 matrix units, bf16 autocast otherwise. Matrices are trained with Muon
(orthogonalised momentum, Jordan 2024), embeddings and vectors with AdamW. Warm-up, constant rate, linear decay to zero over
the last 40 %. Document lengths grow: at most 512 tokens first, then 1,024, at the end 2,048.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F

from depcli.backbones import foreknown
from depcli.chat import Chat
from depcli.personal.template import Template
from depcli.recipes import corpus as corpora
from depcli.recipes import tokenizer as pieces

SHAPE = dict(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, intermediate_size=704)
# (share of training done, longest document in tokens)
PHASES = ((0.30, 512), (0.85, 1024), (1.0, 2048))
BATCH_TOKENS = 4096
MADE_UP = "made up"


def build_model(vocabulary: int, pad: int, end: int):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=vocabulary,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
        initializer_range=0.02,
        **SHAPE,
    )
    config._attn_implementation = "sdpa"
    return Qwen2ForCausalLM(config)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix updates are orthogonalised by five Newton-Schulz steps, scaled to AdamW's usual update size."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values end between about 0.7 and 1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[0] > g.shape[1]
    x = (g.T if tall else g) / (g.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Documents:
    """An endless stream of batches. A pool of documents is shuffled, cut into length groups, and served in random order."""

    def __init__(self, corpus: corpora.Corpus, tokenizer, seed: int = 0):
        self.corpus, self.tokenizer, self.rng = corpus, tokenizer, random.Random(seed)
        self.template = Template("compact")
        self.chat = Chat(tokenizer.chat_template, tokenizer.eos_token, specials=pieces.CONTROL)
        self.streams = {name: self._stream(name) for name in corpora.CORPORA} | {MADE_UP: corpus.made_up(self.rng)}

    def _stream(self, name: str):
        while True:
            yield from self.corpus.windows(name, self.rng)

    def pool(self, max_tokens: int, mixture: dict[str, float], size: int = 1536):
        for name in self.rng.choices(list(mixture), list(mixture.values()), k=size):
            window = next(self.streams[name])
            source = "mixed_reviews" if name == MADE_UP else name
            entries = [corpora.past(row, self.corpus.item(source, row["asin"])) for row in window]
            yield corpora.encode(self.tokenizer, self.template, self.chat, entries, max_tokens, self.rng)

    def batches(self, max_tokens: int, mixture: dict[str, float]):
        documents = sorted(self.pool(max_tokens, mixture), key=lambda document: len(document[0]))
        batches, batch = [], []
        for document in documents:
            if batch and len(document[0]) * (len(batch) + 1) > BATCH_TOKENS:
                batches.append(batch)
                batch = []
            batch.append(document)
        self.rng.shuffle(batches)  # the remainder of a pool is dropped
        yield from batches


def collate(batch):
    width = max(len(ids) for ids, _ in batch)
    ids = np.zeros((len(batch), width), np.int64)
    mask = np.zeros((len(batch), width), bool)
    for row, (tokens, wanted) in enumerate(batch):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, wanted
    return torch.from_numpy(ids), torch.from_numpy(mask)


def loss_of(model, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the masked tokens. Right padding needs no attention mask under causal attention."""
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    wanted = mask[:, 1:]
    return F.cross_entropy(model.lm_head(hidden[wanted]).float(), ids[:, 1:][wanted])


def shares(progress: float) -> dict[str, float]:
    """Of the documents, by source: English in general first, habits to notice throughout, people's histories later."""
    critics = 0.15 + 0.55 * progress
    return {"mixed_reviews": 0.55 * (1 - progress), MADE_UP: 0.25, "digital_music": 0.05, "rotten_tomatoes": critics}


def rate(progress: float) -> float:
    return min(1.0, progress / 0.01 + 0.02, (1.0 - progress) / 0.4)


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--tokens", default=30_000_000, help="Training tokens, padding not counted.")
@click.option("--minutes", default=0.0, help="Decay so as to end after this many minutes if that comes first. 0: no limit.")
@click.option("--seed", default=0)
def main(data: Path, out: Path, tokens: int, minutes: float, seed: int):
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    corpus = corpora.Corpus(data)
    tokenizer = pieces.train(corpus.texts())
    tokenizer.save_pretrained(out)
    np.save(out / foreknown.FILE, np.unique(foreknown.marks(corpus.reviews())))
    model = build_model(len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [Muon(matrices, lr=3e-3), torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)]
    peak = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    documents = Documents(corpus, tokenizer, seed)
    click.echo(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device}", err=True)

    start, seen, step, progress, smooth = time.monotonic(), 0, 0, 0.0, None
    while progress < 1.0:
        max_tokens = next(limit for share, limit in PHASES if progress < share)
        for batch in documents.batches(max_tokens, shares(progress)):
            ids, mask = (t.to(device) for t in collate(batch))
            elapsed = (time.monotonic() - start) / 60
            progress = max(seen / tokens, elapsed / minutes if minutes else 0.0)
            if progress >= 1.0:
                break
            for group, top in zip((g for o in optimizers for g in o.param_groups), peak, strict=True):
                group["lr"] = top * rate(progress)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = loss_of(model, ids, mask)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step, seen = step + 1, seen + sum(len(d[0]) for d in batch)
            smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
            if step % 20 == 0:
                click.echo(
                    json.dumps(
                        dict(
                            step=step,
                            tokens=seen,
                            loss=round(smooth, 4),
                            progress=round(progress, 4),
                            minutes=round(elapsed, 2),
                            tokens_per_second=round(seen / elapsed / 60),
                        )
                    )
                )
            if step % 200 == 0:
                model.save_pretrained(out)
    model.save_pretrained(out)


if __name__ == "__main__":
    main()
