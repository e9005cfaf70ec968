"""Who is final goes by the id alone, and of MovieLens-100K by a list of those whom nothing was ever looked at."""

import csv
import hashlib
from pathlib import Path

import polars as pl
import pytest
from dataset import DEFAULT, write

from rlrf4rec.datasets.clean import clean
from rlrf4rec.datasets.final_users import belonging, listed, part
from rlrf4rec.datasets.readers import read
from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.lists import folds
from rlrf4rec.params import load, recipes
from rlrf4rec.seeds import derive

ROOT = Path(__file__).parent.parent
SEED, ALL = 2026, 943  # of every committed default run; users of MovieLens-100K
COUNT, CATALOGUE = 60, 30
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"


def data(folder, users):
    """Users u0, u1 ... with six or more ratings of 1 to 5 each."""
    rated = [(u, (u * 7 + k * 3) % CATALOGUE, 1 + (u + k) % 5, 100 + k) for u in users for k in range(6 + u % 5)]
    inter = INTER + "".join(f"u{u}\t{i}\t{rating}\t{time}\n" for u, i, rating, time in rated)
    item = ITEM + "".join(f"{i}\tTitle {i}\t1990\tDrama\n" for i in range(CATALOGUE))
    return write(folder, {"x.inter": inter, "x.item": item})


def final(folder, seed=1, **changes):
    """Users that are laid apart, and those of the run."""
    p = DEFAULT.model_copy(update={"final_folds": 3, "final_fold": 1, "users": None, "min_interactions": 2, **changes})
    raw = clean(read(folder, p), p, seed)
    return set(raw.final["user"]), set(raw.users["user"])


def test_who_is_final_depends_neither_on_the_seed_nor_on_filters_nor_on_who_else_is_there(tmp_path):
    whole = data(tmp_path / "whole", range(COUNT))
    apart, others = final(whole)
    assert 10 < len(apart) < 30
    filters = {"min_rating": 4.0}, {"user_core": 8}, {"item_core": 14}, {"min_interactions": 9}, {"users": 12}
    asked = [final(whole, seed=2)] + [final(whole, **each) for each in filters]
    asked.append(final(data(tmp_path / "half", range(0, COUNT, 2))))
    for now, of_run in asked:
        assert now <= apart
        assert of_run <= others
    assert asked[0] == (apart, others)
    assert all(now for now, _ in asked)


def test_a_part_is_a_range_of_the_hash():
    """By hand: the first hexadecimal digit of SHA-256 says which of 16 parts it is, and so on of 4 and of 2."""
    for user in ("1", "u7", "A3SGXH7AUHU8GW"):
        digit = int(hashlib.sha256(f"rlrf4rec final users {user}".encode()).hexdigest()[0], 16)
        assert [part(user, parts) for parts in (16, 4, 2)] == [digit, digit // 4, digit // 8]
    counts = [sum(part(str(user), 4) == each for user in range(4000)) for each in range(4)]
    assert sum(counts) == 4000
    assert all(900 < count < 1100 for count in counts)


def test_a_list_decides_alone_and_is_refused_where_it_is_of_other_users(tmp_path):
    name = {"final_list": "ml-100k"}
    inter = data(tmp_path, range(COUNT))
    with pytest.raises(
        InputError, match=r"ml-100k.csv: none of its users is in the data set; set interactions.final_l"
    ):
        final(inter, **name)
    text = (inter / "x.inter").read_text().replace("\nu", "\n")
    (inter / "x.inter").write_text(text)
    apart, others = final(inter, **name)
    known = listed("ml-100k")
    assert apart == {str(u) for u in range(COUNT) if known.get(str(u)) == "final"}
    out = {str(u) for u in range(COUNT)} - apart - others
    assert out == {str(u) for u in range(COUNT) if known.get(str(u)) == "out"}
    assert out
    assert final(inter, **name, seed=3, final_fold=2, min_interactions=2) == (apart, others)
    assert final(inter, **name, final_folds=None)[0] == set()
    with pytest.raises(ParamsError, match=r"final_list: no list 'ml-200k'; there are ml-100k, or null"):
        final(inter, final_list="ml-200k")


def looked_at(everyone, of=None):
    """Users of a default run before the list, all or `of` drawn: evaluated ones, and those of re-rankers."""
    seed = derive(SEED, "interactions")
    names = sorted(everyone, key=lambda user: hashlib.sha256(f"{seed} {user}".encode()).digest())
    assigned = folds.assign(sorted(names[:of]), 4, 0, 0.1, "apart", 0.6, SEED)
    roles = dict(zip(assigned["user"], assigned["role"], strict=True))
    return {user for user, role in roles.items() if role == "none"}, {u for u, role in roles.items() if role == "rank"}


def test_the_list_of_movielens_100k_is_of_all_who_were_never_looked_at():
    """By the draws of all committed default runs (docs/method.md), of which none had another seed, filter or fold.

    By a trial of 400 users settings were chosen, too: whom it looked at of the others is out.
    """
    everyone = {str(number) for number in range(1, ALL + 1)}
    names, first = sorted(everyone), folds.in_order(ALL, 4, 3, SEED)
    former = {names[place] for place in first[ALL - folds.size(ALL, 4, 3) :]}  # the final ones of commit 2295652
    seen, chose_the_prompt = looked_at(everyone)
    seen |= chose_the_prompt | looked_at(everyone, 320)[0] | looked_at(everyone - former, 320)[0]
    known = listed("ml-100k")
    tried = looked_at(everyone, 400)[0]
    assert list(known) == sorted(everyone - seen, key=int)
    assert {user for user, of in known.items() if of == "out"} == tried & known.keys()
    users = {user for user, of in known.items() if of == "final"}
    assert users == known.keys() - tried
    assert len(users) > 270
    assert len(former & users) > 180


@pytest.mark.parametrize("path", ["metrics/per_user.csv", "studies/controls/metrics/per_user.csv"])
def test_no_committed_result_is_of_a_user_of_the_list(path):
    with (ROOT / path).open(newline="") as file:
        evaluated = {row["user"] for row in csv.DictReader(file)}
    assert len(evaluated) > 50
    assert not evaluated & set(listed("ml-100k"))


def test_no_recipe_reads_final_users(monkeypatch):
    """Whatever a recipe changes, the users of a data set that are final in the default run are so in the recipe's."""
    monkeypatch.chdir(ROOT)
    default = load().interactions
    users = pl.Series(list(listed("ml-100k")))
    for name in recipes.names():
        p = recipes.resolve(recipes.read(name), recipes.plain())[1]
        assert (p.interactions.final_folds, p.interactions.final_fold) == (default.final_folds, default.final_fold)
        own = p.dataset == "ml-1m" or p.fetch_dataset.source == "folder"
        assert p.interactions.final_list == (None if own else "ml-100k"), name
        assert ("run" in belonging(users, p.interactions)) == own
