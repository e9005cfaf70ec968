import random

import polars as pl
import pytest
import torch

from rlrf4rec.errors import RLRFError
from rlrf4rec.params import Probe
from rlrf4rec.probing import questions
from rlrf4rec.probing.memory import Cut, begins_with, greedy, halves, log_probs, raw_lines, share
from rlrf4rec.prompting.domain import Domain

PROBE = Probe(items=6, years=3, lines=6, context=2, batch=4, dtype="float32")


class Letters:
    """A tokenizer of single ASCII characters; token 2 ends a text."""

    def encode(self, text, add_special_tokens=True):
        return [min(ord(c), 127) for c in text]

    def decode(self, tokens, skip_special_tokens=True):
        return "".join(chr(t) for t in tokens if t > 8)


@pytest.fixture
def model(llama):
    return llama(vocabulary=128)


def learn(model, texts, steps=600):
    """Overfit the model to some texts; the rate falls to 0, so that it ends well in whatever arithmetic."""
    rows = [torch.tensor([Letters().encode(t)]) for t in texts]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for step in range(steps):
        loss = model(rows[step % len(rows)], labels=rows[step % len(rows)]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def test_a_title_is_cut_after_half_of_its_words():
    assert halves("Ed's Next Move (1996; Comedy)", "Ed's Next Move") == Cut("Ed's Next", " Move")
    assert halves("Heat (1995)", "Heat") is None
    assert halves("Other (1995)", "Some Title") is None


def test_a_completion_must_end_where_the_answer_ends():
    assert begins_with(" Suspects (1995", " Suspects")
    assert begins_with("242\t3", "242")
    assert not begins_with("2425\t3", "242")
    assert not begins_with("Suspect", "Suspects")
    assert share([True, False, False, True]) == 0.5
    assert share([]) == 0.0


def test_greedy_takes_the_likeliest_token_whatever_the_batch(model):
    prompts = ["abc", "a longer one", "x"]
    together = greedy(model, Letters(), prompts, 5, 3)
    assert together == greedy(model, Letters(), prompts, 5, 1)
    tokens = Letters().encode("abc")
    with torch.no_grad():
        for _ in range(5):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
            if tokens[-1] == 2:
                break
    assert together[0] == Letters().decode(tokens[3:])


def test_log_probs_are_those_of_the_ending_alone(model):
    cuts = [Cut("The Usual", " Suspects"), Cut("H", "eat")]
    found = log_probs(model, Letters(), cuts, 2)
    for cut, (value, count) in zip(cuts, found, strict=True):
        ids = torch.tensor([Letters().encode(cut.begin + cut.end)])
        with torch.no_grad():
            each = torch.log_softmax(model(ids).logits[0, :-1], -1).gather(1, ids[0, 1:, None])[:, 0]
        assert count == len(cut.end)
        assert value == pytest.approx(float(each[-count:].sum()), abs=1e-3)


def asker(model):
    return questions.Asker(model, Letters(), PROBE, Domain("films", item="Movie"))


def items():
    words = ["Red Moon", "Blue Sun", "Old River", "New Road", "Big Tree", "Sad Fox", "Hot Ice", "Wet Sand", "Far Hill"]
    years = [1990 + i for i in range(len(words))]
    return pl.DataFrame(
        {"item": [str(i + 1) for i in range(len(words))], "title": words, "year": years, "genres": ["Drama"] * 9}
    )


def test_planted_memory_of_item_lines_is_found_and_none_in_a_new_model(model):
    rows = items().to_dicts()
    lines = [f"{row['item']}|{row['title']} ({row['year']})|" for row in rows]
    windows = ["\n".join(lines[i : i + 3]) for i in range(7)]
    before = questions.item_lines(asker(model), items(), random.Random(0))
    after = questions.item_lines(asker(learn(model, windows)), items(), random.Random(0))
    assert before["completed"] == 0.0
    assert (after["asked"], after["completed"], after["completed_first_lines"]) == (6, 1.0, 1.0)


def test_planted_memory_of_titles_is_found(model):
    rows = items().to_dicts()
    before = questions.titles(asker(model), rows)
    assert (before["asked"], before["completed"]) == (6, 0.0)
    lines = [f"{r['title']} ({r['year']}; Drama)" for r in rows]
    learn(model, [f"Movies: {'; '.join(lines[:3])}; {line}" for line in lines[3:]])
    after = questions.titles(asker(model), rows)
    assert (after["completed"], after["completed_other_title"], after["true_more_likely"]) == (1.0, 0.0, 1.0)
    assert after["log_prob_per_token"] > after["log_prob_per_token_other_title"] + 1


def test_planted_memory_of_years_is_found(model):
    rows = items().to_dicts()
    learn(model, [f"{r['title']} ({r['year']}" for r in rows])
    years = questions.years(asker(model), rows, random.Random(0))
    assert years["true_most_likely"] == 1.0
    assert years["gap"] > years["gap_other_title"] + 1
    assert years["true_most_likely_chance"] == 0.25


def test_data_without_years_or_long_titles_is_not_asked(model):
    rows = [{"item": str(i), "title": name, "year": None, "genres": ""} for i, name in enumerate(["A", "B", "C", "D"])]
    assert questions.titles(asker(model), rows) == {"asked": 0, "completed": 0.0}
    assert questions.years(asker(model), rows, random.Random(0)) == {"asked": 0}


def test_chance_of_rating_lines_is_the_commonest_value(model):
    lines = [(str(u), str(i), r, "881250949") for u, i, r in ((1, 7, "3"), (2, 7, "3"), (3, 8, "3"), (4, 9, "5"))]
    found = questions.rating_lines(asker(model), lines, random.Random(0))
    assert (found["asked"], found["item_chance"], found["rating_chance"]) == (2, 0.5, 0.75)
    assert found["item_completed"] == found["item_completed_other_lines"] == 0.0


def test_places_are_half_from_the_beginning_and_never_twice():
    places, first = questions._places(100, 4, 10, random.Random(0))
    assert (places[:5], first) == ([4, 5, 6, 7, 8], 5)
    assert len(set(places)) == 10
    assert questions._places(7, 4, 10, random.Random(0))[0] == [4, 5, 6]
    with pytest.raises(RLRFError, match=r"3 line\(s\) are too few for probe.context = 4"):
        questions._places(3, 4, 10, random.Random(0))
    for place in (4, 50, 99):
        assert not set(questions._elsewhere(100, place, 4, random.Random(1))) & set(range(place - 4, place + 1))


def test_raw_lines_are_as_written_and_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "a.inter"
    path.write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n9\t2\t3\t881250949\n1\t5\t4.0\t7\n")
    assert raw_lines(path) == [("9", "2", "3", "881250949"), ("1", "5", "4.0", "7")]
    path.write_text("user_id:token\titem_id:token\n1\t2\n")
    with pytest.raises(RLRFError, match="no column 'rating'"):
        raw_lines(path)
    with pytest.raises(RLRFError, match="run `dvc repro fetch_dataset`"):
        raw_lines(tmp_path / "missing.inter")
