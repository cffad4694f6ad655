"""What an engine refuses before it computes anything."""

from __future__ import annotations

from depcli.errors import BadInput, Incompatible
from depcli.records import SoftPrompt


def check_width(prompt: SoftPrompt, width: int, backbone: str) -> None:
    """Raise Incompatible when the soft tokens are not as wide as the backbone's hidden size."""
    if not prompt.text_only and prompt.width != width:
        raise Incompatible(
            f"the soft tokens are {prompt.width} wide, the backbone {backbone} takes {width}",
            "use the backbone that the adapter was trained for, or train one: dep train --backbone",
        )


def check_room(prompt_tokens: int, max_new_tokens: int, context: int, backbone: str) -> None:
    """Raise BadInput when prompt and completion cannot fit the context, or when either is empty."""
    if not prompt_tokens:
        raise BadInput("the prompt is empty")
    if max_new_tokens < 1:
        raise BadInput(f"{max_new_tokens} new tokens were asked for", "--max-new-tokens 1 or more")
    if prompt_tokens + max_new_tokens > context:
        raise BadInput(
            f"the prompt has {prompt_tokens} tokens and {max_new_tokens} more may be written, but {backbone} holds {context}",
            f"--max-new-tokens {context - prompt_tokens}" if prompt_tokens < context else "show fewer or shorter reviews",
        )


def check_foreseen(prompt_tokens: int, tokens: int, context: int) -> None:
    """Raise Incompatible when a prompt and the text whose likelihood is asked for cannot fit the context, BadInput without a
    prompt."""
    if not prompt_tokens:
        raise BadInput("the prompt is empty")
    if prompt_tokens + tokens > context:
        raise Incompatible(
            f"a prompt and its real review have {prompt_tokens + tokens:,} tokens; the backbone's context has {context:,}",
            "use a backbone that holds more, or train with shorter prompts: dep train --max-input-tokens N",
        )
