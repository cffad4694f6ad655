"""An engine that says what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable

from depcli.chat import Chat
from depcli.records import Completion, Sampling

CHAT = Chat("{{ messages[0].content }}\n=====\n{{ messages[1].content }}", "<|im_end|>", "", ("<|im_start|>", "<|im_end|>"))


class Scripted:
    """`answer(prompt, sampling)` gives the text; a token is a word."""

    name, width, blind = "scripted", None, False

    def __init__(self, answer: Callable[[str, Sampling], str], *, chat: Chat = CHAT, context: int = 4000):
        self.answer, self.chat, self.context = answer, chat, context
        self.asked: list[tuple[str, Sampling]] = []

    def count(self, text: str) -> int:
        return len(text.split())

    def generate(self, requests, on_text=None):
        for prompt, sampling in requests:
            text = "".join(part.text for part in prompt.parts)
            self.asked.append((text, sampling))
            said = self.answer(text, sampling)
            words = len(said.split())
            yield Completion(said, "stop" if words < sampling.max_new_tokens else "length", self.count(text), words, 0.5)

    @property
    def prompts(self) -> list[str]:
        return [prompt for prompt, _ in self.asked]
