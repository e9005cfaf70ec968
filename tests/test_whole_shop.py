"""The `run` of every stage and of the study of arms, with its look at final users, on the log of a shop."""

import json
import random
import re
from pathlib import Path

import polars as pl
import pytest
from test_looks import git
from test_whole_loop import ITEMS, ROOT, USERS, metrics, place, run_loop, write_params

from rlrf4rec import paths
from rlrf4rec.cli import run_stage
from rlrf4rec.params import load, recipes
from rlrf4rec.tables.texts import PROMPTS
from studies import kept_weights_and_scores, run_arms, run_final_arms

__all__ = ["place"]
KINDS = "Tea > Green", "Tea > Black", "Cups", "Jam & Honey > Honey"
KIND = "|".join(KINDS)
GOOD = rf"Good \d+ \(({KIND}); price: \d+,50\)"


def write_orders(folder):
    """The log of a shop: times as text, prices, categories of two levels, goods bought again, no rating and no year."""
    rng = random.Random(0)
    of = {item: rng.choice(KINDS) for item in range(ITEMS)}
    goods = [f'00{item},Good {item},{of[item]},"{item + 1},50"' for item in range(ITEMS)]
    rows = []
    for user in range(USERS):
        liked = rng.sample(KINDS, 2)
        weights = [4 if of[item] in liked else 1 for item in range(ITEMS)]
        baskets = [rng.choices(range(ITEMS), weights, k=3) for _ in range(16)]
        for day, basket in enumerate(baskets):
            paid = f"2024-0{1 + day // 8}-{1 + day % 8:02}T12:{user:02}:00+01:00"
            rows += [f'{user}{day},k{user},00{item},{paid},"{item + 1},50"' for item in basket]
    folder.mkdir()
    (folder / "goods.csv").write_text("\n".join(["sku,name,category,price", *goods]) + "\n")
    for month in (1, 2):
        own = [row for row in rows if f",2024-0{month}-" in row]
        (folder / f"orders-{month}.csv").write_text("\n".join(["order_id,customer,sku,paid_at,price", *own]) + "\n")


ORDERS = {
    "user": "customer",
    "item": "sku",
    "rating": None,
    "timestamp": "paid_at",
    "title": "name",
    "year": None,
    "genres": "category",
    "texts": ["price"],
}


@pytest.mark.parametrize("place", [("qwen2", write_orders)], indirect=True)
def test_the_log_of_a_shop_goes_to_the_report_by_the_recipe_smoke_with_another_architecture(place, monkeypatch, capsys):
    """No years, no genres but categories, no ratings; `smoke` but for how many orders a customer has to have."""
    monkeypatch.setattr(recipes, "FOLDER", ROOT / "recipes")
    products = "src/rlrf4rec/templates/products.txt"
    known = load(ROOT / "params.yaml").arms.model_dump()["kinds"]
    kinds = "base", "base_labels", "tuned", "matched", "template_shown", "profile_shown", "template", "tuned_template"
    changes = {
        "interactions": {
            "format": "table",
            "columns": ORDERS,
            "files": {"interactions": "orders-*.csv", "items": "goods.csv"},
            "min_interactions": 20,
            "final_folds": 4,
            "final_list": None,
        },
        "split": {"positive_rating": 1.0, "protocol": "retrieved"},
        "knowledge": {"template": products},
        "prompt": {"template": products, "max_tokens": 1500},
        "arms": {"policies": [1], "protocols": ["retrieved"], "final": ["tuned", "matched"]},
        "match_policy": {"longest": 2, "users": 3, "floor": 0.0001},
    }
    changes["arms"]["kinds"] = {name: known[name] for name in kinds} | {"sft": {**known["tuned"], "text": "sft"}}
    write_params(place, changes, recipes.read("smoke"))
    run_loop()
    run_stage("report", [])
    assert json.loads((paths.LLM / "config.json").read_text())["model_type"] == "qwen2"
    counts, read = metrics("interactions"), USERS * 48
    said = ("interactions_read", "interactions_without_rating", "timestamps_as_text", "items_without_year")
    assert [counts[name] for name in said] == [read, read, read, ITEMS]
    of_final = counts["interactions_of_final_users"]
    assert counts["interactions"] + of_final + counts["interactions_rated_again"] == read
    items = pl.read_parquet(paths.ITEMS)
    assert set(items["genres"]) == set(KINDS)
    assert {"000", "0059"} < set(items["item"])
    for row in PROMPTS.read(paths.PROMPTS).iter_rows(named=True):
        examples, own = (part["text"] for part in row["parts"])
        assert re.fullmatch(rf"\s*Disliked: -\nLiked: {GOOD}; {GOOD}\nTaste:", own)
        assert "Trail Running Shoes (Sports, Running, Shoes)" in examples
    profiles = pl.read_parquet(paths.texts("template"))["text"]
    assert all(re.fullmatch(rf"likes ({KIND})(, ({KIND}))* products", text, re.IGNORECASE) for text in profiles)
    assert metrics("pair", "round1")["pairs"] == 6
    page = re.sub(r"<[^>]+>", " ", Path("data/report/index.html").read_text())
    for name in said:
        assert re.search(rf"{name}\s+{counts[name]:,}\s".replace(",", "."), page)
    assert counts["read"]["orders-2.csv"] in page
    assert re.search(r"Good \d+", page)
    run_arms()
    kept, again = kept_weights_and_scores("tuned_template", "1", "retrieved")
    assert kept.keys() == again.keys()
    assert [key for key, values in kept.items() if not values.equal(again[key])] == []
    git("init", "-q")
    git("add", "params.yaml", "src")
    git("commit", "-qm", "the run and its arms")
    monkeypatch.setattr("rlrf4rec.progress.EVERY", 0.0)
    run_final_arms()
    scored = len(load().arms.final_kinds())
    assert f"final_arm 1, lists of all final users by kind: {scored} of {scored}, " in capsys.readouterr().err
    found, told = metrics("final_arms"), json.loads(paths.ARMS.read_text())["retrieved"]
    assert set(found["kinds"]) == set(told["kinds"]) - {"template_shown", "profile_shown", "sft"}
    compared = {name for name in told["differences"] if set(name.split(" - ")) <= set(found["kinds"])}
    assert set(found["differences"]) == compared
    assert (found["look"], found["protocol"], found["moved"]["tuned-1"]) == (1, "retrieved", told["moved"]["tuned-1"])
