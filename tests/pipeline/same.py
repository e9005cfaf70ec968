"""`make same BASE=<revision>`: whether the code as it is gives the outputs of another revision, byte for byte.

The tiny pipeline runs at that revision and in the working tree, on this machine, and after it the tiny study of arms
with what it reads of the study of controls, of one policy. Of what is equal the hashes of the changed code in dvc.lock
and in the locks of these studies are rewritten, and nothing else, so that it need not run again. What differs is left,
and all that depends on it.

In the studies' locks an entry counts by its stage and arm: `sample@tuned-3` is rewritten because `sample@tuned-1` ran
and was equal, since the code of all policies is one and they differ in seeds alone. What the tiny study does not reach
(most of the controls; a rule that found no pairs among so few texts, and what comes after it) is left alone and named.
So are entries that did not fit the base. The report is compared as it is before the study has run: after it, it shows
what the arms took by the clock. Where one of the two revisions has no study of arms, dvc.lock alone is rewritten.
"""

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.conftest import ROOT, environment, fetch_assets, outputs, run, tiny_repository
from rlrf4rec.files import contents, dvc_hash

CODE = "src/"
LOCK = "dvc.lock"
ARMS = "studies/arms/dvc.yaml"
# Of protocols and sources all: each has code of its own, and they take seconds.
STUDY = (ARMS, "studies/controls/dvc.yaml:protocol", "studies/controls/dvc.yaml:source")
KINDS = ("base", "base_labels", "tuned", "second", "matched", "rule_years", "rule_length", "template", "base_template")
# Texts that are many and long enough for rules to find pairs; a policy that has hardly moved is moved enough.
SETTINGS = {
    "sample": {"n": 4, "max_tokens": 16},
    "pair": {"max_pairs": 12},
    "match_policy": {"floor": 1e-9, "longest": 2},
    "arms": {"policies": [1], "protocols": ["popularity"], "final": ["tuned"]},
}


def settings(root):
    """Params of the tiny pipeline beside those of the tests, as far as the params of `root` have them."""
    known = YAML(typ="safe").load((root / "params.yaml").read_text())
    found = {
        block: {name: value for name, value in values.items() if name in known[block]}
        for block, values in SETTINGS.items()
        if block in known
    }
    if "arms" in known:
        found["arms"]["kinds"] = {name: of for name, of in known["arms"]["kinds"].items() if name in KINDS}
        found["protocols"] = known["protocols"]
    return found


def repro(folder, *words):
    """Run the tiny pipeline of a clone, or these targets, with the clone's own code; True if it ended well."""
    own = {**environment(), "PYTHONPATH": str(folder / "src")}
    log = folder.parent / f"{folder.name}.log"
    with log.open("w") as file:
        code = subprocess.run(["dvc", "repro", *words], cwd=folder, env=own, stdout=file, stderr=file).returncode
    if code:
        print(f"{folder.name}: {' '.join(('dvc repro', *words))} failed:\n{log.read_text()[-3000:]}", flush=True)
    return code == 0


def everywhere(folders, *words):
    """`repro` in all clones at once; True if it ended well in each."""
    with ThreadPoolExecutor(len(folders)) as pool:
        return all(list(pool.map(lambda folder: repro(folder, *words), folders)))


def stages(folder, *targets):
    """Names of the stages in the order in which they run."""
    listed = run(folder, "dvc", "dag", "--dot").stdout
    order = run(folder, "dvc", "repro", "--dry", "--force", "--allow-missing", *targets).stdout.splitlines()
    found = [line.split("'")[1] for line in order if line.startswith("Running stage")]
    assert found, listed
    return found


def address(lock, stage):
    """What DVC calls a stage of the pipeline with this lock."""
    return stage if lock == LOCK else f"{lock.removesuffix('.lock')}.yaml:{stage}"


def kind(stage):
    """A stage's name without the number of a policy: all policies of a study are made by the same code.

    >>> kind("sample@tuned-2"), kind("arm@2"), kind("sample@round1")
    ('sample@tuned', 'arm', 'sample@round1')
    """
    return re.sub(r"[@-][0-9]+$", "", stage)


def hashes(folder, locks):
    """MD5 of every output of every stage of these locks, by the stage's address and the output's path."""
    return {
        (address(lock, stage), path): md5
        for lock in locks
        for (stage, path), md5 in outputs((folder / lock).read_text()).items()
    }


def first_unequal(base, here, order):
    """The first stage whose outputs differ, with these, or None. `base`, `here`: hashes by stage and path."""
    for stage in order:
        paths = sorted({path for name, path in {*base, *here} if name == stage})
        if unequal := [path for path in paths if base.get((stage, path)) != here.get((stage, path))]:
            return stage, unequal
    return None


def rewritten(entry, wanted, was, now, locks):
    """A stage's entry of a lock with today's hashes of its code, or None when it must not be touched.

    entry: as DVC wrote it; wanted: paths of the code that the stage depends on today; was, now: functions that give
    the files of a path by name at the base and today: a file's own is "". An entry that did not fit the code of the
    base was not run with it. locks: what DVC writes of the locks that were rewritten, by the hash that they had: the
    report depends on those of the studies.
    """
    old = [dep for dep in entry["deps"] if dep["path"].startswith(CODE)]
    if any(described(was(dep["path"])).get("md5") != dep["md5"] for dep in old):
        return None
    code = [{"path": path, "hash": "md5", **described(now(path))} for path in wanted]
    kept = [{**dep, **locks.get(dep["md5"], {})} for dep in entry["deps"] if not dep["path"].startswith(CODE)]
    return {**entry, "deps": sorted([*kept, *code], key=lambda dep: dep["path"])}


def described(files):
    """What DVC writes of a file or folder with these contents; nothing where there are none."""
    if not files:
        return {}
    many = {} if "" in files else {"nfiles": len(files)}
    return {"md5": dvc_hash(files), "size": sum(map(len, files.values())), **many}


def dependencies(root):
    """Paths that each stage of the working tree depends on, by the stage's address."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo(root) as repo:
        return {
            # A list: what dvc.yaml names twice (a part of content that lies under a room) stands twice in the lock.
            address(Path(stage.path_in_repo).with_suffix(".lock").as_posix(), stage.name): [
                Path(dep.fs_path).relative_to(root).as_posix()
                for dep in stage.deps
                if not isinstance(dep, ParamsDependency)  # of these the lock has a part of its own
            ]
            for stage in repo.index.stages
        }


def rewrite(root, base, reached):
    """Rewrite the code's hashes in locks.

    reached: kinds of the entries that gave today what they gave at the base, by the path of their lock. Returns
    addresses of stages: that were rewritten; that did not fit the base; whose code is another one and was not reached.
    """

    @cache
    def was(path):
        listed = run(root, "git", "ls-tree", "-r", "--name-only", base, path).stdout.splitlines()
        shown = [subprocess.run(["git", "show", f"{base}:{name}"], cwd=root, capture_output=True) for name in listed]
        return {inside(path, name): done.stdout for name, done in zip(listed, shown, strict=True)}

    @cache
    def now(path):
        return contents(root / path)

    def inside(path, name):
        return "" if name == path else name.removeprefix(f"{path}/")

    of, moved = dependencies(root), {}
    done, unfit, beyond = [], [], []
    for path in sorted(reached, key=lambda path: path == LOCK):  # that one last: the report depends on the others
        text = (root / path).read_bytes()
        lock, changed = YAML().load(text), False
        for name, entry in lock["stages"].items():
            stage = address(path, name)
            wanted = sorted(dep for dep in of.get(stage, ()) if dep.startswith(CODE))
            others = sorted({dep for dep in of.get(stage, ()) if not dep.startswith(CODE)})
            recorded = sorted({dep["path"] for dep in entry.get("deps", []) if not dep["path"].startswith(CODE)})
            made = rewritten(entry, wanted, was, now, moved) if wanted and others == recorded else None
            if made and [dict(dep) for dep in made["deps"]] == [dict(dep) for dep in entry["deps"]]:
                continue
            if kind(name) not in reached[path]:
                beyond.append(stage)
            elif made is None:
                unfit.append(stage)
            else:
                entry["deps"], changed = made["deps"], True
                done.append(stage)
        if changed:
            from dvc.utils.serialize import dump_yaml

            dump_yaml(root / path, lock)
            moved[described({"": text})["md5"]] = described(contents(root / path))
    return done, unfit, beyond


def unequal_in(folders, locks, *targets):
    """Stages whose outputs in these locks differ between the clones, and all that depend on them; tells the first one.

    A stage that the base has not is no change of what it has.
    """
    known = set(stages(folders[0], *targets))
    order = [stage for stage in stages(folders[1], *targets) if stage in known]
    base, here = (hashes(folder, locks) for folder in folders)
    if found := first_unequal(base, here, order):
        print(f"not the same: {found[0]} is the first stage that differs: {', '.join(found[1])}", flush=True)
    reads, writes = {}, {}
    for lock in locks:
        for name, entry in YAML(typ="safe").load((folders[1] / lock).read_text())["stages"].items():
            reads[address(lock, name)] = {dep["path"] for dep in entry.get("deps", [])}
            writes[address(lock, name)] = {out["path"] for out in entry.get("outs", [])}
    unequal = {stage for stage in order if first_unequal(base, here, [stage])}
    while more := {
        stage
        for stage in set(reads) - unequal
        if any(within(dep, out) for of in unequal for out in writes.get(of, ()) for dep in reads[stage])
    }:
        unequal |= more
    return unequal


def within(one, other):
    """Whether one of two paths is the other or lies below it.

    >>> within("data/a", "data/a/b"), within("data/a/b", "data/a"), within("data/a", "data/ab")
    (True, True, False)
    """
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def compared(folders):
    """Run all in both clones; exit status, and kinds of the entries that are the same, by the path of their lock."""
    if not everywhere(folders):
        return 2, {}
    unequal = {kind(stage) for stage in unequal_in(folders, [LOCK])}
    if not all((folder / ARMS).exists() for folder in folders):
        print("the study of arms is left alone: it is not in both revisions")
        return int(bool(unequal)), same_in(folders, [LOCK], unequal)
    print(f"the tiny pipeline is {'not ' if unequal else ''}the same; now the study of arms", flush=True)
    # Where a rule finds no pairs the others go on: what has not run has no outputs, and does not count.
    everywhere(folders, "--keep-going", *STUDY)
    locks = [path.relative_to(folders[1]).as_posix() for path in sorted(folders[1].glob("studies/**/dvc.lock"))]
    locks = [lock for lock in locks if (folders[0] / lock).exists() and reached_in(folders, lock)]
    locks.append(LOCK)  # what a stage of the study reads can be the run's
    unequal |= {kind(stage) for stage in unequal_in(folders, locks, *STUDY)}
    return int(bool(unequal)), same_in(folders, locks, unequal)


def same_in(folders, locks, unequal):
    """Kinds of the entries that these locks have in all clones, less those that are not equal, by lock."""
    entries = {lock: reached_in(folders, lock) for lock in locks}
    same = {lock: {own for own in of if address(lock, own) not in unequal} for lock, of in entries.items()}
    return {lock: of for lock, of in same.items() if of}


def reached_in(folders, lock):
    """Kinds of the entries that a lock has in all clones."""
    entries = [YAML(typ="safe").load((folder / lock).read_text())["stages"] for folder in folders]
    return set.intersection(*({kind(name) for name in of} for of in entries))


def main(base):
    commit = run(ROOT, "git", "rev-parse", "--verify", f"{base}^{{commit}}").stdout.strip()
    with tempfile.TemporaryDirectory() as place:
        there = Path(place) / "source"
        run(ROOT, "git", "worktree", "add", "--quiet", "--detach", str(there), commit)
        try:
            assets = Path(place) / "assets"
            assets.mkdir()
            fetch_assets(assets)
            folders = [
                tiny_repository(Path(place) / name, assets, root, settings(root))
                for name, root in (("base", there), ("here", ROOT))
            ]
            print(f"the tiny pipeline runs at {base} and in the working tree", flush=True)
            code, reached = compared(folders)
        finally:
            run(ROOT, "git", "worktree", "remove", "--force", str(there))
    if reached:
        done, unfit, beyond = rewrite(ROOT, commit, reached)
        what = "without what depends on that, " if code else ""
        print(f"{what}the same, byte for byte: {', '.join(reached)}; code hashes of {len(done)} stages rewritten")
        for told, names in (
            (f"as they did not fit {base} before", unfit),
            ("as nothing tiny reaches them or it differs", beyond),
        ):
            if names:
                print(f"left alone, {told}: {', '.join(dict.fromkeys(map(kind, names)))}; `dvc repro` runs them")
    return code


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("which revision? make same BASE=<revision>")
    sys.exit(main(sys.argv[1]))
