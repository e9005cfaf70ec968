"""Policies that are brought as far from the LLM as another: trained at least as far, then scaled back."""

import math

import pytest
import torch
from test_dpo import PAIRS, SETTINGS, tuned

from rlrf4rec.alignment import module
from rlrf4rec.alignment.module import DpoModule
from rlrf4rec.errors import RLRFError
from rlrf4rec.matching.gauge import Gauge, adapter_of, put, scaled
from rlrf4rec.matching.match import Limits, match, require_distance
from rlrf4rec.methods.training import Training
from rlrf4rec.movement.divergence import Apart, Moved, Texts

LIMITS = Limits(longest=4, tolerance=0.01)


def moved(kl, error=0.0):
    return Moved(kl, error, 0.0, 0.0)


class Fake:
    """A training that moves the policy so far by its length; KL grows with the power 2.5 of the update's factor."""

    def __init__(self, **reached):
        self.reached = {int(name[1:]): kl for name, kl in reached.items()}
        self.lengths, self.factors = [], []

    def train(self, times):
        self.lengths.append(times)

    def measure(self, factor):
        self.factors.append(factor)
        kl = self.reached[self.lengths[-1]] * factor**2.5
        return Apart(torch.full((2, 2), kl, dtype=torch.float64), torch.zeros(2, 2))


def test_trained_in_doublings_until_it_is_as_far_and_then_scaled_back():
    fake = Fake(x1=0.1, x2=0.5, x4=3.0)
    found = match(fake.train, fake.measure, moved(1.0, 0.2), LIMITS)
    assert (found.matched, found.why) == (True, "")
    assert found.scale == pytest.approx((1 / 3) ** (1 / 2.5), rel=0.01)
    assert found.apart.mean().kl == pytest.approx(1.0, rel=0.01)
    assert {times: of.kl for times, of in found.trained.items()} == pytest.approx({1: 0.1, 2: 0.5, 4: 3.0})
    assert fake.lengths == [1, 2, 4]
    assert fake.factors[:3] == [1.0] * 3
    assert len(fake.factors) < 10
    assert fake.factors[-1] == found.scale


def test_who_has_moved_further_in_its_own_epochs_is_not_trained_longer():
    fake = Fake(x1=8.0)
    found = match(fake.train, fake.measure, moved(0.5), LIMITS)
    assert (fake.lengths, found.matched) == ([1], True)
    assert found.apart.mean().kl == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("kl", [0.995, 1.0, 1.005])
def test_who_is_as_far_within_the_tolerance_stays_as_it_is(kl):
    fake = Fake(x1=kl)
    found = match(fake.train, fake.measure, moved(1.0), LIMITS)
    assert (found.matched, found.scale, fake.factors) == (True, 1.0, [1.0])


def test_who_never_moves_so_far_is_not_called_matched():
    fake = Fake(x1=0.1, x2=0.2, x4=0.4, x8=9.0)
    found = match(fake.train, fake.measure, moved(1.0), LIMITS)
    assert (found.matched, found.scale, fake.lengths) == (False, 1.0, [1, 2, 4])
    assert found.why == "it has moved by 0.4 of 1 nats a text in 4 times its epochs"
    assert found.apart.mean().kl == pytest.approx(0.4)


def test_a_training_that_has_diverged_is_told_at_once():
    fake = Fake(x1=math.nan)
    with pytest.raises(RLRFError, match=r"after 1 times its epochs the policy's KL is nan: its training has diverged"):
        match(fake.train, fake.measure, moved(1.0), LIMITS)
    assert fake.lengths == [1]


@pytest.mark.parametrize("target", [moved(0.009), moved(0.1, 0.06), moved(0.0)])
def test_a_target_that_is_not_told_from_none_is_refused(target):
    said = rf"tuned-1 is {target.kl:.3g} nats a text from the LLM, .* two standard errors are .*floor is 0.01; tune it"
    with pytest.raises(RLRFError, match=said):
        require_distance(target, 0.01, "tuned-1")
    assert require_distance(moved(0.1, 0.049), 0.01, "tuned-1") is None


def training(policy, reference, times_epochs=SETTINGS):
    """Of the pairs of the tests of DPO."""
    return Training(policy, PAIRS, 0, 0, reference, DpoModule, times_epochs, "lightning", None, "test", None)


def test_a_training_begins_anew_each_time_and_is_one_schedule(llama):
    policy, reference, _ = tuned(llama)
    work = training(policy, reference)
    work.run(2)
    longer, steps = adapter_of(policy), work.steps
    work.run()
    once = adapter_of(policy)
    assert (len(steps), len(work.steps)) == (24, 12)
    other, reference, dpo = tuned(llama)
    module.train(dpo, "test", None)
    assert all(torch.equal(weight, once[name]) for name, weight in adapter_of(other).items())
    assert not all(torch.equal(weight, once[name]) for name, weight in longer.items())
    assert work.second_half()["loss"] == pytest.approx(sum(s.loss for s in work.steps[6:]) / 6)


def test_a_policy_is_brought_as_far_as_another_on_a_real_model(llama):
    """Its weights then give that KL to whoever measures; the LLM below is as it was."""
    policy, reference, _ = tuned(llama, seed=1)
    texts = Texts(PAIRS, 2, "float32")
    gauge = Gauge(tuned(llama)[0], texts, "test")
    assert gauge.apart(adapter_of(policy)).mean() == moved(0.0)
    work = training(policy, reference)
    work.run()
    full = gauge.apart(adapter_of(policy)).mean().kl
    assert gauge.apart(scaled(adapter_of(policy), 0.0)).mean().kl == 0
    target = moved(full / 3)
    found = match(work.run, lambda factor: gauge.apart(scaled(adapter_of(policy), factor)), target, LIMITS)
    assert found.matched
    assert 0.2 < found.scale < 1
    before, trained = {n: p.clone() for n, p in policy.state_dict().items()}, adapter_of(policy)
    put(policy, scaled(trained, found.scale))
    with policy.disable_adapter():
        base = texts.read(policy, "test")
    assert texts.apart(base, texts.read(policy, "test")).mean().kl == pytest.approx(target.kl, rel=0.011)
    for name, weight in policy.state_dict().items():
        factor = found.scale if ".lora_B." in name else 1
        assert torch.equal(weight, before[name] * factor), name
