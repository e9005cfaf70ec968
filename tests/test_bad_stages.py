"""Every stage with an input that is broken: it ends in our own error, and what it and others wrote before stays.

`DRAWN`: inputs and ways by seed, the same in every run. `CHOSEN`: ways that break what several files say together.
"""

import random
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from breakages import SURE
from broken_stages import DAG, FETCHING, TOPS, Case, below, command, finished

from rlrf4rec.errors import InputError, RLRFError

READING = [stage for stage in DAG if stage not in FETCHING]
MOST = 7  # inputs of a stage that are drawn
PEOPLE, LISTS, VECTORS = "data/split/people", "data/split/lists", "vectors.safetensors"
UNREAD = {  # inputs of a stage, as folders are dependencies as a whole, that it doesn't read with these params
    "split": ["data/interactions/users.parquet"],
    "knowledge": ["models/*"],
    "prompt": [
        f"{PEOPLE}/popularity.parquet",
        "models/*/config.json",
        "models/*.safetensors",
        "*tokenizer_config.json",
    ],
    "sample": [f"{PEOPLE}/history.parquet", f"{PEOPLE}/popularity.parquet", "*tokenizer_config.json"],
    "encode": ["data/interactions/*", f"{PEOPLE}/history.parquet", f"{PEOPLE}/popularity.parquet"],
    "tune_reward": [f"{LISTS}/candidates.parquet"],
    "train_reward": [f"{LISTS}/candidates.parquet", "data/tune_reward/trials.csv"],
    "score": [f"{LISTS}/candidates.parquet", f"data/encode/template/{VECTORS}"],
    "pair": [f"{PEOPLE}/history.parquet", f"{PEOPLE}/popularity.parquet"],
    "tune_dpo": [
        *(f"{LISTS}/{name}.parquet" for name in ("candidates", "validation")),
        *("data/pair/round1/skipped.parquet", f"data/encode/template/{VECTORS}", "models/train_reward/round1/l*"),
        *("models/pretrained/llm/tokenizer_config.json",),
    ],
    "train_dpo": [
        *(f"{PEOPLE}/{name}.parquet" for name in ("history", "popularity")),
        *("data/pair/round1/skipped.parquet", "data/tune_dpo/trials.csv", "models/policy/base/*"),
        "*tokenizer_config.json",
    ],
    "evaluate": [
        *(f"data/encode/{name}/{VECTORS}" for name in ("none", "template")),
        *("data/split/lists/train.parquet", f"{LISTS}/candidates.parquet"),
        *("models/train_reward/round1/lists.parquet", "models/train_ranker/*/ranker.safetensors"),
    ],
    "watch": [
        *(f"data/*/{name}/*" for name in ("none", "items", "template")),
        *(f"{PEOPLE}/popularity.parquet", "models/pretrained/llm/tokenizer*"),
    ],
    "report": [
        f"{LISTS}/*",
        *(f"data/texts/{name}/*" for name in ("none", "items", "template")),
        *(f"{PEOPLE}/users.parquet", f"{PEOPLE}/popularity.parquet"),
        "metrics/cost/*",
    ],
}


def cases(way, path, *stages):
    """The same input of some stages, broken in one way."""
    return [Case(stage, path, way) for stage in stages]


ALIKE = ["models/train_ranker/*"]  # of evaluate, which reads not all scores of each: those below are of one
SCORES, CURVES = (f"models/train_ranker/round1_template/{name}" for name in ("scores.safetensors", "curves.json"))
CHOSEN = [
    *cases("other fold", f"{LISTS}/train.parquet", "tune_reward", "train_reward", "score", "tune_dpo", "train_ranker"),
    *cases(
        "other fold", f"{LISTS}/validation.parquet", "tune_reward", "train_reward", "score", "train_ranker", "evaluate"
    ),
    *cases("other fold", "data/pair/round1/pairs.parquet", "tune_dpo", "train_dpo"),
    *cases("other fold", "data/split/development/lists.parquet", "evaluate"),
    *cases("stranger", "data/split/development/lists.parquet", "evaluate"),
    *cases("stranger", f"{LISTS}/validation.parquet", "train_reward", "train_ranker"),
    *cases("row gone", f"{LISTS}/train.parquet", "tune_reward", "train_reward", "score"),
    *cases("row gone", f"{PEOPLE}/users.parquet", "encode", "tune_reward", "train_ranker"),
    *cases("stranger", f"{PEOPLE}/users.parquet", "train_reward", "score", "evaluate"),
    *cases("no rows", f"{PEOPLE}/history.parquet", "train_reward", "score", "train_ranker"),
    *cases("row gone", "data/interactions/items.parquet", "prompt"),
    *cases("stranger", "data/interactions/items.parquet", "score"),
    *cases("row gone", "data/texts/base/texts.parquet", "pair"),
    *cases("stranger", "data/texts/base/texts.parquet", "pair"),
    *cases("stranger", "data/texts/round1/texts.parquet", "encode"),
    *cases("not finite", f"data/encode/base/{VECTORS}", "tune_reward"),
    *cases("no metadata", f"data/encode/items/{VECTORS}", "train_reward"),
    *cases("narrow", f"data/encode/round1/{VECTORS}", "train_ranker"),
    *cases("narrow", f"data/encode/items/{VECTORS}", "score", "train_ranker"),
    *cases("narrow", "models/train_reward/round1/label.safetensors", "score", "evaluate"),
    *cases("narrow", "models/train_reward/round1/judge.safetensors", "score", "evaluate"),
    *cases("narrow", "models/policy/round1/adapter_model.safetensors", "sample", "watch"),
    *cases("narrow", "models/pretrained/llm/model.safetensors", "sample"),
    *cases("narrow", "models/pretrained/encoder/model.safetensors", "encode"),
    *cases("no number", "data/raw/dataset/interactions.csv", "interactions"),
    *cases("gone", "metrics/per_user.csv", "report"),
    # What was taken, or ended as a fault, once.
    *cases("row gone", "data/interactions/items.parquet", "split", "evaluate", "report"),
    *cases("row gone", f"{PEOPLE}/popularity.parquet", "train_reward", "score", "tune_dpo", "evaluate"),
    *cases("no rows", f"{LISTS}/train.parquet", "tune_reward", "train_reward", "score"),
    *cases("no rows", f"{LISTS}/validation.parquet", "tune_reward", "train_reward", "score", "evaluate"),
    *cases("no rows", "data/split/development/lists.parquet", "evaluate"),
    *cases("no rows", f"{PEOPLE}/history.parquet", "prompt", "watch"),
    *cases("row gone", "data/prompt/prompts.parquet", "watch"),
    *cases("narrow", f"data/encode/base/{VECTORS}", "tune_reward", "train_reward", "score", "evaluate"),
    *cases("narrow", f"data/encode/items/{VECTORS}", "tune_reward", "train_reward"),
    *cases("narrow", f"data/encode/template/{VECTORS}", "tune_reward", "train_reward"),
    *cases("narrow", f"data/encode/round1/{VECTORS}", "evaluate", "watch"),
    *cases("no metadata", "models/train_reward/round1/label.safetensors", "score", "evaluate"),
    *cases("not finite", "models/train_reward/round1/judge.safetensors", "score", "tune_dpo", "evaluate"),
    *cases("key gone", "data/tune_reward/best.json", "train_reward"),
    *cases("other value", "data/tune_reward/best.json", "train_reward"),
    *(Case("evaluate", SCORES, way) for way in ("half", "no metadata", "not finite", "narrow")),
    *(Case("evaluate", CURVES, way) for way in ("gone", "key gone", "other value")),
    *cases("a list", "models/policy/round1/adapter_config.json", "watch"),
    *cases("a list", "models/pretrained/llm/tokenizer.json", "prompt", "tune_dpo"),
    *cases("a list", "models/pretrained/llm/tokenizer_config.json", "prompt", "tune_dpo"),
    *cases("key gone", "metrics/train_dpo/round1.json", "report"),
    *cases("key gone", "metrics/evaluate.json", "report"),
    *cases("no number", "metrics/plots/watch/changes.csv", "report"),
    *cases("no number", "metrics/plots/tune_dpo/trials.csv", "report"),
    *cases("row twice", "data/evaluate/examples.parquet", "report"),
    # What the estimate before a stage, or the name of a search, reads before the stage itself does.
    *cases("half", "data/prompt/prompts.parquet", "sample", "tune_dpo", "train_dpo"),
    *cases("no rows", "data/prompt/prompts.parquet", "sample"),
    *cases("half", "models/pretrained/llm/config.json", "sample"),
    *cases("a list", "models/pretrained/llm/config.json", "train_dpo"),
    *cases("gone", f"data/encode/items/{VECTORS}", "tune_reward"),
    *cases("gone", "data/pair/round1/pairs.parquet", "tune_dpo"),
    # The same of stages whose outputs take longest to make again.
    *cases("row gone", f"{PEOPLE}/popularity.parquet", "train_ranker"),
    *cases("no rows", f"{LISTS}/train.parquet", "train_ranker"),
    *cases("no rows", "data/texts/round1/texts.parquet", "encode"),
    *cases("row gone", f"{LISTS}/candidates.parquet", "train_ranker"),
    *cases("no rows", "data/pair/round1/pairs.parquet", "train_dpo"),
    *cases("other value", "data/tune_dpo/best.json", "train_dpo"),
    *cases("a list", "models/policy/round1/adapter_config.json", "sample"),
    *cases("not finite", "models/policy/round1/adapter_model.safetensors", "sample"),
    *cases("a list", "models/pretrained/llm/tokenizer.json", "train_dpo"),
    *cases("gone", "models/pretrained/encoder/tokenizer_config.json", "encode"),
    *cases("key gone", "data/tune_dpo/best.json", "train_dpo"),
    *cases("stranger", f"{LISTS}/candidates.parquet", "train_ranker"),
    *cases("other item", f"{LISTS}/candidates.parquet", "train_ranker"),
    *cases("other item", f"{LISTS}/train.parquet", "tune_reward", "train_reward", "score", "train_ranker"),
    *cases("other item", f"{LISTS}/validation.parquet", "evaluate"),
    *cases("other item", "data/split/development/lists.parquet", "evaluate"),
    *(Case("train_ranker", f"{LISTS}/{name}.parquet", "no rows") for name in ("candidates", "validation")),
    *cases("not finite", "models/pretrained/llm/model.safetensors", "train_dpo"),
    *cases("not finite", "models/pretrained/encoder/model.safetensors", "encode"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with finished(tmp_path_factory.mktemp("run")) as made:
        yield made


@pytest.fixture(autouse=True)
def own_state(run, state, monkeypatch):
    """The state folder is the run's, so that what it has finished is not done again."""
    monkeypatch.setenv("DVC_ROOT", str(run.folder))


def fits(path, patterns):
    return any(fnmatch(path, pattern) for pattern in patterns)


def drawn(stage):
    """A few of the inputs that a stage reads, each in a way that is drawn."""
    draw = random.Random(stage)
    read = [path for path in below(command(stage)[1]) if not fits(path, UNREAD.get(stage, []) + ALIKE)]
    found = [Case(stage, path, draw.choice(list(SURE[Path(path).suffix]))) for path in read]
    return draw.sample(found, min(MOST, len(found)))


def wrong(case, ended, changed=()):
    """What is wrong with how a stage has ended that had to refuse a broken input; nothing where all is as it should."""
    if ended.code != InputError.code:
        yield f"exit code {ended.code}: {ended.lines[-2:]}"
    elif ended.lines[-1] != f"what to do: {InputError.todo}":
        yield f"last line {ended.lines[-1]!r}"
    elif not [line for line in ended.lines if re.match(rf"rlrf4rec {case.stage}: error: ", line)]:
        yield f"no line says what is wrong: {ended.lines}"
    if "Traceback" in str(ended.lines):
        yield "a traceback"
    if list(ended.changed) != list(changed):
        yield f"changed: {ended.changed}"


def named(case, ended):
    """Whether the file that is broken, or its folder, is named."""
    return str(Path(case.path).parent) in "\n".join(ended.lines)


@pytest.mark.parametrize("stage", READING)
def test_a_stage_refuses_broken_inputs_in_our_own_words_and_leaves_all_outputs_as_they_were(stage, run):
    made = {case: run.ended(case) for case in drawn(stage)}
    assert made
    assert {str(case): list(wrong(case, ended)) for case, ended in made.items()} == {str(case): [] for case in made}
    assert [str(case) for case, ended in made.items() if not named(case, ended)] == []


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_what_breaks_files_that_belong_together_is_refused_as_well(case, run):
    assert list(wrong(case, run.ended(case))) == []


def test_a_hundred_inputs_are_broken_in_every_way(run):
    made = [*(case for stage in READING for case in drawn(stage)), *CHOSEN]
    assert len(set(made)) >= 100
    assert {(Path(case.path).suffix, case.way) for case in made} >= {(kind, way) for kind in SURE for way in SURE[kind]}
    assert {case.stage for case in CHOSEN} | {"split", "knowledge"} == set(READING)


@pytest.mark.parametrize("stage", UNREAD)
def test_inputs_that_are_said_not_to_be_read_may_be_gone(stage, run):
    unread = [path for path in below(command(stage)[1]) if fits(path, UNREAD[stage])]
    assert unread
    assert run.ended_with(stage, dict.fromkeys(unread)).code == 0


def raising(error):
    raise error


def writing(name, error=None):
    Path(name).write_text("new")
    if error:
        raise error


REFUSAL = InputError("f: broken")
SPOILED = {  # what a stage could do, and what has to be said of it
    "nothing": (lambda: raising(REFUSAL), []),
    "fault": (lambda: raising(KeyError("x")), ["exit code 70"]),
    "other error": (lambda: raising(RLRFError("x")), ["exit code 2"]),
    "taken": (lambda: "done", ["exit code 0", "changed"]),
    "output": (lambda: writing("data/pair/round1/pairs.parquet", REFUSAL), ["changed"]),
    "of another": (lambda: writing("data/score/round1/rewards.parquet", REFUSAL), ["changed"]),
    "left over": (lambda: writing("data/pair/round1/.x.partial", REFUSAL), ["changed"]),
    "gone": (lambda: raising(Path("metrics/pair/round1.json").unlink() or REFUSAL), ["changed"]),
    "traceback": (lambda: raising(InputError("Traceback (most recent call last)")), ["a traceback"]),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_stage_that_does_otherwise_is_told(what, run, monkeypatch):
    body, told = SPOILED[what]
    monkeypatch.setattr("rlrf4rec.stages.pair.run", lambda pair, round_name, texts_name: body())
    case = Case("pair", "data/texts/base/texts.parquet", "half")
    found = list(wrong(case, run.ended(case)))
    assert [text[: len(begin)] for text, begin in zip(found, told, strict=True)] == told
    assert {name: Path(name).read_bytes() for name in below(TOPS)} == run.good
