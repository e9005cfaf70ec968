"""Questions about titles, years, item lines and rating lines, each beside its control.

A control is the same question with an answer that no memory of the data set could give.
"""

import random
from collections import Counter
from statistics import fmean
from typing import Any

import polars as pl

from rlrf4rec.errors import RLRFError
from rlrf4rec.params import Probe
from rlrf4rec.probing.memory import Cut, begins_with, greedy, halves, log_probs, share
from rlrf4rec.prompting.domain import Domain, natural_title

Row = dict[str, Any]
LONGEST = 32  # tokens of a completion; a longer answer counts as not known


class Asker:
    """Asks the LLM; what does not change between questions is kept."""

    def __init__(self, model: Any, tokenizer: Any, probe: Probe, domain: Domain) -> None:
        self.model, self.tokenizer, self.probe, self.domain = model, tokenizer, probe, domain

    def line(self, row: Row) -> str:
        """An item as prompts show it."""
        return self.domain.rated(row["title"], row["year"], row["genres"], row.get("texts"))

    def right(self, prompts: list[str], *answers: list[str]) -> list[list[bool]]:
        """Whether each greedy completion begins with its answer, for one or more lists of answers."""
        longest = max(len(self.tokenizer.encode(answer)) for some in answers for answer in some)
        found = greedy(self.model, self.tokenizer, prompts, min(longest + 2, LONGEST), self.probe.batch)
        return [[begins_with(text, answer) for text, answer in zip(found, some, strict=True)] for some in answers]

    def per_token(self, cuts: list[Cut]) -> list[float]:
        """Log-probability of each ending, per token."""
        return [value / tokens for value, tokens in log_probs(self.model, self.tokenizer, cuts, self.probe.batch)]


def ask(asker: Asker, items: pl.DataFrame, lines: list[tuple[str, str, str, str]], rng: random.Random) -> Row:
    """Every question's numbers, by its name.

    items: the items table. lines: user, item, rating and timestamp of every rating, in the file's order.
    """
    shuffled = items.to_dicts()
    rng.shuffle(shuffled)
    return {
        "titles": titles(asker, shuffled),
        "years": years(asker, shuffled, rng),
        "item_lines": item_lines(asker, items, rng),
        "rating_lines": rating_lines(asker, lines, rng),
    }


def titles(asker: Asker, shuffled: list[Row]) -> dict[str, float]:
    """Second half of a title from its first half, after three other lines in the prompts' form.

    Control: the ending of another title in its place. A title that is a common phrase can be completed without
    having seen the data set.
    """
    context = "; ".join(asker.line(row) for row in shuffled[:3])
    cuts = [halves(asker.line(row), natural_title(row["title"])) for row in shuffled[3:]]
    some = [c for c in cuts if c is not None][: asker.probe.items]
    asked = [Cut(f"{asker.domain.item}s: {context}; {c.begin}", c.end) for c in some]
    if len(asked) < 2:  # titles of one word can't be cut
        return {"asked": len(asked), "completed": 0.0}
    others = [Cut(a.begin, b.end) for a, b in zip(asked, asked[1:] + asked[:1], strict=True)]
    completed, swapped = asker.right([c.begin for c in asked], [c.end for c in asked], [c.end for c in others])
    true, other = asker.per_token(asked), asker.per_token(others)
    return {
        "asked": len(asked),
        "completed": share(completed),
        "completed_other_title": share(swapped),
        "log_prob_per_token": fmean(true),
        "log_prob_per_token_other_title": fmean(other),
        "true_more_likely": share([t > o for t, o in zip(true, other, strict=True)]),
        "true_more_likely_chance": 0.5,
    }


def years(asker: Asker, shuffled: list[Row], rng: random.Random) -> dict[str, float]:
    """The year after `Title (`: log-probability of the true year against years of other items.

    Control: the same years after another item's title, which takes out that some years are more common.
    """
    dated = [row for row in shuffled if row["year"]]
    some, pool = dated[: asker.probe.items], sorted({int(row["year"]) for row in dated})
    if len(pool) < 2:
        return {"asked": 0}
    wrong = {
        r["item"]: rng.sample([y for y in pool if y != r["year"]], min(asker.probe.years, len(pool) - 1)) for r in some
    }

    def gaps(heads: list[Row]) -> tuple[list[float], list[float], list[bool]]:
        """Log-probability of the true year, mean of the others, and whether the true one is the likeliest."""
        cuts = [
            Cut(f"{natural_title(head['title'])} (", str(year))
            for head, row in zip(heads, some, strict=True)
            for year in (row["year"], *wrong[row["item"]])
        ]
        values = [value for value, _ in log_probs(asker.model, asker.tokenizer, cuts, asker.probe.batch)]
        size = len(values) // len(some)
        groups = [values[i : i + size] for i in range(0, len(values), size)]
        return [g[0] for g in groups], [fmean(g[1:]) for g in groups], [g[0] > max(g[1:]) for g in groups]

    true, others, best = gaps(some)
    control_true, control_others, control_best = gaps(some[1:] + some[:1])
    return {
        "asked": len(some),
        "log_prob": fmean(true),
        "log_prob_other_years": fmean(others),
        "gap": fmean(true) - fmean(others),
        "gap_other_title": fmean(control_true) - fmean(control_others),
        "true_most_likely": share(best),
        "true_most_likely_other_title": share(control_best),
        "true_most_likely_chance": 1 / (1 + min(asker.probe.years, len(pool) - 1)),
    }


def item_lines(asker: Asker, items: pl.DataFrame, rng: random.Random) -> dict[str, float]:
    """The title in the next line `id|Title (Year)|` of the catalogue, after the lines before it in the file's order.

    Control: the same question after lines of other places, from which the order tells nothing.
    """
    rows = items.with_columns(pl.col("item").cast(pl.Int64, strict=False).alias("number"))
    ordered = rows.sort("number", "item", nulls_last=True).to_dicts()
    lines = [f"{row['item']}|{row['title']} ({row['year'] or ''})|" for row in ordered]
    context = asker.probe.context
    places, first = _places(len(lines), context, asker.probe.lines, rng)
    near = [lines[place - context : place] for place in places]
    far = [[lines[p] for p in _elsewhere(len(lines), place, context, rng)] for place in places]
    good = []
    for before in (near, far):
        prompts = ["\n".join([*some, f"{ordered[place]['item']}|"]) for some, place in zip(before, places, strict=True)]
        good += asker.right(prompts, [ordered[place]["title"] for place in places])
    return {
        "asked": len(places),
        "completed": share(good[0]),
        "completed_first_lines": share(good[0][:first]),
        "completed_other_lines": share(good[1]),
    }


def rating_lines(asker: Asker, lines: list[tuple[str, str, str, str]], rng: random.Random) -> dict[str, float]:
    """Item and rating of the next line `user<TAB>item<TAB>rating<TAB>time`, the first lines of the file among them.

    Control: after lines of other places. Chance: the commonest item's and rating's share of all lines.
    """
    context = asker.probe.context
    places, first = _places(len(lines), context, asker.probe.lines, rng)
    near = [[lines[p] for p in range(place - context, place)] for place in places]
    far = [[lines[p] for p in _elsewhere(len(lines), place, context, rng)] for place in places]
    true = [lines[place] for place in places]
    report: dict[str, float] = {"asked": len(places)}
    for name, fields in (("item", 1), ("rating", 2)):
        for label, before in (("", near), ("_other_lines", far)):
            prompts = [
                "\n".join(["\t".join(line) for line in some] + ["\t".join(row[:fields]) + "\t"])
                for some, row in zip(before, true, strict=True)
            ]
            (good,) = asker.right(prompts, [row[fields] for row in true])
            report[f"{name}_completed{label}"] = share(good)
            if before is near:
                report[f"{name}_completed_first_lines"] = share(good[:first])
        report[f"{name}_chance"] = Counter(line[fields] for line in lines).most_common(1)[0][1] / len(lines)
    return report


def _places(total: int, context: int, count: int, rng: random.Random) -> tuple[list[int], int]:
    """Line numbers, none twice: half from the file's beginning, which is quoted most, and how many; then others."""
    if total <= context:
        raise RLRFError(f"probe: {total} line(s) are too few for probe.context = {context}; lower it")
    first = list(range(context, min(context + count // 2, total)))
    rest = range(context + len(first), total)
    return first + sorted(rng.sample(rest, min(count - len(first), len(rest)))), len(first)


def _elsewhere(total: int, place: int, context: int, rng: random.Random) -> list[int]:
    """Lines of other places: neither the asked line nor those before it, where the file has enough of others."""
    near = range(place - context, place + 1)
    others = [p for p in rng.sample(range(total), min(total, 3 * context + 1)) if p not in near]
    return others[:context]
