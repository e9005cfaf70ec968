"""A tokenizer for small random models."""

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast


def words(folder, closed=False, **special):
    """A tokenizer of 64 words, saved in `folder`; `closed`: it puts w2 behind each text."""
    fast = Tokenizer(WordLevel({f"w{i}": i for i in range(64)}, "w0"))
    fast.pre_tokenizer = WhitespaceSplit()
    if closed:
        fast.post_processor = TemplateProcessing(single="$A w2", special_tokens=[("w2", 2)])
    made = PreTrainedTokenizerFast(tokenizer_object=fast, **{"eos_token": "w2", "pad_token": "w3", **special})
    made.save_pretrained(folder)
    return made
