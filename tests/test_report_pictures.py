"""The pictures of the report: marks stand where the numbers say, and nothing in them is taken for markup."""

from xml.etree import ElementTree

import pytest
from made_up_run import HOSTILE

from rlrf4rec.report import plots, svg


def parsed(markup):
    return ElementTree.fromstring(str(markup))


def test_ticks_are_round_and_inside():
    for low, high in [(-0.011, 0.042), (0, 1), (-3e-5, 2e-5), (17, 4711)]:
        found = svg.ticks(low, high)
        assert 3 <= len(found) <= 8
        assert all(low <= t <= high for t in found)


def test_span_is_never_empty():
    for values in ([0.0], [5.0, 5.0], [-1e-9]):
        low, high = svg.span(values)
        assert low < high


def test_a_forest_puts_marks_where_the_numbers_say():
    effects = [plots.Effect("a", 0.5, 0.0, 1.0, ((0.25, 0.75),)), plots.Effect("b", -0.5, -1.0, 0.0, ((-0.5,),))]
    picture = parsed(plots.forest("x", "Title", "Text", effects, ["prm"]))
    intervals = [e for e in picture.iter("line") if "bold" in e.get("class")]
    at = [(float(e.get("x1")[:-1]), float(e.get("x2")[:-1])) for e in intervals]
    zero = next(float(e.get("x1")[:-1]) for e in picture.iter("line") if e.get("class") == "zero")
    assert at[0][0] == pytest.approx(zero)
    assert at[1][1] == pytest.approx(zero)
    assert zero == pytest.approx(50)
    assert at[0][1] - zero == pytest.approx(zero - at[1][0])
    assert len([e for e in picture.iter("path") if e.get("d") == svg.SHAPES["circle"]]) == 4  # legend and three seeds
    assert picture.find("title").text == "Title"
    assert picture.get("role") == "img"


def test_a_forest_without_pooled_intervals_still_shows_the_seeds():
    picture = parsed(plots.forest("x", "T", "D", [plots.Effect("a", None, None, None, ((0.1,), (0.2,)))], ["p", "q"]))
    assert not [e for e in picture.iter("line") if "bold" in e.get("class")]
    assert len(list(picture.iter("path"))) == 4


def test_bars_are_as_high_as_their_counts():
    picture = parsed(plots.bars("x", "T", "D", [0.0, 1.0, 2.0], [1, 4, 2], "reward"))
    heights = [float(e.get("height")) for e in picture.iter("rect")]
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.01)
    assert heights[2] == pytest.approx(2 * heights[0], rel=0.01)


@pytest.mark.parametrize("centres", [[0.0], [0.0, 0.0]])
def test_rewards_that_are_all_equal_can_be_drawn(centres):
    assert parsed(plots.bars("x", "T", "D", centres, [3] * len(centres), "reward")) is not None


def test_best_so_far_never_falls():
    picture = parsed(plots.trials("x", "T", "D", [0.1, 0.3, 0.2]))
    y = [float(p.split(",")[1]) for p in next(picture.iter("polyline")).get("points").split()]
    assert y == sorted(y, reverse=True)
    assert len(set(y)) == 2


@pytest.mark.parametrize("n", [1, 2, 40])
def test_curves_of_any_length(n):
    x = tuple(float(i) for i in range(n))
    picture = parsed(plots.curves("x", "T", "D", [plots.Series("loss", x, x, x)], True, "step"))
    assert len(list(picture.iter("polyline"))) == 2


def test_labels_in_pictures_are_escaped():
    drawn = str(plots.forest("x", HOSTILE, HOSTILE, [plots.Effect(HOSTILE, 0.0, -1.0, 1.0)], [HOSTILE]))
    assert "<script" not in drawn
    assert parsed(drawn).find("title").text == HOSTILE
