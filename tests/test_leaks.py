"""A leak planted in each place is caught where the data is read."""

from pathlib import Path

import polars as pl
import pytest

from rlrf4rec import inputs, paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.params import Prompt
from rlrf4rec.prompting import fitting as prompt_stage
from rlrf4rec.prompting import leaks
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.prompts import masked
from rlrf4rec.prompting.template import Template
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.rewards import KINDS, REWARDS, TRAINED_LISTS, check_tuning_users
from rlrf4rec.tables.split import FOLD_USERS, HISTORY, LISTS, check_fold, check_history, check_reward_lists

PATH = Path("x.parquet")
USERS = pl.DataFrame(
    {
        "user": ["a", "b", "r", "v", "t"],
        "fold": ["train", "train", "train", "validation", "development"],
        "role": ["tune", "tune", "rank", "none", "none"],
        "half": ["A", "B", "-", "-", "-"],
    }
)


def lists(user, begins=10, items=("i", "j", "k")):
    return pl.DataFrame(
        {
            "user": [user] * 3,
            "list": [0] * 3,
            "position": [0, 1, 2],
            "item": list(items),
            "label": [1, 0, 0],
            "real": [True, False, False],
            "begins": [begins] * 3,
            "activity": [1] * 3,
            "protocol": ["popularity"] * 3,
        }
    )


CATALOGUE = pl.DataFrame({"item": ["h", "i", "j", "k"]})


def history(user="a", item="h", timestamp=5):
    return pl.DataFrame({"user": [user], "position": [0], "item": [item], "rating": [5.0], "timestamp": [timestamp]})


@pytest.mark.parametrize("fold", ["train", "validation", "development"])
@pytest.mark.parametrize("user", ["a", "v", "t"])
def test_a_user_of_another_fold_among_the_lists(fold, user):
    own = dict(USERS.select("user", "fold").iter_rows())[user]
    if own == fold:
        check_fold(lists(user), USERS, fold, PATH)
    else:
        with pytest.raises(ContractError, match=f"only users of the {fold} fold.*(?s:.)*user='{user}'"):
            check_fold(lists(user), USERS, fold, PATH)


def test_a_history_that_reaches_into_the_lists():
    check_history(lists("a"), history(), PATH)
    for late in (10, 11):
        with pytest.raises(ContractError, match="strictly before the lists"):
            check_history(lists("a"), history(timestamp=late), PATH)


def test_an_item_of_the_history_in_a_list():
    with pytest.raises(ContractError, match="no list holds an item of the history"):
        check_history(lists("a"), history(item="j"), PATH)


def test_a_user_with_lists_but_without_history():
    with pytest.raises(ContractError, match="every user with lists has a history"):
        check_history(lists("b"), history("a"), PATH)


def test_a_list_that_the_scoring_model_was_trained_on():
    trained = pl.DataFrame({"half": ["A"], "user": ["a"], "list": [0]})
    check_reward_lists(lists("b"), trained, PATH)
    with pytest.raises(ContractError, match="disjoint from the lists of the scoring model"):
        check_reward_lists(lists("a"), trained, PATH)


@pytest.mark.parametrize("user", ["r", "v", "t"])
def test_a_user_who_may_not_tune_the_llm_among_the_pairs(user):
    check_tuning_users(pl.DataFrame({"user": ["a", "b"]}), USERS, PATH)
    with pytest.raises(ContractError, match=f"only train users that tune(?s:.)*user='{user}'"):
        check_tuning_users(pl.DataFrame({"user": ["a", user]}), USERS, PATH)


def test_a_development_user_with_a_reward():
    row = {"user": "t", "sample": 0, "fold": "development", "lists": 1, **dict.fromkeys(KINDS, 0.5)}
    with pytest.raises(ContractError, match="no development user is rewarded"):
        REWARDS.check(pl.DataFrame([{**row, "reward": -1.0, "judged": 0.0}]), PATH)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A repository folder with a valid split on disk."""
    monkeypatch.chdir(tmp_path)
    FOLD_USERS.write(USERS, paths.FOLD_USERS)
    HISTORY.write(pl.concat([history(u) for u in USERS["user"]]), paths.HISTORY)
    return tmp_path


def test_stages_read_lists_through_these_checks(place):
    tables = inputs.Tables(USERS, CATALOGUE, pl.DataFrame())
    LISTS.write(lists("a"), paths.lists("train"))
    assert tables.list_frame("train").height == 3
    LISTS.write(pl.concat([lists("a"), lists("t")]), paths.lists("train"))
    with pytest.raises(ContractError, match="only users of the train fold"):
        tables.list_frame("train")
    LISTS.write(lists("a", begins=5), paths.lists("train"))
    with pytest.raises(ContractError, match="strictly before"):
        tables.list_frame("train")
    LISTS.write(lists("a", items="ixk"), paths.lists("train"))
    with pytest.raises(ContractError, match=r"every candidate is an item(?s:.)*item='x'"):
        tables.list_frame("train")


def test_score_refuses_models_that_saw_the_lists_they_score(place):
    from rlrf4rec.stages.score import _tuning_lists

    tables = inputs.Tables(USERS, CATALOGUE, pl.DataFrame())
    LISTS.write(pl.concat([lists("a"), lists("b"), lists("r")]), paths.lists("train"))
    good = pl.DataFrame({"half": ["A", "B"], "user": ["a", "b"], "list": [0, 0]})
    TRAINED_LISTS.write(good, paths.trained_lists("round1"))
    assert set(_tuning_lists(tables, "round1")["user"]) == {"a", "b"}
    leaky = pl.DataFrame({"half": ["A", "A"], "user": ["a", "b"], "list": [0, 0]})
    TRAINED_LISTS.write(leaky, paths.trained_lists("round1"))
    with pytest.raises(ContractError, match="disjoint"):
        _tuning_lists(tables, "round1")


# The prompt


SHOWN = [
    {"item": "h", "title": "Heat", "year": 1995, "genres": "Action|Crime", "rating": 5.0, "position": 0},
    {"item": "g", "title": "Hours; The, The", "year": None, "genres": "", "rating": 1.0, "position": 1},
    {"item": "f", "title": "Hours", "year": None, "genres": "", "rating": 4.0, "position": 2},
]
LATER = [("Red Heat", 1988, "Action"), ("Heat", 1986, "Crime"), ("Hours, The", None, ""), ("Hoursglass", None, "")]
TEMPLATE = Template(1, Domain("films"), "Disliked: Red Heat (1988; Action)\nLiked: Hours\nTaste: likes x", "")


def test_ratings_of_the_history_are_no_leak():
    assert leaks.check("u", SHOWN, SHOWN) is None
    assert leaks.check("u", SHOWN[1:2], SHOWN) is None
    covered = masked(SHOWN, Domain("films"))
    assert leaks.check("u", covered[:2], covered) is None


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("item", LATER)
def test_an_item_of_the_lists_that_is_to_be_shown(item, place):
    later = {"item": "x", **dict(zip(("title", "year", "genres"), item, strict=True)), "rating": 5.0, "position": 3}
    with pytest.raises(RLRFError, match=f"user u: the prompt shows {item[0]!r}, which is nothing of their history"):
        leaks.check("u", [*SHOWN[:place], later, *SHOWN[place:2]], SHOWN)


def test_a_rating_of_the_history_with_another_title_is_a_leak():
    with pytest.raises(RLRFError, match="the prompt shows 'Red Heat'"):
        leaks.check("u", [{**SHOWN[0], "title": "Red Heat"}], SHOWN)


def test_the_stage_writes_no_prompt_with_a_leak(monkeypatch):
    """As if the choice of what is told reached beyond the history."""
    later = {"item": "x", "title": "Red Heat", "year": 1988, "genres": "", "rating": 5.0, "position": 3}
    monkeypatch.setattr(prompt_stage, "telling", lambda shown, liked, disliked: ([*shown[:1], later], []))
    asked = Prompt(template="t", chat=False, titles="shown", liked=9, disliked=9, max_tokens=500)
    with pytest.raises(RLRFError, match="user u: the prompt shows 'Red Heat"):
        prompt_stage.fitting("u", TEMPLATE, SHOWN, asked, Letters())


class Letters:
    """A token a letter."""

    def encode(self, text):
        return [ord(c) for c in text]
