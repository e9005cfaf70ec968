"""Stage probe: what the base LLM has memorised of the data set's titles, item lines and rating lines."""

import random
from pathlib import Path

from rlrf4rec import machine, paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import write_json
from rlrf4rec.llm.models import DTYPES, Place, load_llm
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Llm, Probe, Prompt
from rlrf4rec.probing.memory import raw_lines
from rlrf4rec.probing.questions import Asker, ask
from rlrf4rec.prompting import domain
from rlrf4rec.seeds import derive
from rlrf4rec.tables.interactions import ITEMS, text_names


def run(seed: int, llm: Llm, prompt: Prompt, probe: Probe) -> str:
    """Ask for titles, years, item lines and rating lines; returns the closing line."""
    items = ITEMS.read(paths.ITEMS)
    files = sorted(paths.RAW.glob("*.inter"))
    if len(files) != 1:
        raise RLRFError(f"{paths.RAW}: expected one .inter file, found {len(files)}; run `dvc repro fetch_dataset`")
    lines = raw_lines(files[0])
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    model = load_llm(paths.LLM, DTYPES[probe.dtype], place=where)
    words = domain.read(Path(prompt.template), "prompt.template", text_names(items)).domain
    asker = Asker(model, load_tokenizer(paths.LLM, where.trusted), probe, words)
    found = ask(asker, items, lines, random.Random(derive(seed, "probe")))
    computed = machine.arithmetic(probe.dtype, where.device)
    write_json(paths.metrics("probe"), {**found, "arithmetic": computed})
    return (
        f"wrote {paths.metrics('probe')}; titles completed {found['titles']['completed']:.0%}, "
        f"next item lines {found['item_lines']['completed']:.0%}, "
        f"next rating lines' items {found['rating_lines']['item_completed']:.0%}; {computed}"
    )
