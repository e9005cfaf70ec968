"""Sections on what the run found: headline, variants, protocols. All from metrics, nothing is computed anew."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rlrf4rec.report import numbers, orders, plots
from rlrf4rec.report.blocks import Figure, Figures, Heading, Note, PageBlock, Section, TableBlock

Json = Mapping[str, Any]
METRIC = "ndcg@5"
POOLED = "all"
BY_LIST = "as a mean over lists"
KNOWLEDGE = {
    "none": "no text",
    "constant": "the same vector for every user",
    "activity": "activity numbers",
    "years": "release years as numbers",
    "items_mean": "mean of the history's item vectors",
    "profile": "genre and era profile as numbers",
    "template": "genre and era profile as text, no LLM",
    "base": "texts of the untuned LLM",
    "best_of_n": "best of the untuned LLM's texts by reward",
    "sft": "LLM tuned on the best texts (SFT)",
    "shuffled": "LLM tuned by DPO on shuffled preferences",
}
REFERENCES = {
    "base": "the untuned LLM's texts",
    "template": "the profile without an LLM",
    "constant": "nothing about the user",
    "none": "no text",
}


def described(knowledge: str) -> str:
    """What a kind of knowledge is.

    >>> described("round1_template")
    'LLM tuned by DPO, round 1, beside the profile text'
    """
    if knowledge.endswith("_template"):
        return f"{described(knowledge.removesuffix('_template'))}, beside the profile text"
    if knowledge.startswith("round"):
        return f"LLM tuned by DPO, round {knowledge.removeprefix('round')}"
    return KNOWLEDGE.get(knowledge, knowledge)


def headline(found: Json, per_user: pl.DataFrame, last: str, kind: str, fold: str = "development") -> Section:
    """The two numbers side by side, of the users of a fold. `last`: policy of the last round, `kind`: reward in use."""
    gain = {**found["reward_gain"][last][fold]["ndcg"], **_as_claim(found, f"reward gain of {last}")}
    notes: list[PageBlock] = [
        Note(_facts(found, fold)),
        numbers.verdict(f"Under frozen re-rankers ({last} texts against base texts)", METRIC.upper(), gain),
    ]
    end = _headline_difference(found, f"{last} - base")
    if end:
        notes.append(
            numbers.verdict(f"End to end ({last} against base, re-rankers trained again)", METRIC.upper(), end)
        )
        notes.append(Note(_counted(per_user, last, fold)))
    else:
        notes.append(Note(f"End to end: {last} was not compared with base in this run; see loop.rankers.", "null"))
    for against, words in (
        ("template", "Beyond the profile"),
        ("base_template", "Beside the profile, for the feedback"),
    ):
        if beyond := _headline_difference(found, f"{last}_template - {against}"):
            what = f"{words} ({last}_template against {against}, re-rankers trained again)"
            notes.append(numbers.verdict(what, METRIC.upper(), beyond))
    notes.append(
        Note(
            "The reward gain asks whether the tuned LLM's texts serve frozen re-rankers better that never saw these "
            "users; its personal part is what another user's text does not give. The end-to-end difference asks "
            "whether re-rankers gain anything when they are trained again. Neither stands in for the other. Intervals "
            "are over users and seeds of re-rankers or judges: another draw of texts, pairs or tuning can lie outside. "
            "A difference is a mean over users of the means over their lists; as a mean over lists, users with many "
            "lists count for more. Where the two part, the difference sits in users with few lists, or with many."
        )
    )
    tables = [
        TableBlock(f"Reward gain under frozen re-rankers {who}, {fold} users", ("what", *numbers.COLUMNS), tuple(rows))
        for block, who in (("reward_gain", "that judge"), ("reward_gain_labellers", "that labelled the pairs"))
        if (rows := [r for name, g in found.get(block, {}).items() for r in _reward_rows(g[fold], name, kind)])
    ]
    if end_rows := _end_rows(found):
        caption = f"What the method stands or falls with, {METRIC.upper()}; Holm's p is over all that was to be tested"
        tables.append(TableBlock(caption, ("what", *numbers.COLUMNS, BY_LIST), end_rows))
    if personal := _personal_rows(found):
        caption = f"Personal part of retrained re-rankers: {METRIC.upper()} with the user's own text minus another's"
        tables.append(TableBlock(caption, ("what", *numbers.COLUMNS), personal))
    return Section("headline", f"Headline, {fold} users", (*notes, *tables))


def variants(found: Json) -> Section:
    """Forest plots against base and against the profile, every seed shown; what each variant reached."""
    backbones = _backbones(found)
    drawn = [
        (reference, effects)
        for reference in ("base", "template")
        if (effects := _effects(found, reference, backbones)) and any(e.single or e.low is not None for e in effects)
    ]
    figures = tuple(
        Figure(
            plots.forest(
                f"against-{reference}",
                f"{METRIC.upper()} of every variant minus {reference} ({REFERENCES[reference]})",
                in_words(effects, reference),
                effects,
                [f"{b}, one mark per seed" for b in backbones],
            ),
            f"{METRIC.upper()}, variant minus {reference} ({REFERENCES[reference]}). Right of zero is better.",
        )
        for reference, effects in drawn
    )
    blocks: list[PageBlock] = [Figures(figures)] if figures else [Note("No variant to compare with base or template.")]
    glossary = tuple((k, described(k)) for k in _knowledge(found))
    blocks.append(
        TableBlock("What each variant tells the re-ranker about a user", ("variant", "what it is"), glossary, 2)
    )
    for reference, name in REFERENCES.items():
        if compared := _compared(found, reference):
            what = f"{METRIC.upper()} of variants minus {reference} ({name})"
            pooled = tuple((k, *numbers.row(_pooled(found, k, reference))) for k in compared)
            blocks.append(TableBlock(f"{what}, pooled over backbones", ("variant", *numbers.COLUMNS), pooled))
            single = tuple((k, *_by_backbone(by, backbones)) for k, by in compared.items())
            blocks.append(TableBlock(f"{what}, by backbone", ("variant", *backbones), single))
    blocks += [_reached(found, backbones), *orders.table(found)]
    if trained := found.get("trained_out"):
        blocks.extend(_trained_out(trained))
    return Section("variants", "Variants", tuple(blocks))


def protocols(found: Json, study: Json | None, other_users: bool = False) -> Section:
    """This run's protocol beside those of the study; `other_users`: it is the study of another run than this."""
    title = "Protocols side by side"
    if not study:
        sentence = "The other protocols and controls were not run: `make study` runs them and fills this section."
        return Section("protocols", title, (Note(sentence),))
    runs = {f"this run ({found.get('protocol', 'default')})": found, **study}
    names = list(dict.fromkeys(k for r in runs.values() for k in _knowledge(r)))
    reached = [
        ("development users", *(numbers.plain(r.get("development_users")) for r in runs.values())),
        ("candidate lists", *(numbers.plain(r.get("development_lists")) for r in runs.values())),
        *((k, *(numbers.plain(_mean(r, k, METRIC)) for r in runs.values())) for k in names),
        *orders.rows(list(runs.values()), METRIC),
        *((f"{k}, KAR's MAP@5", *(numbers.plain(_mean(r, k, "kar_map@5")) for r in runs.values())) for k in names),
    ]
    caption = f"{METRIC.upper()} by protocol, mean over backbones and seeds; KAR's MAP for comparison with papers only"
    older = (
        "The study is older than this run and is of other users: hold its columns against each other, not against this "
        "run. `make study` makes it anew."
    )
    blocks: list[PageBlock] = [
        *([Note(older, "null")] if other_users else []),
        Note("Protocols differ in their candidate lists, so compare differences across them and never the levels."),
        TableBlock(caption, ("", *runs), tuple(reached)),
    ]
    family = list(dict.fromkeys(c for r in runs.values() for c in r.get("family", {}) if c in r["differences"]))
    figures = [
        Figure(
            plots.forest(f"protocol-{i}", f"{c} by protocol", in_words(effects, c), effects, []),
            f"{c}, {METRIC.upper()}, by protocol",
        )
        for i, c in enumerate(family)
        if (effects := [_effect(run, r["family"][c]) for run, r in runs.items() if c in r.get("family", {})])
    ]
    rows = tuple(
        (c, run, *numbers.row(r["family"][c]), numbers.by_list(r["family"][c]))
        for c in family
        for run, r in runs.items()
        if c in r.get("family", {})
    )
    if rows:
        blocks.append(Figures(tuple(figures)))
        caption = "The same comparisons in every protocol; Holm's p is within the protocol"
        blocks.append(TableBlock(caption, ("comparison", "protocol", *numbers.COLUMNS, BY_LIST), rows, words=2))
    return Section("protocols", title, tuple(blocks))


def _facts(found: Json, users: str) -> str:
    fold = f"fold {found['fold']} of {found['folds']}" if found.get("folds") else "outside of all folds"
    return (
        f"{numbers.plain(found[f'{users}_users'])} {users} users, "
        f"{numbers.plain(found.get(f'{users}_lists'))} candidate lists, "
        f"protocol {found.get('protocol', numbers.DASH)}, {fold}; MAP is divided by "
        f"{found['metrics'].get('map_divisor', numbers.DASH)}."
    )


def _headline_difference(found: Json, name: str) -> Json | None:
    """The comparison in the family (with Holm's p), else pooled over backbones."""
    pooled = found["differences"].get(name, {}).get(POOLED, {}).get(METRIC)
    return found.get("family", {}).get(name, pooled)


def _counted(per_user: pl.DataFrame, tuned: str, fold: str) -> str:
    """How many users are better off, counted in the per-user table."""
    seeds = [c for c in per_user.columns if c.startswith("seed")]
    mean = (
        per_user.filter((pl.col("metric") == METRIC) & pl.col("knowledge").is_in([tuned, "base"]))
        .with_columns(pl.mean_horizontal(seeds).alias("value"))
        .group_by("user", "knowledge")
        .agg(pl.col("value").mean())
    )
    both = mean.filter(pl.col("knowledge") == tuned).join(mean.filter(pl.col("knowledge") == "base"), on="user")
    difference = (both["value"] - both["value_right"]).to_list()
    better, worse = sum(d > 0 for d in difference), sum(d < 0 for d in difference)
    return (
        f"Of {len(difference)} {fold} users, {better} have a higher {METRIC.upper()} end to end with "
        f"{tuned} than with base, {worse} a lower one, {len(difference) - better - worse} the same (mean over "
        "backbones and seeds)."
    )


def _reward_rows(gains: Json, policy: str, kind: str) -> list[tuple[str, ...]]:
    shown = {
        "ndcg": "NDCG",
        "ndcg_personal_part": "personal part of NDCG",
        **({} if kind == "ndcg" else {kind: f"reward in use ({kind})"}),
        f"{kind}_personal_part": f"personal part of {kind}",
    }
    return [(f"{policy} minus base: {label}", *numbers.row(gains[k])) for k, label in shown.items() if k in gains]


def _end_rows(found: Json) -> tuple[tuple[str, ...], ...]:
    family = found.get("family") or {
        name: by[POOLED][METRIC] for name, by in found["differences"].items() if METRIC in by.get(POOLED, {})
    }
    return tuple((name.replace(" - ", " minus "), *numbers.row(d), numbers.by_list(d)) for name, d in family.items())


def _personal_rows(found: Json) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (f"{name}: own minus another's", *numbers.row(by[POOLED][METRIC]))
        for name, by in found.get("personal", {}).items()
        if METRIC in by.get(POOLED, {})
    )


def _names(found: Json) -> list[tuple[str, str]]:
    """(backbone, knowledge) of every re-ranker."""
    return [(b, k) for b, _, k in (name.partition("-") for name in found["rankers"])]


def _backbones(found: Json) -> list[str]:
    return list(dict.fromkeys(b for b, _ in _names(found)))


def _knowledge(found: Json) -> list[str]:
    return list(dict.fromkeys(k for _, k in _names(found)))


def _seeds(found: Json, backbone: str, knowledge: str, metric: str) -> list[float]:
    return list(found["rankers"].get(f"{backbone}-{knowledge}", {}).get(metric, {}).get("seeds", []))


def _mean(found: Json, knowledge: str, metric: str) -> float | None:
    values = [v for b in _backbones(found) for v in _seeds(found, b, knowledge, metric)]
    return sum(values) / len(values) if values else None


def _effects(found: Json, reference: str, backbones: list[str]) -> list[plots.Effect]:
    """One effect per variant; single values are differences of seeds of the same number."""
    effects = []
    for knowledge, by in _compared(found, reference).items():
        single = tuple(
            tuple(
                own - against
                for own, against in zip(
                    _seeds(found, b, knowledge, METRIC), _seeds(found, b, reference, METRIC), strict=False
                )
            )
            for b in backbones
        )
        d = by.get(POOLED, {}).get(METRIC, {})
        effects.append(plots.Effect(knowledge, d.get("difference"), d.get("low"), d.get("high"), single))
    return effects


def _effect(label: str, d: Json) -> plots.Effect:
    return plots.Effect(label, d["difference"], d["low"], d["high"])


def in_words(effects: Sequence[plots.Effect], reference: str) -> str:
    """What a forest plot shows, for those who don't see it."""
    parts = [f"{e.label} {numbers.signed(e.difference)}" for e in effects if e.difference is not None]
    above = [e.label for e in effects if e.low is not None and e.low > 0]
    return (
        f"Differences and 95 % intervals against {reference}: {', '.join(parts) or 'by seed only'}. "
        f"Interval above zero: {', '.join(above) or 'none'}."
    )


def _compared(found: Json, reference: str) -> dict[str, Json]:
    """Differences against a reference by variant."""
    split = {name: name.partition(" - ") for name in found["differences"]}
    return {k: found["differences"][name] for name, (k, _, other) in split.items() if other == reference}


def _pooled(found: Json, knowledge: str, reference: str) -> Json:
    """Pooled difference, with Holm's p if it is one of the headline comparisons."""
    name = f"{knowledge} - {reference}"
    return {**found["differences"][name].get(POOLED, {}).get(METRIC, {}), **_as_claim(found, name)}


def _as_claim(found: Json, name: str) -> Json:
    """What a difference has as a claim alone: Holm's p, and what it is by list."""
    claim = found.get("family", {}).get(name, {})
    return {key: claim[key] for key in ("p_holm", "over_lists") if key in claim}


def _by_backbone(by: Json, backbones: list[str]) -> tuple[str, ...]:
    single = (by.get(b, {}).get(METRIC, {}) for b in backbones)
    return tuple(f"{numbers.signed(d.get('difference'))} {numbers.interval(d)}" if d else numbers.DASH for d in single)


def _reached(found: Json, backbones: list[str]) -> TableBlock:
    rows = []
    for knowledge in _knowledge(found):
        for b in backbones:
            if seeds := _seeds(found, b, knowledge, METRIC):
                every = " ".join(numbers.plain(v) for v in seeds)
                others = (found["rankers"][f"{b}-{knowledge}"].get(m, {}).get("mean") for m in ("map@5", "kar_map@5"))
                mean = numbers.plain(sum(seeds) / len(seeds))
                rows.append((knowledge, b, mean, *map(numbers.plain, others), every))
    columns = ("variant", "backbone", METRIC.upper(), "MAP@5", "KAR's MAP@5", f"{METRIC.upper()} of every seed")
    return TableBlock("What every re-ranker reached on the development users", columns, tuple(rows), words=2)


def _trained_out(trained: Json) -> list[PageBlock]:
    short = [name for name, t in trained.items() if t.get("trained_out") is False]
    if short:
        note = Note(f"Not trained out, so their rows may change with more epochs: {', '.join(short)}.", "null")
    else:
        note = Note(
            "Every re-ranker was trained out: its loss had all but stopped falling, its last epoch is near its best "
            "one, and none of its seeds stands apart."
        )
    names = list(dict.fromkeys(key for t in trained.values() for key in t))
    columns = ("re-ranker", *(n.replace("_", " ") for n in names))
    rows = tuple((name, *(numbers.plain(t.get(n)) for n in names)) for name, t in trained.items())
    caption = f"Training of the re-rankers; values are {METRIC.upper()} of validation users"
    return [Heading("Were the re-rankers trained out?"), note, TableBlock(caption, columns, rows)]
