"""Section on the arms of the studies, each protocol's in pictures of one scale."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rlrf4rec.report import numbers, plots
from rlrf4rec.report.blocks import Figure, Figures, Note, PageBlock, Section, TableBlock
from rlrf4rec.report.results import BY_LIST, METRIC, POOLED, REFERENCES, described, in_words
from rlrf4rec.tables.results import ALPHA

Json = Mapping[str, Any]
OLDER = (
    "The study of {study} is of other users or other lists than this run: hold its arms against each other, not "
    "against this run. `make {make}` makes it anew."
)
ARMS = {
    "tuned": "LLM tuned by DPO on what re-rankers prefer",
    "second": "the tuned LLM, tuned once more on what re-rankers prefer of its own texts",
    "matched": "LLM tuned by DPO on shuffled preferences until it has moved as far as the tuned one",
    "rule_years": "LLM tuned by DPO to name more years and decades; no label read",
    "rule_length": "LLM tuned by DPO to write more; no label read",
    "matched_second": "LLM tuned by DPO on shuffled preferences, as far as the LLM that was tuned twice",
    "rule_years_second": "LLM tuned by DPO to name more years and decades, as far as the LLM that was tuned twice",
    "rule_length_second": "LLM tuned by DPO to write more, as far as the LLM that was tuned twice",
    "base_labels": "texts of the untuned LLM, and the tuning users' labels train the re-ranker",
    "template_shown": "genre and era profile as text, of what the prompt shows alone",
    "profile_shown": "genre and era profile as numbers, of what the prompt shows alone",
    "tuned_template": "texts of the tuned LLM, beside the profile text",
    "second_template": "texts of the LLM that was tuned twice, beside the profile text",
    "matched_template": "texts of the matched LLM, beside the profile text",
    "matched_second_template": "texts of the LLM that was matched with the one tuned twice, beside the profile text",
    "tuned_template_shown": "texts of the tuned LLM, beside the profile text of what the prompt shows alone",
    "profile_template": "genre and era profile as numbers, beside the profile text",
    "items_mean_template": "mean vector of the liked items, beside the profile text",
    "base_items_mean": "texts of the untuned LLM, beside the mean vector of the liked items",
    "tuned_items_mean": "texts of the tuned LLM, beside the mean vector of the liked items",
    "second_items_mean": "texts of the LLM that was tuned twice, beside the mean vector of the liked items",
}  # those that the study of controls has are in `results.KNOWLEDGE`
ANSWERS = {
    "shown": ("the feedback is shown: tuned texts lie above those of all that read none", "the feedback is not shown"),
    "adds": (
        "it adds to the profile: with the profile beside them, tuned texts lie above it, base and matched texts",
        "it is not shown to add to the profile",
    ),
    "shown_second": (
        "the feedback of two rounds is shown: texts of the LLM tuned twice lie above those of all that read none",
        "the feedback of two rounds is not shown",
    ),
    "adds_second": (
        "two rounds add to the profile: with the profile beside them, their texts lie above it, base and matched texts",
        "two rounds are not shown to add to the profile",
    ),
}  # to `evaluation.arms.QUESTIONS`
READING = (
    "All claims of an answer have to hold, each at {level:g} %; what is said of one claim alone goes by Holm's p. "
    "Other rows of the pictures are adjusted for nothing. Intervals are about new evaluated users, policies and "
    "re-ranker seeds, not about other users to tune on. Where policies' means differ no more than users and seeds make "
    "them, policies are taken not to differ; the interval by their means alone does not take it so, and is wider."
)
CHOSEN = " Where settings were chosen on these users before, they are too good."  # not of a look, which has a level
BY_POLICY = "by policies' means alone"
FIRST, OTHERS = numbers.COLUMNS[:2], numbers.COLUMNS[2:]  # the difference with its intervals, then all else
TRAINED = ("trained, times its epochs", "then update times")
NAMES = {"controls": "study", "arms": "arms"}  # of the studies: what makes each


def arms(controls: Json | None, replicated: Json | None, of_others: Collection[str] = ()) -> Section:
    """Forest plots of the study of controls, against base and constant, and of the study of arms, by protocol.

    controls: evaluate_controls.json, of one policy an arm; replicated: evaluate_arms.json, of several; of_others:
    those of `NAMES` that are of another run than this.
    """
    title = "All arms"
    pictures = [*_replicated(replicated or {}), *_controls(controls or {})]
    if not pictures:
        return Section(
            "arms",
            title,
            (Note("The arms were not run: `make study` runs them (and `make arms` several policies of each)."),),
        )
    blocks: list[PageBlock] = [
        Note(
            f"{METRIC.upper()} with 95 % intervals; right of zero is better. Each picture says how many policies an "
            "interval is about: with one, another draw of pairs, tuning and texts can lie outside."
        ),
        *(Note(OLDER.format(study=name, make=NAMES[name]), "null") for name in NAMES if name in of_others),
        *_verdicts(replicated or {}),
        *([_reading(replicated)] if replicated else []),
        Figures(tuple(pictures)),
        *_tables(replicated or {}),
    ]
    return Section("arms", title, tuple(blocks))


def _reading(replicated: Json) -> Note:
    """At what level claims are held, and what intervals are about; a look at final users says its own level."""
    levels = [found["level"] for found in replicated.values() if "level" in found]
    return Note(READING.format(level=100 * (levels or [ALPHA])[0]) + ("" if levels else CHOSEN))


def _controls(controls: Json) -> Iterator[Figure]:
    for protocol, found in controls.items():
        for reference in ("base", "constant"):
            names = {pair: pair.partition(" - ") for pair in found["differences"]}
            shown = {a: found["differences"][pair] for pair, (a, _, b) in names.items() if b == reference}
            slug, against = f"arms-{protocol}-{reference}", f"every arm minus {reference} ({REFERENCES[reference]})"
            yield from _forest(slug, f"{METRIC.upper()}, {protocol}: {against}; one policy each", shown, reference)


def _replicated(replicated: Json) -> Iterator[Figure]:
    for protocol, found in replicated.items():
        drawn = _of_metric(found["differences"])
        count = max((d.get("policies", 1) for d in drawn.values()), default=1)
        about = f"{count} policies each" if count > 1 else "one policy each"
        title = f"{METRIC.upper()}, {protocol}: arms against each other; {about}"
        yield from _forest(
            f"arms-{protocol.replace(', ', '-').replace(' ', '-')}", title, found["differences"], "the other arm"
        )


def _verdicts(replicated: Json) -> Iterator[PageBlock]:
    """Answers to what each protocol was asked; the first one is the primary."""
    for place, (protocol, found) in enumerate(replicated.items()):
        where = protocol if place == 0 else f"{protocol} (secondary)"
        for question, (yes, no) in ANSWERS.items():
            if lacks := found.get("lacks", {}).get(question):
                yield Note(f"{where}: {no} ({'; '.join(lacks)}).", "null")
            elif found.get(question):
                yield Note(f"{where}: {yes}.", "gain" if place == 0 else "plain")


def _tables(replicated: Json) -> Iterator[PageBlock]:
    """What the feedback stands or falls with, and what each arm of that study is."""
    rows = tuple(
        (name, protocol, *_cells(d))
        for protocol, found in replicated.items()
        for name, d in found.get("family", {}).items()
    )
    columns = ("comparison", "protocol", *FIRST, BY_POLICY, BY_LIST, *OTHERS, "policies")
    caption = f"What the method stands or falls with, {METRIC.upper()}, over policies; Holm's p is within the protocol"
    if rows:
        yield TableBlock(caption, columns, rows, words=2)
    yield from _movement(replicated)
    kinds = dict.fromkeys(kind for found in replicated.values() for kind in found.get("kinds", {}))
    if kinds:
        glossary = tuple((kind, ARMS.get(kind) or described(kind)) for kind in kinds)
        yield TableBlock("What each arm of several policies is", ("arm", "what it is"), glossary, words=2)


def _cells(d: Json) -> tuple[str, ...]:
    """Cells of a difference over policies, its three intervals first."""
    own = numbers.row(d)
    place, policies = len(FIRST), numbers.plain(d.get("policies"))
    return (*own[:place], numbers.by_policy(d), numbers.by_list(d), *own[place:], policies)


def _movement(replicated: Json) -> Iterator[PageBlock]:
    """How far each policy is from the LLM; the same under every protocol."""
    moved: Json = next((found["moved"] for found in replicated.values() if found.get("moved")), {})
    rows = tuple(
        (
            name,
            f"{m['kl']:.3f} ± {m['kl_standard_error']:.3f}",
            f"{m['shift']:.2f} ± {m['shift_standard_error']:.2f}",
            _missed(m),
            numbers.plain(m.get("times")),
            f"{m['scale']:.3f}" if "scale" in m else numbers.DASH,
        )
        for name, m in sorted(moved.items())
    )
    if rows:
        caption = (
            "How far each policy has moved, nats a text ± a standard error, on texts of the LLM about validation users "
            "(controls were brought to KL of tuned or second on these, and on others may miss it by the error given)"
        )
        columns = ("policy", "KL(LLM || policy)", "mean |log p - log p of the LLM|", "KL less that one's", *TRAINED)
        yield TableBlock(caption, columns, rows)


def _missed(moved: Json) -> str:
    """The error of KL less that of the policy whose distance it was brought to; a dash where it was brought to none."""
    apart = [of for name, of in moved.items() if name.startswith("kl_minus_")]
    return f"± {apart[0]['standard_error']:.3f}" if apart else numbers.DASH


def _of_metric(differences: Json) -> dict[str, Json]:
    """Differences in the headline metric, over all backbones, by name."""
    pooled = {name: by.get(POOLED, by) for name, by in differences.items()}
    return {name: by[METRIC] for name, by in pooled.items() if METRIC in by}


def _forest(slug: str, title: str, differences: Json, reference: str) -> Iterator[Figure]:
    found = _of_metric(differences)
    effects = [plots.Effect(name, d["difference"], d["low"], d["high"]) for name, d in found.items()]
    if effects:
        yield Figure(plots.forest(slug, title, in_words(effects, reference), effects, []), title)
