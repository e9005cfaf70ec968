"""Stage final_prompt (study): prompts and template texts of the final users, as the stage `prompt` has them of others.

What genres are usual is that of the run's train users.
"""

from pathlib import Path

import polars as pl

from rlrf4rec import paths
from rlrf4rec.files import write_json
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Llm, Prompt
from rlrf4rec.prompting.plain import control_words, plain
from rlrf4rec.prompting.template import read
from rlrf4rec.prompting.written import NOBODY, write
from rlrf4rec.tables.interactions import ITEMS, text_names
from rlrf4rec.tables.split import FINAL_USERS, FOLD_USERS, HISTORY
from rlrf4rec.tables.texts import PROMPTS, TEMPLATES


def run(prompt: Prompt, llm: Llm) -> str:
    """Write prompts and template texts; returns the closing line."""
    users, items = FINAL_USERS.read(paths.FINAL_USERS), ITEMS.read(paths.ITEMS)
    template = read(Path(prompt.template), prompt.titles, text_names(items))
    tokenizer = load_tokenizer(paths.LLM, llm.trust_remote_code is not None)
    items, _ = plain(items, control_words(tokenizer))
    own, others = (
        HISTORY.read(path).join(items, on="item", how="left", maintain_order="left")
        for path in (paths.FINAL_HISTORY, paths.HISTORY)
    )
    train = FOLD_USERS.read(paths.FOLD_USERS).filter(pl.col("fold") == "train").select("user")
    made = write(users.select("user"), own, others.join(train, on="user", how="semi"), template, prompt, tokenizer)
    PROMPTS.write(made.prompts, paths.FINAL_PROMPTS)
    TEMPLATES.write(made.templates, paths.texts(f"{paths.OF_FINAL}template"))
    TEMPLATES.write(made.templates.with_columns(text=pl.lit(NOBODY)), paths.texts(f"{paths.OF_FINAL}none"))
    write_json(paths.metrics("final_prompt"), {"prompts": made.prompts.height, "shortened": made.shortened})
    return f"wrote {paths.FINAL_PROMPTS}, {made.prompts.height} prompts, {made.shortened} shortened"
