"""Made-up files in the shapes of LaMP and LongLaMP."""

from __future__ import annotations

import json
from pathlib import Path

HEADLINE = "Generate a headline for the following article: "
TITLE = "Generate a title for the following abstract of a paper: "
TWEET = "Paraphrase the following tweet without any explanation before or after it: "


def headlines(users: int = 4, entries: int = 6, *, dated: bool = False) -> tuple[list[dict], dict]:
    """(questions, outputs) of LaMP_4: user u shouts if even, whispers if odd."""
    questions, golds = [], []
    for u in range(users):
        say = str.upper if u % 2 == 0 else str.lower
        profile = [
            {
                "id": f"{u}{n}",
                "title": say(f"News {n} of person {u}"),
                "text": f"Article {n}: it rained in town {u}, and so on.",
                **({"date": f"20{10 + n:02}-{n + 1}-1"} if dated else {}),
            }
            for n in range(entries)
        ]
        questions.append({"id": f"4{u}", "input": f"{HEADLINE}The last article: of town {u}.", "profile": profile})
        golds.append({"id": f"4{u}", "output": say(f"The end of town {u}")})
    return questions, {"task": "LaMP_4", "golds": golds}


def write_lamp(folder: Path, split: str, questions: list[dict], outputs: dict | None) -> Path:
    """The questions file, with the outputs beside it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{split}_questions.json"
    path.write_text(json.dumps(questions), encoding="utf-8")
    if outputs is not None:
        (folder / f"{split}_outputs.json").write_text(json.dumps(outputs), encoding="utf-8")
    return path
