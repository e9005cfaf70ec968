"""Tables of names: the params allow what the code has, the docs tell of it, and an unknown name is an error."""

import re
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from rlrf4rec import params, paths
from rlrf4rec.alignment.tune import ENGINES, tune
from rlrf4rec.datasets.readers import READERS, read
from rlrf4rec.errors import ParamsError
from rlrf4rec.lists.protocols import PROTOCOLS, build
from rlrf4rec.methods.methods import METHODS, method
from rlrf4rec.params.known import GIVEN, KNOWN
from rlrf4rec.params.types import Backbone, DataSet, Format, Protocol, RewardKind, RewardNet
from rlrf4rec.ranking import nets
from rlrf4rec.reward import models
from rlrf4rec.reward.kinds import KINDS
from rlrf4rec.reward.rewards import UserRewards
from rlrf4rec.sources.sources import SOURCES, source
from rlrf4rec.stages.knowledge import SAID
from rlrf4rec.tables import results, rewards, split

ROOT = Path(__file__).parent.parent
STUDY = YAML(typ="safe").load((ROOT / "studies" / "controls" / "dvc.yaml").read_text())["stages"]
ARMS = YAML(typ="safe").load((ROOT / "studies" / "arms" / "dvc.yaml").read_text())["stages"]
METHOD = "docs/method.md"
ITEMS = params.Knowledge.model_fields["items"].annotation
TEXTS = params.RewardModel.model_fields["texts"].annotation
ENGINE = params.Dpo.model_fields["engine"].annotation


@pytest.mark.parametrize(
    ("table", "allowed", "told"),
    [
        (nets.NETS, get_args(RewardNet), METHOD),
        ({name: net for name, net in nets.NETS.items() if net.reranker}, get_args(Backbone), METHOD),
        (READERS, get_args(Format), "params.yaml"),
        ([GIVEN, *KNOWN], get_args(DataSet), "params.yaml"),
        (KINDS, get_args(RewardKind), METHOD),
        (KINDS, rewards.KINDS, METHOD),
        (PROTOCOLS, get_args(Protocol), METHOD),
        (PROTOCOLS, split.PROTOCOLS, METHOD),
        (SOURCES, STUDY["source"]["foreach"], METHOD),
        (SAID, get_args(ITEMS), METHOD),
        (models.TEXTS, get_args(TEXTS), "params.yaml"),
        (ENGINES, get_args(ENGINE), "params.yaml"),
        (METHODS, paths.APART_POLICIES, METHOD),
    ],
    ids=[
        *("nets", "backbones", "readers", "datasets", "kinds", "columns", "protocols", "contract", "sources", "items"),
        *("texts", "engines", "methods"),
    ],
)
def test_a_table_has_the_names_that_the_params_allow_and_the_docs_tell_of(table, allowed, told):
    assert sorted(table) == sorted(allowed)
    text = (ROOT / told).read_text().lower()
    assert [name for name in table if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)] == []


def test_the_studies_tune_by_methods_that_there_are():
    tuned = {*STUDY["train_policy"]["foreach"], *ARMS["match_policy"]["matrix"]["arm"]}
    assert tuned == set(METHODS)


INTERACTIONS = params.load(ROOT / "params.yaml").interactions.model_copy(update={"format": "x"})


@pytest.mark.parametrize(
    ("call", "known"),
    [
        (lambda: nets.build("x", None, None, 5, 0.0, 1, 1, 8), "net 'x' is unknown; one of match, dlcm, prm, setrank"),
        (lambda: read(Path(), INTERACTIONS), "interactions.format 'x' is unknown; one of atomic, ml-100k"),
        (lambda: UserRewards(0, None, None, None, None).reward("x"), "reward.kind 'x' is unknown; one of ndcg, map"),
        (
            lambda: build("x", *[None] * 7),
            "protocol 'x' is unknown; one of uniform, popularity, matched",
        ),
        (lambda: source("x"), "source 'x' is unknown; one of no_items, activity"),
        (lambda: models.text_bank(None, None, "x"), "reward_model.texts 'x' is unknown; one of llm, template, both"),
        (lambda: tune(None, "x", None, "", None), "dpo.engine 'x' is unknown; one of lightning, trl"),
        (lambda: method("x"), "train_policy 'x' is unknown; one of shuffled, sft, matched"),
    ],
    ids=["net", "format", "kind", "protocol", "source", "texts", "engine", "method"],
)
def test_an_unknown_name_is_an_error_that_names_the_known_ones(call, known):
    with pytest.raises(ParamsError, match=re.escape(known)):
        call()


def test_rewards_have_a_column_for_each_kind():
    assert set(KINDS) < set(rewards.REWARDS.schema.columns)
    columns = set(results.POLICY_REWARDS.schema.columns)
    assert columns == {
        "policy",
        "duty",
        "seed",
        "user",
        "fold",
        *KINDS,
        *(f"permuted_{kind}" for kind in results.PERMUTED),
    }
