"""Stage train_policy (study): the LLM tuned on the pairs of round 1 in another way, see the room `methods`."""

from rlrf4rec import machine, paths, replicates
from rlrf4rec.alignment.policy import save_adapter
from rlrf4rec.errors import ParamsError
from rlrf4rec.files import write_csv, write_json
from rlrf4rec.llm.models import Place
from rlrf4rec.methods.training import prepare
from rlrf4rec.params import Dpo, Llm, Sample, TrainDpo, TrainPolicy


def run(
    seed: int,
    sample: Sample,
    llm: Llm,
    dpo: Dpo,
    train_dpo: TrainDpo,
    train_policy: TrainPolicy,
    name: str,
) -> str:
    """Train and save the adapter `name`; returns the closing line."""
    if replicates.parts(name)[1]:
        raise ParamsError(f"train_policy: {name} is a policy of the study of arms; match_policy makes it")
    training = prepare("train_policy", name, name, seed, sample, llm, dpo, train_dpo, train_policy)
    training.run()
    save_adapter(training.policy, paths.LLM, paths.policy(name))
    write_csv(paths.plot("train_policy", name), [vars(step) for step in training.steps])
    last, pairs = training.second_half(), len(training.pairs)
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    computed = machine.arithmetic(dpo.precision, where.device)
    report = {"pairs": pairs, "swapped": training.swapped, "second_half": last, "arithmetic": computed}
    write_json(paths.metrics("train_policy", name), report)
    done = f"{pairs} pairs, {len(training.steps)} steps, accuracy {last['accuracy']:.2f}"
    return f"wrote {paths.policy(name)}, {done}; {computed}"
