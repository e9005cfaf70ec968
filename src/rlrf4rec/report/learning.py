"""Sections on the feedback: how reliable rewards are, how DPO and the searches went, what became of the texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rlrf4rec.report import numbers, plots
from rlrf4rec.report.blocks import Figure, Figures, Heading, Note, PageBlock, Section, TableBlock
from rlrf4rec.report.searches import table as searches_table

Json = Mapping[str, Any]
SMOOTH = 9  # steps in the running mean of a DPO curve


def reliability(scores: Mapping[str, Json], histograms: Mapping[str, pl.DataFrame], kind: str) -> Section:
    """`scores` and `histograms` by round; `kind` is the reward in use."""
    notes = []
    for name, score in scores.items():
        measures = score.get("validation", {}).get(kind, {})
        notes.append(
            Note(
                f"{name}: on validation users the reward in use ({kind}) has a split-half correlation of "
                f"{numbers.plain(measures.get('split_half'), 2)} and agrees between model seeds with "
                f"{numbers.plain(measures.get('seed_to_seed'), 2)}; the mean of the models that label the pairs "
                f"correlates with that of those that judge by {numbers.plain(measures.get('labellers_to_judges'), 2)}. "
                "1 would be a reward without noise, 0 nothing but noise; the noise caps what any tuning can learn."
            )
        )
    tables = [
        _nested(f"Reliability of each kind of reward, {name}, {users} users", "reward", kinds)
        for name, score in scores.items()
        for users, kinds in score.items()
        if isinstance(kinds, Mapping)
    ]
    figures = [
        Figure(
            plots.bars(
                f"rewards-{name}",
                f"Distribution of rewards, {name}",
                f"{int(frame['texts'].sum())} texts by their reward minus the mean of their user; "
                f"from {frame['reward'].min():.3g} to {frame['reward'].max():.3g}.",
                frame["reward"].to_list(),
                frame["texts"].to_list(),
                "reward minus the user's mean",
            ),
            f"Texts by reward, relative to their user's mean, {name}",
        )
        for name, frame in histograms.items()
        if frame.height
    ]
    return Section("reliability", "Does the reward mean anything?", (*notes, *tables, Figures(tuple(figures))))


def training(
    dpo: Mapping[str, pl.DataFrame],
    chosen: Mapping[str, Json],
    searches: Mapping[str, pl.DataFrame],
    curve: Json | None,
    searched: Mapping[str, Json],
) -> Section:
    """DPO curves by round with the hyperparameters it took, searches by title, and gain against pairs.

    searched: metrics of the searches by stage.
    """
    blocks: list[PageBlock] = [
        Note(
            "DPO's loss sees only the difference between the two texts of a pair. The log-probability of chosen texts "
            "may therefore fall as well; that is common and no fault by itself while rejected texts fall further. "
            "When both fall alike and the margin stays near zero, the model moves away from its reference without "
            "having learned the preference."
        )
    ]
    for name, frame in dpo.items():
        values = ", ".join(
            f"{k.replace('_', ' ')} {numbers.compact(v)}" for k, v in chosen[name]["hyperparameters"].items()
        )
        blocks += [Heading(f"{name}: {values}"), Note(read_curves(frame)), _dpo_figures(name, frame)]
    figures = tuple(
        Figure(
            plots.trials(
                f"search-{i}",
                title,
                f"{frame.height} trials, the best {numbers.compact(frame['value'].max())}, "
                f"the worst {numbers.compact(frame['value'].min())}.",
                frame["value"].to_list(),
            ),
            f"{title}: {frame.height} trials between {numbers.compact(frame['value'].min())} and "
            f"{numbers.compact(frame['value'].max())}",
        )
        for i, (title, frame) in enumerate(searches.items())
        if frame.height
    )
    if figures:
        note = Note("A search whose trials lie closer together than the noise of what it judges by picks at random.")
        blocks += [Heading("Searches"), note, *searches_table(searched), Figures(figures)]
    blocks += [Heading("Do more pairs help?"), *_learning_curve(curve)]
    return Section("training", "How the tuning went", tuple(blocks))


def read_curves(frame: pl.DataFrame) -> str:
    """What the second half of DPO's steps says, in words."""
    late = frame.tail((frame.height + 1) // 2)
    chosen, rejected, margin, accuracy = (
        sum(late[name].to_list()) / late.height for name in ("chosen", "rejected", "margin", "accuracy")
    )
    if chosen < 0 and rejected < 0:
        moved = "Both fall"
    elif chosen >= 0 and rejected >= 0:
        moved = "Neither falls"
    else:
        moved = "Only rejected texts fall" if rejected < 0 else "Only chosen texts fall"
    further = "rejected further than chosen" if rejected < chosen else "chosen further than rejected"
    order = f", {further}" if moved == "Both fall" else ""
    return (
        f"Mean of the second half of {frame.height} steps: log-probability against the reference "
        f"{numbers.signed(chosen, 2)} (chosen) and {numbers.signed(rejected, 2)} (rejected) nats per text. "
        f"{moved}{order}, by {numbers.plain(abs(chosen - rejected), 2)} nats; the margin is "
        f"{numbers.signed(margin, 3)}, and {numbers.plain(100 * accuracy, 0)} % of the pairs are ordered as the reward "
        "orders them (half of them would be by chance)."
    )


def _learning_curve(curve: Json | None) -> list[PageBlock]:
    if not curve:
        return [Note("Not measured: `make study` tunes with fewer pairs and rewards new texts of held-out users.")]
    effects = [plots.Effect(f"{p['pairs']} pairs", p["gain"], p["low"], p["high"]) for p in curve["points"]]
    title = f"Gain in reward ({curve['reward']}) over base, by number of pairs"
    gains = ", ".join(f"{e.label} {numbers.signed(e.difference)}" for e in effects)
    svg = plots.forest("learning-curve", title, f"{gains}.", effects, [])
    return [Figures((Figure(svg, f"{title}; {curve['users']} held-out users, 95 % intervals"),))]


def watch(measures: Json | None, changes: pl.DataFrame | None, probe: Json | None) -> Section:
    """What tuning did to the texts, and what the LLM knows of the data set by heart."""
    blocks: list[PageBlock] = []
    if measures:
        policies = list(measures)
        names = list(dict.fromkeys(m for p in policies for m in measures[p]))
        rows = tuple((_words(m), *(numbers.compact(measures[p].get(m)) for p in policies)) for m in names)
        blocks += [
            Note(
                "A policy that games the reward shows here first: texts that grow, repeat themselves, copy the "
                "prompt, name titles that don't exist, or become alike for all users."
            ),
            TableBlock("The texts of each policy, means over users", ("measure", *policies), rows),
        ]
    else:
        blocks.append(Note("The texts were not measured: metrics/watch.json is not there."))
    if changes is not None:
        found = tuple(
            (
                _words(row["measure"]),
                row["policy"],
                numbers.signed(row["difference"]),
                numbers.interval(row),
                str(row["users"]),
            )
            for row in changes.iter_rows(named=True)
        )
        columns = ("measure", "policy", "change", "95 % interval", "users")
        blocks.append(TableBlock("Change of each measure against base, paired by user", columns, found, words=2))
    blocks.append(Heading("What the LLM has memorised of the data set"))
    if probe:
        rows = tuple((_words(name), numbers.compact(value)) for name, value in _flat(probe))
        blocks.append(TableBlock("Memorisation probe", ("measure", "value"), rows))
    else:
        blocks.append(Note("Not probed: metrics/probe.json is not there."))
    return Section("watch", "What became of the texts", tuple(blocks))


def _dpo_figures(name: str, frame: pl.DataFrame) -> Figures:
    steps = tuple(float(v) for v in frame["step"])

    def smooth(columns: Sequence[str]) -> list[plots.Series]:
        """Running means of the columns, and beside them the values themselves."""
        means = frame.select(pl.col(columns).rolling_mean(SMOOTH, min_samples=1, center=True))
        return [
            plots.Series(column, steps, tuple(means[column].to_list()), tuple(frame[column].to_list()))
            for column in columns
        ]

    shown = {
        "Log-probability against the reference, nats per text": (["chosen", "rejected"], True),
        "Margin: beta times chosen minus rejected": (["margin"], True),
        "Loss (0.693 is chance)": (["loss"], False),
        "Share of pairs in the reward's order": (["accuracy"], False),
    }
    figures = []
    for i, (title, (columns, zero)) in enumerate(shown.items()):
        ends = ", ".join(f"{c} from {frame[c][0]:.3g} to {frame[c][-1]:.3g}" for c in columns)
        svg = plots.curves(f"dpo-{name}-{i}", title, f"By step: {ends}.", smooth(columns), zero, "step")
        figures.append(Figure(svg, f"{title}; running mean of {SMOOTH} steps, single steps pale"))
    return Figures(tuple(figures))


def _nested(caption: str, first: str, content: Json) -> TableBlock:
    """A table of {row: {column: number}}."""
    flat = {name: dict(_flat(row)) for name, row in content.items() if isinstance(row, Mapping)}
    names = list(dict.fromkeys(n for row in flat.values() for n in row))
    rows = tuple((_words(name), *(numbers.plain(row.get(n), 3) for n in names)) for name, row in flat.items())
    return TableBlock(caption, (first, *map(_words, names)), rows)


def _flat(content: Json, before: str = "") -> list[tuple[str, Any]]:
    """Numbers of nested objects under their joined names."""
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        where = f"{before}{name}"
        found += _flat(value, f"{where}: ") if isinstance(value, Mapping) else [(where, value)]
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")
