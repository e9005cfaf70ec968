"""`rlrf4rec power`: sizes of a study by the variance components of the one that was run."""

import shutil
from pathlib import Path

import pytest
from scipy.stats import t

from rlrf4rec import paths
from rlrf4rec.cli import main
from rlrf4rec.errors import InputError
from rlrf4rec.files import write_json
from rlrf4rec.planning import power

ROOT = Path(__file__).parent.parent
VARIANCES = {"users": 0.04, "policies": 0.0, "seeds": 0.0}  # users alone vary: their number alone counts
SEEN = {"difference": 0.06, "low": 0.01, "high": 0.11, "components": VARIANCES}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder with params, the committed template and the result of a study of arms."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "preregistration.md", tmp_path / "docs")
    lost = {**SEEN, "difference": -0.01}
    others = "base", "matched", "rule_years", "rule_length"
    metrics = {f"tuned - {other}": {"ndcg@5": SEEN} for other in others}
    metrics |= {"tuned - sft": {"ndcg@5": lost}, "old": {"ndcg@5": {"difference": 1}}}
    write_json(paths.ARMS, {"popularity": {"differences": metrics}})
    return tmp_path


def asked(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["rlrf4rec", "power", *words])
    return main()


def by_hand(users, claims=1):
    """Standard error of a mean of this variance, times the quantiles of 5 % two-sided and of 80 % for all claims."""
    return (0.04 / users) ** 0.5 * (t.ppf(0.975, users - 1) + t.ppf(0.8 ** (1 / claims), users - 1))


def test_the_effect_is_that_of_the_users_alone_where_they_alone_vary():
    seen = power.Seen("x", 0.06, VARIANCES)
    made = power.plans([seen], [100, 400], [3, 5], 4)
    assert [(p.users, p.policies, p.seeds) for p in made] == [(100, 3, 4), (100, 5, 4), (400, 3, 4), (400, 5, 4)]
    assert [p.effect for p in made] == pytest.approx([by_hand(n) for n in (100, 100, 400, 400)])


@pytest.mark.parametrize("gain", ["-1", "0", "nan"])
def test_a_gain_that_is_none_is_refused(gain, study, monkeypatch, capsys):
    assert asked(monkeypatch, "--users", "100", "--policies", "3", "--gain", gain) == 2
    assert f"--gain {float(gain)}: what is to be found has to be more than 0" in capsys.readouterr().err


def test_half_of_what_was_seen_is_to_be_found(study, monkeypatch, capsys):
    """0.0563 by 100 users is more than 0.03, 0.0281 by 400 is less."""
    one = "--difference", "tuned - base", "--users", "100"
    assert asked(monkeypatch, *one, "400", "--policies", "3", "--seeds", "2") == 0
    assert capsys.readouterr().out.splitlines() == [
        "tuned - base under popularity, ndcg@5: seen +0.0600",
        "to be found, in it: 0.0300, half of the smallest",
        "users  policies  seeds  found four times of five  enough",
        f"  100         3      2                    {by_hand(100):.4f}  no",
        f"  400         3      2                    {by_hand(400):.4f}  yes",
    ]
    assert asked(monkeypatch, *one, "--policies", "3", "--gain", "0.06") == 0
    printed = capsys.readouterr().out
    assert "0.0600, as it was given" in printed
    assert f"  100         3      4                    {by_hand(100):.4f}  yes" in printed  # seeds of params.yaml


def test_all_that_has_to_hold_together_is_found_together(study, monkeypatch, capsys):
    """Four claims of one variance, each of them by the fourth root of 80 %; or the one of most variance alone."""
    assert asked(monkeypatch, "--users", "400", "--policies", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" under")[0] for line in lines[:4]] == [
        f"tuned - {other}" for other in ("base", "matched", "rule_years", "rule_length")
    ]
    assert lines[4] == "to be found, in all of them: 0.0300, half of the smallest"
    assert lines[6] == f"  400         3      4                    {by_hand(400, 4):.4f}  no"
    seen = [power.Seen("x", 0.06, VARIANCES), power.Seen("y", 0.02, {**VARIANCES, "users": 0.16})]
    (made,) = power.plans(seen, [400], [3], 4)
    assert made.effect == pytest.approx(2 * by_hand(400, 2))
    assert "in all of them: 0.0100, half of the smallest" in power.told(seen, None, [made])


def test_the_sizes_are_written_where_the_preregistration_has_its_marks(study, monkeypatch, capsys):
    """Twice, to the same text; all else of the committed template stays."""
    place = study / "docs" / "preregistration.md"
    before = place.read_text()
    assert asked(monkeypatch, "--users", "400", "--write") == 0
    printed, once = capsys.readouterr().out, place.read_text()
    assert f"{power.BEGIN}\n```text\n{printed}```\n{power.END}" in once
    assert once.split(power.BEGIN)[0] == before.split(power.BEGIN)[0]
    assert once.split(power.END)[1] == before.split(power.END)[1]
    assert asked(monkeypatch, "--users", "400", "--write") == 0
    assert place.read_text() == once
    place.write_text("# no marks\n")
    with pytest.raises(InputError, match=r"preregistration.md: the marks .* are missing; put them on lines"):
        power.write(place, "text")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--difference", "tuned - sft"], 2, "seen was -0.0100, of which half is no gain to find; give --gain"),
        (["--difference", "tuned - fst"], 4, "no 'tuned - fst'; there are tuned - base, tuned - matched, "),
        (["--protocol", "uniform"], 4, "evaluate_arms.json: no 'uniform'; there are popularity"),
        (["--difference", "old"], 4, "old has no variance components; run `make arms` again"),
        (["--users", "1"], 2, "a study has 2 users or more"),
    ],
)
def test_what_can_t_be_planned_is_told(study, monkeypatch, capsys, words, code, said):
    assert asked(monkeypatch, *words) == code
    assert said in capsys.readouterr().err


def test_a_study_of_one_policy_does_not_tell_of_several():
    with pytest.raises(Exception, match="the variance of policies is not known"):
        power.plans([power.Seen("x", 0.06, {"users": 0.04, "seeds": 0.0})], [100], [3], 2)


def test_a_study_that_was_not_run_is_named(study, monkeypatch, capsys):
    paths.ARMS.unlink()
    assert asked(monkeypatch) == 4
    assert "evaluate_arms.json: missing, the study of arms was not run; run `make arms`" in capsys.readouterr().err
