"""The report: sentences and pictures from numbers, and the whole page of a small made-up run."""

import re

import polars as pl
import pytest
from made_up_run import BACKBONES, HOSTILE, REACHED, benchmarked, effect, evaluated, run_stage, write_json, write_run

from rlrf4rec import paths
from rlrf4rec.errors import RLRFError
from rlrf4rec.files import contents, dvc_hash
from rlrf4rec.report import costs, learning, numbers, orders, page, people, provenance, results
from rlrf4rec.report.blocks import Note, Section, TableBlock
from rlrf4rec.stages import report


@pytest.fixture
def small_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    return tmp_path


def words(html):
    """Text of the page without its style and its marks."""
    bare = re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", " ", html, flags=re.DOTALL))
    return hyphens(re.sub(r"\s+", " ", bare))


def hyphens(text):
    return text.replace(numbers.MINUS, "-").replace(numbers.DASH, "-")


# Sentences


@pytest.mark.parametrize(
    ("chosen", "rejected", "says"),
    [
        (-2.0, -4.0, "Both fall, rejected further than chosen, by 2.00 nats"),
        (-4.0, -2.0, "Both fall, chosen further than rejected"),
        (1.0, -1.0, "Only rejected texts fall, by"),
        (-1.0, 1.0, "Only chosen texts fall, by"),
        (1.0, 0.0, "Neither falls, by"),
    ],
)
def test_dpo_curves_are_read_in_words(chosen, rejected, says):
    frame = pl.DataFrame(
        {
            "step": [0, 1, 2],
            "chosen": [99.0, chosen, chosen],
            "rejected": [99.0, rejected, rejected],
            "margin": [99.0, 0.25, 0.25],
            "accuracy": [0.0, 0.5, 1.0],
        }
    )
    read = learning.read_curves(frame)
    assert says in read
    assert "the margin is +0.250, and 75 % of the pairs" in read


def test_users_are_counted_over_backbones_and_seeds():
    rows = [("prm", "base", "a", 0.5, 0.5), ("prm", "round1", "a", 0.4, 0.8)]
    rows += [("dlcm", k, "a", 0.5, 0.5) for k in ("base", "round1")]
    rows += [("prm", k, "b", 0.5, 0.5) for k in ("base", "round1")]
    frame = pl.DataFrame(
        [
            {"metric": "ndcg@5", "backbone": b, "knowledge": k, "user": u, "seed0": x, "seed1": y}
            for b, k, u, x, y in rows
        ]
    )
    section = results.headline(evaluated(), frame, "round1", "personal")
    assert any("Of 2 development users, 1 have a higher" in b.text for b in section.blocks if isinstance(b, Note))


def test_headline_without_the_tuned_variant_says_so():
    found = evaluated() | {"family": {}, "differences": {}}
    section = results.headline(found, pl.DataFrame(), "round1", "personal")
    assert any("End to end: round1 was not compared with base" in b.text for b in section.blocks if isinstance(b, Note))


def test_both_headline_numbers_stand_in_the_first_section_with_their_effect_sizes():
    frame = pl.DataFrame(schema=dict.fromkeys(("metric", "knowledge", "user"), pl.String) | {"seed0": pl.Float64})
    section = results.headline(evaluated(), frame, "round1", "personal")
    verdicts = [b for b in section.blocks if isinstance(b, Note) and b.tone != "plain"]
    assert [v.text.split(" (")[0] for v in verdicts] == ["Under frozen re-rankers", "End to end", "Beyond the profile"]
    tables = [b for b in section.blocks if isinstance(b, TableBlock)]
    first, second = (hyphens(" | ".join(tables[table].rows[row])) for table, row in ((0, 0), (2, 1)))
    assert "that judge" in tables[0].caption
    assert "that labelled the pairs" in tables[1].caption
    assert hyphens(tables[2].rows[0][0]) == "reward gain of round1"
    assert first == "round1 minus base: NDCG | -0.0010 | [-0.0038, +0.0018] | 0.400 | - | 0.0040 | 235 | 1"
    assert second.startswith("round1 minus base | +0.0030 | [-0.0020, +0.0080] | 0.400 | 0.900 | 0.0072 | 235 | 5 | ")
    assert second.endswith(" | +0.0015 [-0.0030, +0.0090]")  # by list


def test_the_reward_gain_is_adjusted_with_the_other_claims():
    found, name = evaluated(), "reward gain of round1"
    found["reward_gain"]["round1"]["development"]["ndcg"] = effect(0.01, 0.004)
    found["family"][name] = effect(0.01, 0.004, p_holm=0.12)
    frame = pl.DataFrame(schema=dict.fromkeys(("metric", "knowledge", "user"), pl.String) | {"seed0": pl.Float64})
    verdict = results.headline(found, frame, "round1", "personal").blocks[1]
    assert "Holm's correction" in verdict.text
    assert verdict.tone == "null"


def test_re_rankers_that_are_not_trained_out_are_named():
    found = evaluated()
    found["trained_out"]["prm-base"]["trained_out"] = False
    notes = [b.text for b in results.variants(found).blocks if isinstance(b, Note)]
    assert "Not trained out, so their rows may change with more epochs: prm-base." in notes


def test_the_study_fills_the_protocols():
    assert "make study" in results.protocols(evaluated(), None).blocks[0].text
    study = {"uniform": evaluated() | {"development_lists": 3100}, "retrieved": evaluated() | {"orders": {}}}
    section = results.protocols(evaluated(), study)
    reached = section.blocks[1]
    assert reached.columns[1:] == ("this run (popularity)", "uniform", "retrieved")
    assert dict(zip(reached.columns, reached.rows[1], strict=True))["uniform"] == "3\u202f100"
    assert reached.rows[2] == ("constant", "0.5480", "0.5480", "0.5480")  # 0.545, 0.548 and 0.551 by backbone
    assert any(row[0] == "base, KAR's MAP@5" for row in reached.rows)
    assert ("no re-ranker: order by popularity", "0.2900", "0.2900", numbers.DASH) in reached.rows
    assert len(section.blocks[2].figures) == 2
    assert len(section.blocks[3].rows) == 6


def test_orders_without_a_re_ranker_stand_below_what_re_rankers_reached():
    found = evaluated()
    captions = [b.caption for b in results.variants(found).blocks if isinstance(b, TableBlock)]
    at = captions.index("What every re-ranker reached on the development users")
    assert (
        captions[at + 1]
        == "What orders without a re-ranker reach on the development users: a scale for the table above"
    )
    (table,) = orders.table(found)
    assert [row[1] for row in table.rows] == ["0.3100", "0.2900", "0.8700", "1.0000"]
    assert table.rows[2][0] == "what the user rated before what they didn't, else random"
    del found["orders"]
    assert orders.table(found) == []


def test_variants_are_compared_with_base_profile_and_none():
    section = results.variants(evaluated())
    figures = section.blocks[0].figures
    assert [f.caption.split(" (")[0] for f in figures] == [f"NDCG@5, variant minus {r}" for r in ("base", "template")]
    tables = {t.caption: t for t in section.blocks if isinstance(t, TableBlock)}
    pooled = tables["NDCG@5 of variants minus base (the untuned LLM's texts), pooled over backbones"]
    holm = {row[0]: row[4] for row in pooled.rows}
    assert holm["round1"] == "0.900"
    assert holm["template"] == numbers.DASH
    single = tables["NDCG@5 of variants minus constant (nothing about the user), by backbone"]
    assert single.columns == ("variant", *BACKBONES)
    assert len(single.rows) == len(REACHED) - 1


# The page


def test_everything_on_the_page_is_escaped():
    blocks = (Note(HOSTILE), TableBlock(HOSTILE, (HOSTILE,), ((HOSTILE,),)))
    html = page.render(HOSTILE, [Section("s", HOSTILE, blocks)])
    assert "<script" not in html
    assert "<img" not in html
    places = ("title", "h1", "link", "h2", "note", "label of the table", "caption", "column", "cell")
    assert html.count("&lt;script&gt;") == len(places)


def test_the_page_of_a_run(small_run):
    closing = run_stage()
    assert closing == "wrote data/report/index.html, 11 sections from 20 files"
    html = (small_run / "data/report/index.html").read_text()
    for heading in (
        "Headline, development users",
        "Final users",
        "Variants",
        "Protocols side by side",
        "10 validation users",
        "Where these numbers come from",
    ):
        assert re.search(rf"<h2[^>]*>{heading}</h2>", html)
    assert "<script" not in html
    assert not re.search(r"""(src|href)=["'](?!#|data:,|../../metrics/cost/index.html")""", html)
    assert "url(" not in html
    assert len(re.findall(r'<svg class="plot" role="img"[^>]*aria-labelledby', html)) == len(
        re.findall('<svg class="plot"', html)
    )
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:aria-labelledby|href)="#?([^"]+)"', html):
        assert set(used.split()) <= {*ids, "data:,", costs.RUN.path}
    assert html.count("<table>") == html.count("<caption>")
    said = words(html)
    assert "sample/base, sample/round1 bfloat16 on amx_bf16, 2 threads" in said
    assert re.search(r"evaluate(, [\w/]+)* float32 on avx2, 2 threads", said)


def test_users_of_the_page(small_run):
    run_stage()
    text = words((small_run / "data/report/index.html").read_text())
    assert "best, reward +0.3000 likes base comedies of the 1980s; not text 1 of 2" in text
    assert "worst, reward -0.2000 likes base comedies of the 1980s; not text 2 of 2" in text
    assert "by round1 likes round1 comedies of the 1980s; not text 0 of 2" in text
    assert "best and worst differ by 0.5000" in text
    assert "Liked items stand at 4, 8 with base and at 3, 7 with round1 texts." in text
    assert "User 11" not in text
    assert re.search(r"235 development users, 2.900 candidate lists, protocol popularity, fold \d of \d;", text)


def test_a_look_at_final_users_is_shown_with_its_number(small_run):
    run_stage()
    text = words((small_run / "data/report/index.html").read_text())
    assert "No final look was made" in text
    found = evaluated() | {"final_users": 160, "final_lists": 1900, "look": 2, "commit": "abcdef0123"}
    found["reward_gain"] = {"round1": {"final": {"ndcg": effect(0.02, 0.004)}}}
    found["reward_gain_labellers"] = {}
    found["family"]["round1 - base"] = effect(0.01, 0.004, p=0.02, p_holm=0.08)
    write_json(paths.metrics("final"), found)
    (small_run / paths.FINAL_HEADLINE).write_text(
        "metric,backbone,knowledge,user,seed0\nndcg@5,dlcm,base,u,0.1\nndcg@5,dlcm,round1,u,0.2\n"
    )
    run_stage()
    text = words((small_run / "data/report/index.html").read_text())
    assert "Look 2 at final users, of commit abcdef0, by this run: they are kept apart" in text
    assert "Every p here is multiplied by 2 times 3, which bounds the error over all looks" in text
    assert re.search(r"160 final users, 1.900 candidate lists, protocol popularity, outside of all folds;", text)
    assert "Of 1 final users, 1 have a higher NDCG@5 end to end with round1 than with base" in text
    assert "correction (p = 0.080)" in text
    assert "No final look was made" not in text


def test_a_look_at_the_arms_is_shown_with_its_answers_and_its_number(small_run):
    differences = {"tuned - base": {"ndcg@5": effect(0.01, 0.005, policies=3)}}
    found = {"protocol": "popularity", "level": 0.025, "look": 3, "commit": "abcdef0123", "differences": differences}
    found |= {"family": {"tuned - base": effect(0.01, 0.005, p=0.12, p_holm=0.24, policies=3)}, "shown": False}
    found |= {"lacks": {"shown": ["not above base: +0.0100 [0.0050, 0.0150]"]}, "kinds": {"base": {}, "tuned": {}}}
    write_json(paths.metrics("final_arms"), found)
    run_stage()
    page = (small_run / "data/report/index.html").read_text()
    text = words(page)
    assert "Look 3 at final users, of commit abcdef0, by the study of arms: they are kept apart" in text
    assert "Every p here is multiplied by 3 times 4" in text
    assert "All claims of an answer have to hold, each at 2.5 %;" in text
    assert "settings were chosen on these users" not in text
    assert "final users, popularity: the feedback is not shown (not above base: +0.0100 [0.0050, 0.0150])." in text
    assert "NDCG@5, final users, popularity: arms against each other; 3 policies each" in text
    assert 'id="arms-final-users-popularity-title"' in page
    assert "No final look was made" not in text


def test_two_runs_give_the_same_bytes(small_run):
    run_stage()
    first = (small_run / "data/report/index.html").read_bytes()
    run_stage()
    assert (small_run / "data/report/index.html").read_bytes() == first


def test_optional_metrics_are_shown_when_they_are_there(small_run):
    run_stage()
    text = words((small_run / "data/report/index.html").read_text())
    assert "make study" in text
    assert "metrics/watch.json is not there" in text
    assert "metrics/probe.json is not there" in text
    assert "make bench` does" in text
    write_json(paths.metrics("watch"), {"base": {"distinct_2": 0.41}, "round1": {"distinct_2": 0.39}})
    lines = ["policy,measure,users,difference,low,high", "round1,distinct_2,9,-0.02,-0.03,-0.01"]
    paths.plot("watch", "changes").write_text("\n".join(lines))
    points = [{"pairs": n, "gain": 0.001 * n, "low": -0.01, "high": 0.3} for n in (45, 90, 180)]
    write_json(paths.metrics("learning_curve", "round1"), {"users": 40, "reward": "personal", "points": points})
    write_json(paths.metrics("probe"), {"titles": {"completed": 0.02, "chance": 0.01}})
    write_json(paths.CONTROLS, {"uniform": evaluated()})
    write_json(paths.metrics("bench"), benchmarked())
    run_stage()
    text = words((small_run / "data/report/index.html").read_text())
    assert "distinct 2 0.41 0.39" in text
    assert "distinct 2 round1 -0.0200 [-0.0300, -0.0100] 9" in text
    assert "45 pairs +0.0450, 90 pairs +0.0900, 180 pairs +0.1800." in text
    assert "titles: completed 0.02" in text
    assert "reaches 200 GFLOP in a CPU-second here; sampling reaches 37% of that." in text
    assert "plain generate of transformers 1.5 7.5 [7.1, 7.9] 2768 1258" in text
    assert "users 4, 8, 16, 32 1, 2, 4, 8 1.00" in text
    assert "users go through the stage interactions in 31 s with at most 4.0 GiB of memory." in text
    assert "After it they go through the stage split in 89 s with at most 5.5 GiB of memory: 1 900 000 lists." in text
    assert "interactions go through the stage split in 99 s with at most 5.0 GiB of memory; SASRec learns" in text
    assert "make study" not in text


@pytest.mark.parametrize(("of_study", "older"), [("the same", False), ("other", True)])
def test_a_study_of_other_users_is_called_older(small_run, of_study, older):
    write_json(paths.CONTROLS, {"uniform": evaluated()})
    paths.FOLD_USERS.write_bytes(b"users of this run")
    md5 = dvc_hash(contents(paths.FOLD_USERS.parent)) if of_study == "the same" else f"{'0' * 32}.dir"
    lock = f"    - path: data/split/people\n      hash: md5\n      md5: {md5}\n      size: 3\n"
    report.LOCKS["controls"].write_text(f"stages:\n  protocol:\n    deps:\n{lock}")
    run_stage()
    text = words((small_run / "data/report/index.html").read_text())
    assert ("The study is older than this run and is of other users" in text) == older


@pytest.mark.parametrize(
    "path", ["metrics/evaluate.json", "metrics/per_user.csv", "data/evaluate/examples.parquet", "metrics/split.json"]
)
def test_a_missing_input_is_named(small_run, path):
    (small_run / path).unlink()
    with pytest.raises(RLRFError, match=re.escape(path) + ".*missing"):
        run_stage()
    assert not (small_run / "data/report").exists()


def test_a_csv_without_its_column_is_named(small_run):
    (small_run / "metrics/plots/train_dpo/round1.csv").write_text("step,loss\n0,1\n")
    with pytest.raises(RLRFError, match=r"train_dpo/round1.csv: column margin is missing"):
        run_stage()


def test_a_search_without_trials_leaves_its_picture_out(small_run):
    (small_run / "metrics/plots/tune_dpo/trials.csv").write_text("\n")
    run_stage()
    assert "Search of DPO" not in (small_run / "data/report/index.html").read_text()


def test_no_user_outside_validation_is_shown(small_run):
    path = small_run / "data/evaluate/examples.parquet"
    frame = pl.read_parquet(path).with_columns(pl.col("user").replace("3", "12"))
    frame.write_parquet(path)
    with pytest.raises(RLRFError, match="'12' is no validation user"):
        run_stage()


def test_titles_carry_their_year_where_it_is_known():
    items = pl.DataFrame({"item": ["1", "2"], "title": ["Fargo", "Unknown"], "year": [1996, None]})
    assert people.titles(items) == {"1": "Fargo (1996)", "2": "Unknown"}


def test_hashes_are_those_of_dvc(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert provenance.md5(tmp_path / "a") == "900150983cd24fb0d6963f7d28e17f72"
