"""Stage arm (study): re-rankers with every kind of knowledge of the study of arms, of one of its policies.

What `control` does for one kind; seeds are the policy's own, so that those of two policies have nothing in common.
Of the kinds that a final look compares the weights are kept, too: those that were evaluated are those that it is of.
"""

from rlrf4rec import paths
from rlrf4rec.errors import ParamsError
from rlrf4rec.inputs import Tables, read_tables
from rlrf4rec.params import Arms, TrainRanker
from rlrf4rec.retraining.material import material
from rlrf4rec.retraining.parallel import RankerSettings
from rlrf4rec.retraining.retrain import retrain
from rlrf4rec.seeds import derive
from rlrf4rec.tables.vectors import save_tensors


def run(seed: int, backbones: list[str], train_ranker: TrainRanker, arms: Arms, policy: str) -> str:
    """Train and score under every protocol; returns the closing line."""
    if not policy.isdigit() or int(policy) not in arms.policies:
        raise ParamsError(f"arms.policies: it has no {policy}; one of {', '.join(map(str, arms.policies))}")
    read, settings, own_seed = read_tables(), RankerSettings.of(train_ranker), derive(seed, "arm", policy)
    short = []
    for protocol in arms.protocols:
        tables = Tables(read.users, read.items, read.popularity, paths.protocol(protocol))
        for name, kind in arms.kinds.items():
            text = kind.text if "/" in kind.text else f"arms/encode/{kind.text}-{policy}"
            inputs = material(tables, text, kind.beside, "encode/items", kind.learners)
            what = f"arm {name}-{policy} {protocol}"
            made = retrain(name, inputs, backbones, train_ranker.seeds, settings, own_seed, what)
            made.write(paths.arm(int(policy), name, protocol))
            if protocol == arms.protocols[0] and name in arms.final_kinds():
                save_tensors(paths.arm_ranker(int(policy), name, protocol), made.weights(), {"kind": name})
            short += [f"{name} {protocol}" for v in made.verdicts().values() if not v["trained_out"]]
    told = f"; NOT trained out ({', '.join(dict.fromkeys(short))}): raise train_ranker.epochs" if short else ""
    return f"wrote {paths.ARM_SCORES / policy}, {len(arms.kinds)} kinds under {len(arms.protocols)} protocols{told}"
