"""Stage match_policy (study): the LLM tuned in another way than `tuned-2`, until it has moved as far as `tuned-2`.

A policy that lacks something against one that has moved further could lack the way, not the feedback. So `matched-2`,
`rule_years-2`, `rule_length-2` and `sft-2` are made on the pairs of `tuned-2`, by the room `methods`, and brought to
its distance from the LLM by the room `matching`: KL(LLM || policy) on texts that the LLM wrote about validation users.
`matched_second-2` and so on are made on the same pairs and brought to the distance of `second-2`.
"""

from rlrf4rec import machine, paths, replicates
from rlrf4rec.alignment import packed
from rlrf4rec.alignment.policy import load_policy_for_training, save_adapter
from rlrf4rec.errors import ParamsError, RLRFError
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.llm.models import DTYPES, Place, load_llm
from rlrf4rec.matching.gauge import Gauge, adapter_of, put, scaled
from rlrf4rec.matching.match import Limits, match, require_distance
from rlrf4rec.methods import methods
from rlrf4rec.methods.training import prepare
from rlrf4rec.movement.divergence import Apart, Moved, Texts, mean_and_error
from rlrf4rec.movement.texts import two_each
from rlrf4rec.params import Dpo, Llm, MatchPolicy, Sample, TrainDpo, TrainPolicy
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import PROMPTS, TEXTS


def run(
    seed: int,
    sample: Sample,
    llm: Llm,
    dpo: Dpo,
    train_dpo: TrainDpo,
    train_policy: TrainPolicy,
    match_policy: MatchPolicy,
    name: str,
) -> str:
    """Train, scale back and save the adapter `name`; returns the closing line, which tells where it is not matched."""
    arm, number = replicates.parts(name)
    method, target_arm = _method_and_target(arm)
    methods.method(method)
    if not number:
        raise ParamsError(f"match_policy: {name} moves as far as a policy of the study of arms; name one: {name}-1")
    other, where = f"{target_arm}-{number}", Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    texts = _texts(f"base-{number}", match_policy, dpo.batch)
    measured = load_llm(paths.LLM, DTYPES[match_policy.precision], packed.NAME, where)
    policy = load_policy_for_training(measured, paths.policy(other))
    gauge = Gauge(policy, texts, f"how far {name} is from the LLM")
    of_other = gauge.apart(adapter_of(policy))
    target = of_other.mean()
    require_distance(target, match_policy.floor, other)
    training = prepare("match_policy", name, method, seed, sample, llm, dpo, train_dpo, train_policy)

    def measure(factor: float) -> Apart:
        """How far the policy has moved that was trained last, its update so many times as large."""
        return gauge.apart(scaled(adapter_of(training.policy), factor))

    found = match(training.run, measure, target, Limits(match_policy.longest, match_policy.tolerance))
    put(training.policy, scaled(adapter_of(training.policy), found.scale))
    save_adapter(training.policy, paths.LLM, paths.policy(name))
    write_csv(paths.plot("match_policy", name), [vars(step) for step in training.steps])
    moved, computed = found.apart.mean(), machine.arithmetic(dpo.precision, where.device)
    difference, error = mean_and_error(found.apart.kl - of_other.kl)
    report = {
        "pairs": len(training.pairs),
        "users_skipped": training.users_skipped,
        "swapped": training.swapped,
        "second_half": training.second_half(),
        "matched": found.matched,
        "why_not": found.why,
        "scale": found.scale,
        "moved": moved.report(),
        f"moved_{target_arm}": target.report(),
        f"kl_minus_{target_arm}": {"difference": difference, "standard_error": error},
        "trained": {
            str(times): {"epochs": training.settings.epochs * times, **unscaled.report()}
            for times, unscaled in found.trained.items()
        },
        "measured_on": {"users": len(texts.pairs), "texts": 2 * len(texts.pairs)},
        "arithmetic": computed,
    }
    write_json(paths.metrics("match_policy", name), report)
    said = f"matched, its update times {found.scale:.3f}" if found.matched else f"NOT matched: {found.why}"
    done = f"{len(training.pairs)} pairs, {len(training.steps)} steps, {_told(moved)} ({other} {_told(target)}); {said}"
    return f"wrote {paths.policy(name)}, {done}; {computed}"


def _method_and_target(arm: str) -> tuple[str, str]:
    """How a policy of the arm is tuned, and whose distance from the LLM it is brought to."""
    method = arm.removesuffix(paths.AS_SECOND)
    return method, "tuned" if method == arm else "second"


def _texts(name: str, p: MatchPolicy, batch: int) -> Texts:
    """Two texts of the LLM about each of the first validation users; RLRFError when fewer than two have them."""
    users = FOLD_USERS.read(paths.FOLD_USERS)
    held_out = users.filter(users["fold"] == "validation")["user"].to_list()
    found = two_each(TEXTS.read(paths.texts(name)), PROMPTS.read(paths.PROMPTS), held_out)[: p.users]
    if len(found) < 2:
        raise RLRFError(
            f"match_policy: {len(found)} validation users have two texts in {paths.texts(name)}, and how far a policy "
            "has moved needs two of them for its error; have more validation users (split)"
        )
    return Texts(found, batch, p.precision)


def _told(moved: Moved) -> str:
    return f"KL {moved.kl:.3g} +- {moved.kl_standard_error:.2g} nats a text from the LLM"
