"""The prompt of a user, as long as it may be, with its tokens and its parts."""

from typing import Any

from rlrf4rec.errors import ParamsError, RLRFError
from rlrf4rec.params import Prompt
from rlrf4rec.prompting import leaks
from rlrf4rec.prompting.prompts import Rating, masked, named, telling
from rlrf4rec.prompting.template import Template, own_part

# Some chat templates name the day. Prompts must be the same on every day, so it is this one, which Llama 3.1's names.
TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"


def fitting(
    user: str, template: Template, ratings: list[Rating], prompt: Prompt, tokenizer: Any
) -> tuple[dict[str, Any], bool]:
    """The prompt row of a user with as many of the most telling ratings as fit, and whether some did not.

    Where not all fit, disliked ones go first: likes say more.
    """
    shown = masked(ratings, template.domain) if prompt.titles == "masked" else ratings
    asked = sum(map(len, telling(shown, prompt.liked, prompt.disliked)))
    sizes = [(prompt.liked, n) for n in range(prompt.disliked, 0, -1)] + [(n, 0) for n in range(prompt.liked, 0, -1)]
    for size in sizes:
        liked, disliked = telling(shown, *size)
        own = own_part(named(liked, template.domain), named(disliked, template.domain))
        form, end = "", template.prefix
        if prompt.chat:
            form, end = as_chat(template.examples + own, template.prefix, tokenizer)
        texts = {"form": form, "examples": template.examples, "own": own, "end": end}
        whole = "".join(texts.values())
        tokens = tokenizer.encode(whole)
        if len(tokens) <= prompt.max_tokens:
            leaks.check(user, liked + disliked, shown)
            told = [_told(row, False) for row in disliked] + [_told(row, True) for row in liked]
            row = {"user": user, "prompt": whole, "tokens": tokens, "parts": _parts(texts, tokens, tokenizer)}
            return {**row, "ratings": told}, len(told) < asked
    raise RLRFError(
        f"prompt: user {user}: even one rating makes a prompt of more than max_tokens = {prompt.max_tokens}; "
        "raise prompt.max_tokens or use a shorter template"
    )


def _told(row: Rating, liked: bool) -> dict[str, Any]:
    return {**{name: row[name] for name in ("item", "title", "year", "genres")}, "liked": liked}


def _parts(texts: dict[str, str], tokens: list[int], tokenizer: Any) -> list[dict[str, Any]]:
    """The parts of a prompt that are not empty; a token that two of them share is counted in the first.

    What a tokenizer puts before every text belongs to the first part.
    """
    found: list[dict[str, Any]] = []
    before, whole, counted = "", "".join(texts.values()), 0
    for name, text in texts.items():
        if text:
            before += text
            ends = len(tokens if before == whole else tokenizer.encode(before))
            found.append({"part": name, "text": text, "token_count": ends - counted})
            counted = ends
    return found


def as_chat(asked: str, prefix: str, tokenizer: Any) -> tuple[str, str]:
    """What stands before and behind `asked` in a chat, the forced beginning where the answer begins.

    The token of the beginning is left to the tokenizer where it puts one itself: there must not be two. ParamsError
    for an LLM without a chat template, and for one whose template does not hold what is asked as it is.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ParamsError("prompt.chat: this LLM's tokenizer has no chat template; set it to false")
    message = [{"role": "user", "content": asked}]
    form = TODAY + tokenizer.get_chat_template()
    made = str(tokenizer.apply_chat_template(message, chat_template=form, tokenize=False, add_generation_prompt=True))
    begin = tokenizer.bos_token
    if begin and tokenizer.encode("")[:1] == [tokenizer.bos_token_id]:
        made = made.removeprefix(begin)
    before, found, behind = made.partition(asked)
    if not found:
        raise ParamsError("prompt.chat: this LLM's chat template changes what it is told; set it to false")
    return before, behind + prefix.lstrip()
