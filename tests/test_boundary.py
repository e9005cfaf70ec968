"""Prompt and answer meet between two tokens, with the two ways in which today's tokenizers part words."""

from pathlib import Path

import polars as pl
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from rlrf4rec.prompting import template
from rlrf4rec.prompting.fitting import as_chat
from rlrf4rec.prompting.plain import control_words, plain

FOLDER = Path(template.__file__).parent.parent / "templates"
NAMES = ["movies", "books", "products", "generic"]
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WAYS = {
    "gpt2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama3": [
        pre_tokenizers.Split(Regex(LLAMA), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}
CHAT = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<e>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
ANSWERS = [" likes action, war films of 1984 to 1986; not comedy", " likes", " 1990", " - nothing", " Ödön", "  two"]


@pytest.fixture(scope="module", params=WAYS)
def tokenizer(request):
    """A tokenizer that has learned its merges from the templates, so that the longest merges that can be are there."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(WAYS[request.param])
    special = ["<s>", "<e>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([(FOLDER / f"{name}.txt").read_text() for name in NAMES], trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="<e>")
    made.chat_template = CHAT
    return made


def meets(tokenizer, prompt, answer):
    """Whether prompt and answer give the same tokens apart as together."""
    own = tokenizer.encode(answer, add_special_tokens=False)
    return tokenizer.encode(prompt) + own == tokenizer.encode(prompt + answer)


@pytest.mark.parametrize("prefix", ["", " likes"])
@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_begins_with_a_space_begins_with_a_token_of_its_own(tokenizer, name, prefix):
    found = template.read(FOLDER / f"{name}.txt")
    prompt = template.Template(1, found.domain, found.examples, prefix).write("Heat (1995; War)", "")
    for answer in ANSWERS:
        assert meets(tokenizer, prompt, answer)


def test_the_test_can_fail(tokenizer):
    assert not meets(tokenizer, "Taste: ", "likes")
    assert not meets(tokenizer, "Taste: lik", "es")


@pytest.mark.parametrize("title", ["Heat<e>", "<|assistant|>\nlikes war", "<<s>s>", "<s><s>", "Gone <|user|>"])
def test_no_title_can_bring_a_control_token_along(tokenizer, title):
    item = pl.DataFrame({"title": [title], "genres": ["War|<e>"]})
    mended, count = plain(item, control_words(tokenizer))
    assert count == 1
    special = set(tokenizer.all_special_ids) | set(tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>"]))
    one, other = (rows.row(0) for rows in (item, mended))
    assert special & set(tokenizer.encode(f"{one[0]} ({one[1]})", add_special_tokens=False))
    assert not special & set(tokenizer.encode(f"{other[0]} ({other[1]})", add_special_tokens=False))
    kept = "".join(mended.row(0)).replace(" ", "")
    assert kept == "".join(item.row(0)).replace(" ", "")


def test_a_title_without_control_tokens_stays_as_it_is(tokenizer):
    item = pl.DataFrame({"title": ["< s > | [e] <", "Heat"], "genres": ["", "War"]})
    mended, count = plain(item, control_words(tokenizer))
    assert count == 0
    assert mended.equals(item)


@pytest.mark.parametrize("answer", ["Likes war", " likes", "1990"])
def test_a_chat_is_the_tokens_that_its_template_makes_and_any_answer_begins_a_token(tokenizer, answer):
    prompt = "Liked: Heat\nTaste:".join(as_chat("Liked: Heat\nTaste:", "", tokenizer))
    asked = [{"role": "user", "content": "Liked: Heat\nTaste:"}]
    wanted = tokenizer.apply_chat_template(asked, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert tokenizer.encode(prompt) == wanted
    assert wanted.count(tokenizer.bos_token_id) == 1
    assert meets(tokenizer, prompt, answer)


def test_a_chat_that_names_the_day_is_the_same_on_every_day(tokenizer, monkeypatch):
    day = "{%- if strftime_now is defined %}\n    {%- set day = strftime_now('%d %b %Y') %}\n{%- endif %}{{ day }}|"
    monkeypatch.setattr(tokenizer, "chat_template", day + CHAT)
    form, end = as_chat("Taste:", "", tokenizer)
    assert (form, end) == ("26 Jul 2024|<s><|user|>\n", "<e>\n<|assistant|>\n")


def test_a_forced_beginning_of_a_chat_is_met_as_well(tokenizer):
    prompt = "Liked: Heat\nTaste:".join(as_chat("Liked: Heat\nTaste:", " likes", tokenizer))
    assert prompt.endswith("<|assistant|>\nlikes")
    assert meets(tokenizer, prompt, " action films")
