"""The prompt of a user with as many of the most telling ratings as fit."""

from typing import Any

from rlrf4rec.errors import ParamsError, RLRFError
from rlrf4rec.params import Prompt
from rlrf4rec.prompting import leaks
from rlrf4rec.prompting.prompts import masked, named, telling
from rlrf4rec.prompting.template import Template

# Some chat templates name the day. Prompts must be the same on every day, so it is this one, which Llama 3.1's names.
TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"


def fitting(
    user: str, template: Template, ratings: list[dict[str, Any]], prompt: Prompt, tokenizer: Any
) -> tuple[dict[str, Any], bool]:
    """The prompt row of a user with as many of the most telling ratings as fit, and whether some did not.

    Where not all fit, disliked ones go first: likes say more.
    """
    shown = masked(ratings) if prompt.titles == "masked" else ratings
    asked = sum(map(len, telling(shown, prompt.liked, prompt.disliked)))
    sizes = [(prompt.liked, n) for n in range(prompt.disliked, 0, -1)] + [(n, 0) for n in range(prompt.liked, 0, -1)]
    for liked, disliked in sizes:
        best, worst = telling(shown, liked, disliked)
        text = template.write(named(best), named(worst))
        text = as_chat(text, template.prefix, tokenizer) if prompt.chat else text
        tokens = len(tokenizer.encode(text))
        if tokens <= prompt.max_tokens:
            leaks.check(user, text, shown)
            count = len(best) + len(worst)
            return {"user": user, "prompt": text, "tokens": tokens, "items": count}, count < asked
    raise RLRFError(
        f"prompt: user {user}: even one rating makes a prompt of more than max_tokens = {prompt.max_tokens}; "
        "raise prompt.max_tokens or use a shorter template"
    )


def as_chat(text: str, prefix: str, tokenizer: Any) -> str:
    """The prompt as a chat has it, the forced beginning where the answer begins; ParamsError for an LLM without one.

    The token of the beginning is left to the tokenizer where it puts one itself: there must not be two.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ParamsError("prompt.chat: this LLM's tokenizer has no chat template; set it to false")
    asked = [{"role": "user", "content": text.removesuffix(prefix)}]
    form = TODAY + tokenizer.get_chat_template()
    made = tokenizer.apply_chat_template(asked, chat_template=form, tokenize=False, add_generation_prompt=True)
    chat = str(made) + prefix.lstrip()
    begin = tokenizer.bos_token
    return chat.removeprefix(begin) if begin and tokenizer.encode("")[:1] == [tokenizer.bos_token_id] else chat
