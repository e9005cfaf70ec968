"""A shop's own columns of its goods, prices and brands: from the file to the prompt and to the encoder's text."""

import json
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from dataset import columns, files, tables, write
from ruamel.yaml import YAML
from tokenizers import AddedToken

from rlrf4rec import paths, show
from rlrf4rec.cli import main
from rlrf4rec.errors import InputError, ParamsError
from rlrf4rec.params import load
from rlrf4rec.prompting import domain, template
from rlrf4rec.prompting.domain import Domain
from rlrf4rec.prompting.plain import plain
from rlrf4rec.stages import interactions, knowledge, prompt
from rlrf4rec.tables.contract import ContractError
from rlrf4rec.tables.interactions import ITEMS, TEXTS
from rlrf4rec.tables.split import FOLD_USERS, HISTORY

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "src" / "rlrf4rec" / "templates"
GOODS = """sku,name,kind,price,brand,about
1,Green Tea,Tea|Leaf,"4,50",Acme,mild
2,Cup,,12,,
3,Pot,Ware,,Stone <e>,"round
and large"
"""
ORDERS = "who,sku,at\n" + "".join(f"k{user},{item},{100 + item}\n" for user in (1, 2) for item in (1, 2, 3))
OF_SHOP = {"user": "who", "item": "sku", "rating": None, "timestamp": "at", "title": "name", "year": None}
NAMES = columns(**OF_SHOP, genres="kind", texts=["price", "brand"])


def told(*values):
    return [{"name": name, "value": value} for name, value in zip(("price", "brand"), values, strict=True)]


def mapped(**changes):
    return {
        "format": "table",
        "columns": NAMES,
        "files": files(interactions="orders.csv", items="goods.csv"),
        **changes,
    }


def test_columns_of_goods_are_kept_by_name_and_what_they_lack_is_counted(tmp_path):
    write(tmp_path, {"orders.csv": ORDERS, "goods.csv": GOODS.replace("Acme", "Ac\u0007me ")})
    raw = tables(tmp_path, **mapped())
    assert raw.items["texts"].to_list() == [told("4,50", "Ac me"), told("12", None), told(None, "Stone <e>")]
    assert (raw.counts["items_without_text_price"], raw.counts["items_without_text_brand"]) == (1, 1)
    assert raw.counts["texts_with_control_characters"] == 1
    ITEMS.check(raw.items, tmp_path)
    assert tables(tmp_path, **mapped(columns=columns(**OF_SHOP, genres="kind"))).items.columns == [
        *("item", "title", "year", "genres")
    ]


def test_atomic_files_have_texts_too(tmp_path):
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t1\t5\t1\nu\t2\t5\t2\n"
    item = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tprice:float\n"
    write(tmp_path, {"x.inter": inter, "x.item": item + "1\tTea\t\tLeaf\t4.5\n2\tCup\t\tWare\t\n"})
    raw = tables(tmp_path, columns=columns(texts=["price"]))
    assert raw.items["texts"].to_list() == [[{"name": "price", "value": "4.5"}], [{"name": "price", "value": None}]]


def test_nested_parquet_shows_numbers_lists_and_dates_as_they_are_read(tmp_path):
    goods = {
        "sku": ["1", "2"],
        "name": ["Tea", "Cup"],
        "kind": [["Leaf"], []],
        "price": [4.5, float("nan")],
        "more": [{"brand": "Acme", "tags": ["a|b", "c"]}, {"brand": None, "tags": []}],
        "since": ["2024-05-01", None],
    }
    frame = pl.DataFrame(goods).with_columns(pl.col("since").str.to_date())
    frame.write_parquet(tmp_path / "goods.parquet")
    write(tmp_path, {"orders.csv": ORDERS})
    wanted = ["price", "more.brand", "more.tags", "since"]
    own = mapped(
        columns=NAMES.model_copy(update={"texts": wanted}),
        files=files(interactions="orders.csv", items="goods.parquet"),
    )
    first, second = tables(tmp_path, **own).items["texts"].to_list()
    assert [(text["name"], text["value"]) for text in first] == [
        *(("price", "4.5"), ("brand", "Acme"), ("tags", "a|b, c"), ("since", "2024-05-01"))
    ]
    assert [text["value"] for text in second] == [None] * 4
    whole = {**own, "columns": NAMES.model_copy(update={"texts": ["more"]})}
    with pytest.raises(InputError, match=r"column 'more' has parts; .*texts must name them: more.brand, more.tags"):
        tables(tmp_path, **whole)
    wrong = {**own, "columns": NAMES.model_copy(update={"texts": ["more.brnd"]})}
    with pytest.raises(InputError, match=r"has no part 'brnd' \(more.brnd\), the nearest is 'brand'"):
        tables(tmp_path, **wrong)


def test_a_column_that_the_file_lacks_is_refused_with_the_nearest(tmp_path):
    write(tmp_path, {"orders.csv": ORDERS, "goods.csv": GOODS})
    wrong = mapped(columns=NAMES.model_copy(update={"texts": ["prise", "brand"]}))
    with pytest.raises(
        InputError, match=r"goods.csv: no column 'prise', the nearest is 'price'; its columns are sku, "
    ):
        tables(tmp_path, **wrong)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("[title]", "texts has 'title', which templates would call {title}"),
        ("['a[b']", "a name has none of []{}!:"),
        ("[x.price, price]", "several columns that templates would call {price}"),
        ("price", "interactions.columns.texts: 'price' is not allowed; it takes a list of text"),
        ("['']", "interactions.columns.texts"),
    ],
)
def test_names_that_templates_can_not_have_are_refused(tmp_path, listed, words):
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("texts: []", f"texts: {listed}"))
    with pytest.raises(ParamsError) as error:
        load(tmp_path / "params.yaml")
    assert words in str(error.value)


def test_texts_are_of_formats_whose_columns_are_mapped(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("texts: []", "texts: [price]")
    (tmp_path / "params.yaml").write_text(text.replace("format: atomic", "format: ml-csv"))
    with pytest.raises(ParamsError, match=r"columns.texts is of formats atomic and table; with ml-csv set it to \[\]"):
        load(tmp_path / "params.yaml")


ALL = told("4,50", "Acme")


@pytest.mark.parametrize(
    ("year", "kinds", "own", "shown", "described"),
    [
        (
            1990,
            "Tea|Leaf",
            ALL,
            "(1990; Tea, Leaf; price: 4,50, brand: Acme)",
            " (1990). Tea, Leaf. price: 4,50, brand: Acme",
        ),
        (None, "Tea", ALL, "(Tea; price: 4,50, brand: Acme)", ". Tea. price: 4,50, brand: Acme"),
        (1990, "", ALL, "(1990; price: 4,50, brand: Acme)", " (1990). price: 4,50, brand: Acme"),
        (None, "", ALL, "(price: 4,50, brand: Acme)", ". price: 4,50, brand: Acme"),
        (None, "Tea", told(None, "Acme"), "(Tea; brand: Acme)", ". Tea. brand: Acme"),
        (None, "Tea", told(None, None), "(Tea)", ". Tea"),
        (None, "", told(None, None), "", ""),
        (None, "", None, "", ""),
        (1990, "", None, "(1990)", " (1990)"),
    ],
)
@pytest.mark.parametrize("name", ["products", "generic"])
def test_products_show_texts_as_a_list_with_nothing_left_over(name, year, kinds, own, shown, described):
    words = domain.read(FOLDER / f"{name}.txt", "prompt.template", ["price", "brand"]).domain
    assert words.rated("Pot", year, kinds, own) == f"Pot {shown}".strip()
    assert words.described("Pot", year, kinds, own) == f"Pot{described}"


def test_a_template_may_name_one_text_and_one_that_names_none_shows_none():
    words = Domain("goods", rating="{title} by {brand}, {price} ({genres})", description="{title}: {price}. {brand}")
    assert words.rated("Pot", None, "Ware", told("4", "Acme")) == "Pot by Acme, 4 (Ware)"
    assert words.described("Pot", None, "", told(None, "Acme")) == "Pot: Acme"
    assert words.described("Pot", None, "", told("4", None)) == "Pot: 4"
    assert Domain("goods").rated("Pot", None, "Ware", ALL) == "Pot (Ware)"
    assert template.read(FOLDER / "movies.txt", texts=["price"]).domain.described("Pot", None, "", ALL) == "Pot"


def test_a_template_that_names_what_is_not_mapped_is_refused_by_name(tmp_path):
    path = tmp_path / "own.txt"
    text = (FOLDER / "products.txt").read_text().replace("{genres}; {texts})", "{genres}; {prise})")
    path.write_text(text)
    named = r"own.txt: line 5: .* and the names of interactions.columns.texts \(price, brand\)"
    with pytest.raises(ParamsError, match=rf"{named}; \{{prise\}} is none of these, the nearest is \{{price\}}"):
        template.read(path, texts=["price", "brand"])
    with pytest.raises(ParamsError, match=r"interactions.columns.texts \(none\); \{prise\} is none of these"):
        template.read(path)


def test_a_text_that_holds_a_control_token_is_made_plain():
    items = pl.DataFrame(
        {"title": ["a", "b"], "genres": ["", ""], "texts": [told("1<e>", None), told(None, "x")]},
        schema_overrides={"texts": TEXTS},
    )
    mended, count = plain(items, ["<e>"])
    assert (mended["texts"].to_list(), count) == ([told("1< e>", None), told(None, "x")], 1)


@pytest.mark.parametrize(
    "wrong",
    [
        pl.lit(None, TEXTS),
        pl.when(pl.col("item") == "1").then("texts").otherwise(pl.col("texts").list.reverse()),
        pl.when(pl.col("item") == "1").then("texts").otherwise(pl.col("texts").list.head(1)),
        pl.lit(pl.Series([told("", "x")], dtype=TEXTS)).first(),
        pl.lit("text"),
    ],
)
def test_a_table_whose_items_have_other_texts_breaks_its_contract(wrong):
    frame = pl.DataFrame(
        {
            "item": ["1", "2"],
            "title": ["a", "b"],
            "year": [None, 1990],
            "genres": ["", ""],
            "texts": [ALL, told("2", "y")],
        },
        schema_overrides={"texts": TEXTS, "year": pl.Int64},
    )
    assert ITEMS.check(frame, Path("x")).height == 2
    with pytest.raises(ContractError, match="column texts"):
        ITEMS.check(frame.with_columns(wrong.alias("texts")), Path("x"))


class Letters:
    """A token a letter; `<e>` ends a text."""

    chat_template = None
    added_tokens_decoder = {1: AddedToken("<e>", special=True)}

    def encode(self, text):
        return [*map(ord, text)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the shop read by the stages up to `prompt`, by the template of products."""
    monkeypatch.chdir(tmp_path)
    for module in (show, prompt):
        monkeypatch.setattr(module, "load_tokenizer", lambda *_: Letters())
    write(paths.RAW, {"orders.csv": ORDERS, "goods.csv": GOODS})
    params = YAML().load((ROOT / "params.yaml").read_text())
    params["interactions"].update(
        {
            "format": "table",
            "columns": NAMES.model_dump(),
            "min_interactions": 2,
            "final_folds": None,
            "users": None,
            "files": {"interactions": "orders.csv", "items": "goods.csv"},
        }
    )
    for block in ("prompt", "knowledge"):
        params[block]["template"] = "products.txt"
    params["prompt"]["max_tokens"] = 4000
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    shutil.copy(FOLDER / "products.txt", tmp_path)
    p = load()
    interactions.run(p.seed, p.interactions)
    users = ["k1", "k2"]
    fold = {"fold": ["train", "development"], "role": ["rank", "none"], "half": ["-", "-"]}
    FOLD_USERS.write(pl.DataFrame({"user": users, **fold}), paths.FOLD_USERS)
    rows = [(user, i, str(i + 1), 1.0, i) for user in users for i in range(3)]
    HISTORY.write(pl.DataFrame(rows, ["user", "position", "item", "rating", "timestamp"], orient="row"), paths.HISTORY)
    return p


SHOWN = "Green Tea (Tea, Leaf; price: 4,50, brand: Acme); Cup (price: 12); Pot (Ware; brand: Stone < e>)"


def test_prices_and_brands_reach_the_prompt_the_description_and_show_prompt(place, monkeypatch, capsys):
    told_by = json.loads(paths.metrics("interactions").read_text())
    assert (told_by["items_without_text_price"], told_by["items_without_text_brand"]) == (1, 1)
    prompt.run(place.prompt, place.llm)
    knowledge.run(place.seed, place.knowledge, place.llm)
    described = pl.read_parquet(paths.texts("items"))["text"].to_list()
    assert described == [
        "Green Tea. Tea, Leaf. price: 4,50, brand: Acme",
        "Cup. price: 12",
        "Pot. Ware. brand: Stone <e>",
    ]
    monkeypatch.setattr(sys, "argv", ["rlrf4rec", "show-prompt", "k1"])
    assert main() == 0
    shown = capsys.readouterr()
    assert shown.out.endswith(f"\n\nDisliked: -\nLiked: {SHOWN}\nTaste:\n")
    assert "have changed since" not in shown.err


def test_a_stage_refuses_a_template_that_names_what_is_not_mapped(place):
    prompt.run(place.prompt, place.llm)
    path = Path("products.txt")
    path.write_text(path.read_text().replace("{texts}", "{about}"))
    for call in (
        lambda: prompt.run(place.prompt, place.llm),
        lambda: knowledge.run(place.seed, place.knowledge, place.llm),
        lambda: show.look_up("k1", place),
    ):
        with pytest.raises(ParamsError, match=r"products.txt: line 5: .*\(price, brand\); \{about\} is none of these"):
            call()
