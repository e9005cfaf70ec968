"""Stage watch: what the texts of each policy look like, and how far it has moved from the base LLM.

A reward can be gained in ways that nobody wants: longer texts, copies of the prompt, one text for everybody. Measures
of a text are averaged per user, then over users whose texts are evaluated; the change against base is paired by user.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from rlrf4rec import machine, paths
from rlrf4rec.alignment import packed
from rlrf4rec.errors import InputError
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.llm.models import DTYPES, Place, load_llm, load_policy, untuned
from rlrf4rec.metrics.statistics import Array, paired_interval
from rlrf4rec.movement.divergence import Moved, Texts
from rlrf4rec.movement.texts import two_each
from rlrf4rec.params import Llm, Loop, Prompt, Watch
from rlrf4rec.prompting import domain
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.prompts import by_liking, genre_shares, top_genres
from rlrf4rec.prompting.template import ratings_of
from rlrf4rec.seeds import derive
from rlrf4rec.tables import vectors
from rlrf4rec.tables.interactions import ITEMS, text_names
from rlrf4rec.tables.split import FOLD_USERS, HISTORY, USERS
from rlrf4rec.tables.texts import PROMPTS, TEXTS
from rlrf4rec.texts.measures import Reader, corpus_measures


def run(seed: int, loop: Loop, llm: Llm, prompt: Prompt, watch: Watch) -> str:
    """Measure the texts of all policies; returns the closing line."""
    everyone, prompts = FOLD_USERS.read(paths.FOLD_USERS), PROMPTS.read(paths.PROMPTS)
    measured = everyone.filter(USERS["evaluated"])
    users = measured["user"]
    _check_known(measured, prompts, paths.PROMPTS, "prompt")
    _check_known(measured, HISTORY.read(paths.HISTORY), paths.HISTORY, "split")
    rows = torch.tensor(everyone.with_row_index("row").filter(USERS["evaluated"])["row"].to_list())
    items = ITEMS.read(paths.ITEMS)
    words = domain.read(Path(prompt.template), "prompt.template", text_names(items)).domain
    reader = read_users(prompts, items, words, watch.top_genres)
    own_seed = derive(seed, "watch")
    kl_users = sorted(users.sample(min(watch.kl_users, len(users)), seed=own_seed, shuffle=True).to_list())
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    kind = DTYPES[watch.precision]
    base = load_llm(paths.LLM, kind, packed.NAME, where)
    report: dict[str, dict[str, float]] = {}
    per_user: dict[str, pl.DataFrame] = {}
    wide: dict[str, int] = {}
    for policy in loop.policies:
        texts = TEXTS.read(paths.texts(policy)).join(measured.select("user"), on="user", how="semi")
        per_user[policy] = reader.measure(texts)
        averages = per_user[policy].drop("user").mean().row(0, named=True)
        means = {str(name): float(value) for name, value in averages.items() if value is not None}
        vectors_of_texts = vectors.read_texts(paths.vectors(policy), everyone["user"], rows.tolist())[rows]
        wide[policy] = vectors_of_texts.shape[-1]
        _check_width(policy, wide)
        moved = Moved(0.0, 0.0, 0.0, 0.0)
        if not untuned(paths.policy(policy)):
            tuned = load_policy(paths.LLM, paths.policy(policy), kind, packed.NAME, where)
            own = Texts(two_each(texts, prompts, kl_users), watch.batch, watch.precision)
            says = own.read(tuned, f"watch {policy}")
            del tuned  # before the next one is loaded
            moved = own.apart(says, own.read(base, "watch base")).mean()
        corpus = corpus_measures(texts["text"].to_list(), vectors_of_texts)
        kl = {"kl_to_base": moved.kl, "kl_to_base_two_errors": 2 * moved.kl_standard_error}
        report[policy] = {**means, **corpus, **kl}
    computed = machine.arithmetic(watch.precision, where.device)
    write_json(paths.metrics("watch"), {p: {**found, "arithmetic": computed} for p, found in report.items()})
    measures = [{"policy": p, "measure": m, "value": v} for p, found in report.items() for m, v in found.items()]
    write_csv(paths.plot("watch", "measures"), measures)
    write_csv(paths.plot("watch", "changes"), changes(per_user, watch.bootstrap, own_seed))
    last = loop.policies[-1]
    shown = ("characters", "copied_from_examples", "names_unknown_title", "similarity_between_users", "kl_to_base")
    told = ", ".join(f"{name} {report['base'][name]:.3g} to {report[last][name]:.3g}" for name in shown)
    return f"wrote {paths.metrics('watch')}, {len(loop.policies)} policies; base to {last}: {told}; {computed}"


def _check_known(measured: pl.DataFrame, known: pl.DataFrame, path: Path, stage: str) -> None:
    """Every user whose texts are measured has a row in the table of the file, which the stage writes."""
    if missing := measured.join(known, on="user", how="anti", maintain_order="left")["user"].to_list():
        raise InputError(
            f"{path}: {len(missing)} user(s) without a row, the first {missing[0]!r}; run `dvc repro {stage}`"
        )


def _check_width(policy: str, wide: dict[str, int]) -> None:
    """The vectors of all policies' texts are as wide as those of the first one, or no two could be compared."""
    first = next(iter(wide))
    if wide[policy] != wide[first]:
        raise InputError(
            f"{paths.vectors(policy)}: vectors are {wide[policy]} numbers wide, those of {paths.vectors(first)} "
            f"{wide[first]}; all have to come from one encoder: run `dvc repro encode`"
        )


def read_users(prompts: pl.DataFrame, items: pl.DataFrame, words: Domain, top: int) -> Reader:
    """What is known of each user apart from the texts: the prompt and the genres liked most in the history."""
    history = HISTORY.read(paths.HISTORY).join(items, on="item", how="left", maintain_order="left")
    train = FOLD_USERS.read(paths.FOLD_USERS).filter(pl.col("fold") == "train").select("user")
    usual = genre_shares(history.join(train, on="user", how="semi"))
    liked = {
        str(user): top_genres(by_liking(frame.to_dicts())[0], usual, top)
        for (user,), frame in history.group_by("user", maintain_order=True)
    }
    shown = {
        row["user"]: (_part(row, "form", "examples"), ratings_of(_part(row, "own")))
        for row in prompts.iter_rows(named=True)
    }
    genres = sorted({g for row in items["genres"] for g in row.split("|") if g})
    counts = Counter(g for found in liked.values() for g in found)
    return Reader(words, shown, liked, counts, genres, items["title"].to_list())


def _part(prompt: dict[str, Any], *names: str) -> str:
    """What these parts of a prompt hold."""
    return "".join(part["text"] for part in prompt["parts"] if part["part"] in names)


def changes(per_user: dict[str, pl.DataFrame], resamples: int, seed: int) -> list[dict[str, object]]:
    """Change of every measure of a text against base, paired by user, with its 95 % interval.

    Users whose texts give no value under one of the two (no genre named, say) are left out; `users` counts the others.
    """
    rows: list[dict[str, object]] = []
    base, *tuned = per_user
    for policy in tuned:
        both = per_user[base].join(per_user[policy], on="user", how="inner", suffix="_tuned", maintain_order="left")
        for measure in per_user[base].columns[1:]:
            known = both.select(measure, f"{measure}_tuned").drop_nulls()
            if known.height < 2:
                continue
            difference: Array = (known[f"{measure}_tuned"] - known[measure]).to_numpy().astype(np.float64)
            mean, low, high = paired_interval(difference, resamples, seed)
            head = {"policy": policy, "measure": measure, "users": known.height}
            rows.append({**head, "difference": mean, "low": low, "high": high})
    return rows
