"""More samples, more users and other prompts cost the stage `sample` only what is new, and it says how much that is."""

import re
import shutil

import polars as pl
import pytest
from test_whole_loop import TEMPLATES, metrics, write_models, write_params, write_shop

from rlrf4rec import paths
from rlrf4rec.cli import run_stage
from rlrf4rec.tables.texts import PROMPTS

BEFORE = "interactions", "split", "prompt"
KEY = ["user", "sample"]


class Shop:
    """A small data set and a small random LLM; params change by and by, as those of one who goes on with a run do."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.params = {
            "sample": {"n": 4, "batch_users": 8},
            "interactions": {"users": 30, "final_folds": None},
            "prompt": {"liked": 3, "disliked": 2, "template": "template.txt"},
        }
        write_models(folder / "source")
        write_shop(folder / "shop")
        shutil.copy(TEMPLATES / "movies.txt", folder / "template.txt")
        self.run({}, "fetch_dataset", "fetch_models", *BEFORE)

    def run(self, changes, *stages):
        """Run stages after these changes of the params."""
        for block, values in changes.items():
            self.params[block] |= values
        write_params(self.folder, self.params)
        for stage in stages:
            run_stage(stage, [])

    def sample(self, users="all"):
        """Texts, and how many its closing line says were sampled, kept, and drawn in other batches."""
        run_stage("sample", ["base", "base", users])
        line = [line for line in self.capsys.readouterr().out.splitlines() if line.startswith("sample base: ")][-1]
        sampled, kept = re.search(r", (\d+) sampled now, (\d+) kept from before[,;]", line).groups()
        others = metrics("sample", "base")["other_batches"]
        assert (f", {others} drawn in other batches than a fresh run's;" in line) == (others > 0)
        texts = pl.read_parquet(paths.texts("base"))
        assert metrics("sample", "base")["texts"] == texts.height
        return texts, (int(sampled), int(kept), others)

    def changed(self, *stages):
        """Users whose prompts these stages change."""
        before = PROMPTS.read(paths.PROMPTS).select("user", "prompt")
        self.run({}, *stages)
        return PROMPTS.read(paths.PROMPTS).join(before, on=["user", "prompt"], how="anti")["user"].to_list()


@pytest.fixture
def shop(tmp_path, monkeypatch, capsys):
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT")
    return Shop(tmp_path, capsys)


def holds(grown, former):
    """Whether every text of `former` is in `grown`, to the last bit."""
    return grown.join(former.select(KEY), on=KEY, how="semi", maintain_order="left").equals(former)


def test_growth_costs_what_is_new_and_says_so(shop):
    first, counts = shop.sample()
    assert counts == (120, 0, 0)
    again, counts = shop.sample()
    assert counts == (0, 120, 0)
    assert again.equals(first)

    shop.run({"sample": {"n": 8}})
    more, counts = shop.sample()
    assert counts == (120, 120, 240)  # a fresh run draws all eight of a prompt in one batch
    assert holds(more, first)

    shop.run({"interactions": {"users": 36}}, *BEFORE)
    users, counts = shop.sample()
    assert counts[:2] == (6 * 8, 30 * 8)
    assert holds(users, more)

    template = shop.folder / "template.txt"
    template.write_text(template.read_text().replace("version: 1", "version: 2").replace("item: Movie", "item: Film"))
    assert shop.changed("prompt") == []  # it changes no word of a prompt
    assert shop.sample()[1][:2] == (0, 36 * 8)

    shop.run({"prompt": {"max_tokens": int(PROMPTS.read(paths.PROMPTS)["tokens"].list.len().median())}})
    changed = shop.changed("prompt")
    assert 6 < len(changed) < 30
    prompts, counts = shop.sample()
    assert counts[:2] == (len(changed) * 8, (36 - len(changed)) * 8)
    assert holds(prompts, users.filter(~pl.col("user").is_in(changed)))
    assert not holds(prompts, users)

    shutil.rmtree(shop.folder / ".rlrf4rec")
    fresh, counts = shop.sample()
    assert counts == (36 * 8, 0, 0)
    assert fresh.drop("log_prob").equals(prompts.drop("log_prob"))  # in float32 the same words, other last bits


def test_a_text_is_of_a_fresh_run_where_its_batch_is(shop):
    """Users whose prompts are the longest come last: the batches before them stay those of a fresh run."""
    prompts = PROMPTS.read(paths.PROMPTS)
    longest = prompts["tokens"].list.len().arg_sort(descending=True)[:6].to_list()
    PROMPTS.write(prompts.with_row_index().filter(~pl.col("index").is_in(longest)).drop("index"), paths.PROMPTS)
    assert shop.sample()[1] == (24 * 4, 0, 0)
    PROMPTS.write(prompts, paths.PROMPTS)
    assert shop.sample()[1] == (6 * 4, 24 * 4, 0)


def test_a_user_of_two_sets_has_the_texts_of_a_fresh_run_in_each_whichever_was_drawn_first(shop):
    tuning, counts = shop.sample("tuning")
    assert counts == (tuning.height, 0, 0)
    evaluated, counts = shop.sample("evaluated")
    both = evaluated.join(tuning, on=KEY, how="semi")
    assert both.height > 0
    assert counts == (evaluated.height, 0, 0)
    shutil.rmtree(shop.folder / ".rlrf4rec")
    assert shop.sample("evaluated")[0].equals(evaluated)
    assert shop.sample("tuning")[0].equals(tuning)
