"""The training loop: steps, validation, checkpoints. It shows nothing; events go to a callback."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from depcli.adapters.files import METRICS
from depcli.errors import DepError
from depcli.system.interrupts import uninterrupted
from depcli.system.permissions import private
from depcli.training import checkpoints
from depcli.training.budget import Budget
from depcli.training.checkpoints import Progress
from depcli.training.crowd import Crowd
from depcli.training.examples import Example, epoch_batches
from depcli.training.options import TrainOptions
from depcli.training.step import backward
from depcli.training.workers import Workers

_CHECKPOINT_SECONDS = 60.0


class Loop:
    """Trains `adapter` on `examples`. `validate(adapter)` returns {"score": higher is better, ...} once per epoch. Of several
    workers, all run this; the first one writes."""

    def __init__(
        self,
        model,
        adapter,
        examples: Sequence[Example],
        options: TrainOptions,
        *,
        rate: float,
        budget: Budget,
        validate: Callable[[object], dict],
        folder: Path,
        settings: dict,
        on_event: Callable[[dict], None],
        workers: Workers | None = None,
    ):
        self.model, self.adapter, self.examples, self.options = model, adapter, examples, options
        self.rate, self.budget, self.validate = rate, budget, validate
        self.folder, self.settings, self.on_event = folder, settings, on_event
        self.workers = workers or Workers()
        self.lengths = [len(example.encoded.ids) for example in examples]
        self.steps_per_epoch = -(-len(examples) // options.batch_size)
        self.total_steps = options.epochs * self.steps_per_epoch
        alone = model.device.type == "cpu" and self.workers.count == 1
        self.crowd = Crowd(torch.get_num_threads() if alone else 1)  # who waits for a GPU or other workers is not held up
        self.optimizer = torch.optim.AdamW(adapter.parameters(), lr=rate, weight_decay=options.weight_decay)
        self.progress, self.best = Progress(), None

    def resume(self) -> None:
        self.progress, self.best = checkpoints.restore(self.folder, self.adapter, self.optimizer)
        if self.workers.is_first:
            checkpoints.keep_metrics(self.folder, self.progress)
        self.workers.wait()  # before the first one writes again what the others read

    @private()
    def run(self) -> Progress:
        """Train to the last epoch or until validation stops improving; the adapter then holds the best weights.

        Interrupted by Ctrl-C, out of memory or left alone by another worker, it saves where it stands first; killed, it goes on
        from the last checkpoint.
        """
        progress, started, spent = self.progress, time.monotonic(), self.progress.seconds
        saved = started
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / METRICS if self.workers.is_first else os.devnull, "a", encoding="utf-8") as metrics:

            def record(event: dict) -> None:
                metrics.write(json.dumps(event) + "\n")
                metrics.flush()
                self.on_event(event)

            try:
                while progress.epoch < self.options.epochs and not self._stalled():
                    batches = epoch_batches(self.lengths, self.options.batch_size, self.options.seed, progress.epoch)
                    for batch in batches[progress.step - progress.epoch * self.steps_per_epoch :]:
                        with uninterrupted(lambda: self.on_event({"note": "stopping after this step"})):
                            began = time.monotonic()
                            event = self._step([self.examples[i] for i in batch])
                            took = time.monotonic() - began
                            progress.seconds = spent + time.monotonic() - started
                            place = {"step": progress.step, "epoch": progress.epoch}
                            record({**place, **event, "steps": self.total_steps, "seconds": progress.seconds})
                        if note := self.crowd.after(took, left=took * (self.total_steps - progress.step)):
                            self.on_event({"held_up": note})
                        if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                            self._save()
                            saved = time.monotonic()
                    record({"step": progress.step, "epoch": progress.epoch, **self._validate()})  # the epoch that ended
                    self._save()
            except (KeyboardInterrupt, DepError):  # whichever step was under way has changed nothing
                with uninterrupted():
                    self._save()
                raise
        self.adapter.load_state_dict(self.best)
        return progress

    def _step(self, batch: list[Example]) -> dict:
        began = time.monotonic()
        rate = self.rate * self._schedule(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = self.budget.spend(lambda tokens: self._backward(batch, tokens), batch)
        norm = torch.nn.utils.clip_grad_norm_(self.adapter.parameters(), self.options.max_grad_norm).item()
        self.optimizer.step()
        self.progress.step += 1
        tokens = sum(len(example.encoded.ids) for example in batch)
        return {**terms, "grad_norm": norm, "learning_rate": rate, "tokens_per_second": tokens / (time.monotonic() - began)}

    def _backward(self, batch: list[Example], micro_tokens: int) -> dict[str, float]:
        self.optimizer.zero_grad(set_to_none=True)
        return backward(self.model, self.adapter, batch, self.options.loss, micro_tokens, self.workers)

    def _schedule(self, step: int) -> float:
        """Linear warm-up over `warmup_ratio` of all steps, then linear decay to zero."""
        warmup = max(1, round(self.options.warmup_ratio * self.total_steps))
        return min((step + 1) / warmup, (self.total_steps - step) / max(1, self.total_steps - warmup))

    def _validate(self) -> dict:
        self.adapter.eval()
        result = self.validate(self.adapter)
        self.adapter.train()
        with uninterrupted():
            self._note(result)
        return {f"validation_{name}": value for name, value in result.items()}

    def _note(self, result: dict) -> None:
        """Close the epoch."""
        progress = self.progress
        progress.validations.append({"epoch": progress.epoch, **result})
        if progress.best_score is None or result["score"] > progress.best_score:
            progress.best_score, progress.best_epoch = result["score"], progress.epoch
            self.best = {name: tensor.detach().clone() for name, tensor in self.adapter.state_dict().items()}
        progress.epoch += 1

    def _stalled(self) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        return self.progress.epoch - 1 - self.progress.best_epoch >= self.options.patience

    def _save(self) -> None:
        if self.workers.is_first:
            checkpoints.save(self.folder, self.settings, self.progress, self.adapter, self.optimizer, self.best)
