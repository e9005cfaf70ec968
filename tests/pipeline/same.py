"""`make same BASE=<revision>`: whether the code as it is gives the outputs of another revision, byte for byte.

The tiny pipeline runs at that revision and in the working tree, on this machine. When every output is equal, the hashes
of the changed code in dvc.lock are rewritten, and nothing else, so that nothing has to run again. The studies' locks
are left alone: the tiny pipeline does not reach their stages.
"""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.conftest import ROOT, environment, fetch_assets, hashes, run, tiny_repository
from rlrf4rec.files import contents, dvc_hash

CODE = "src/"


def repro(folder):
    """Run the tiny pipeline of a clone with the clone's own code; True if it ended well."""
    own = {**environment(), "PYTHONPATH": str(folder / "src")}
    log = folder.parent / f"{folder.name}.log"
    with log.open("w") as file:
        code = subprocess.run(["dvc", "repro"], cwd=folder, env=own, stdout=file, stderr=file).returncode
    if code:
        print(f"{folder.name}: dvc repro failed:\n{log.read_text()[-3000:]}")
    return code == 0


def stages(folder):
    """Names of the stages in the order in which they run."""
    listed = run(folder, "dvc", "dag", "--dot").stdout
    order = run(folder, "dvc", "repro", "--dry", "--force", "--allow-missing").stdout.splitlines()
    found = [line.split("'")[1] for line in order if line.startswith("Running stage")]
    assert found, listed
    return found


def first_unequal(base, here, order):
    """The first stage whose outputs differ, with these, or None. `base`, `here`: hashes by stage and path."""
    for stage in order:
        paths = sorted({path for name, path in {*base, *here} if name == stage})
        if unequal := [path for path in paths if base.get((stage, path)) != here.get((stage, path))]:
            return stage, unequal
    return None


def rewritten(entry, wanted, was, now):
    """A stage's entry of dvc.lock with today's hashes of its code, or None when it must not be touched.

    entry: as DVC wrote it; wanted: paths of the code that the stage depends on today; was, now: functions that give
    the files of a path by name at the base and today: a file's own is "". An entry that did not fit the code of the
    base was not run with it.
    """
    old = [dep for dep in entry["deps"] if dep["path"].startswith(CODE)]
    if any(described(was(dep["path"])).get("md5") != dep["md5"] for dep in old):
        return None
    code = [{"path": path, "hash": "md5", **described(now(path))} for path in wanted]
    kept = [dep for dep in entry["deps"] if not dep["path"].startswith(CODE)]
    return {**entry, "deps": sorted([*kept, *code], key=lambda dep: dep["path"])}


def described(files):
    """What DVC writes of a file or folder with these contents; nothing where there are none."""
    if not files:
        return {}
    many = {} if "" in files else {"nfiles": len(files)}
    return {"md5": dvc_hash(files), "size": sum(map(len, files.values())), **many}


def rewrite(root, base):
    """Rewrite the code's hashes in dvc.lock; returns names of stages that were, and that could not be."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    def was(path):
        listed = run(root, "git", "ls-tree", "-r", "--name-only", base, path).stdout.splitlines()
        shown = [subprocess.run(["git", "show", f"{base}:{name}"], cwd=root, capture_output=True) for name in listed]
        return {inside(path, name): done.stdout for name, done in zip(listed, shown, strict=True)}

    def now(path):
        return contents(root / path)

    def inside(path, name):
        return "" if name == path else name.removeprefix(f"{path}/")

    path, yaml = root / "dvc.lock", YAML()
    lock = yaml.load(path.read_text())
    with Repo(root) as repo:
        of = {
            # A list: what dvc.yaml names twice (a part of content that lies under a room) stands twice in the lock.
            stage.name: [
                Path(dep.fs_path).relative_to(root).as_posix()
                for dep in stage.deps
                if not isinstance(dep, ParamsDependency)  # of these the lock has a part of its own
            ]
            for stage in repo.index.stages
            if stage.path_in_repo == "dvc.yaml"
        }
    done, left = [], []
    for name, entry in lock["stages"].items():
        wanted = sorted(dep for dep in of.get(name, ()) if dep.startswith(CODE))
        others = sorted({dep for dep in of.get(name, ()) if not dep.startswith(CODE)})
        recorded = sorted({dep["path"] for dep in entry.get("deps", []) if not dep["path"].startswith(CODE)})
        made = rewritten(entry, wanted, was, now) if name in of and wanted and others == recorded else None
        if made is None:
            left.append(name)
        elif [dict(dep) for dep in made["deps"]] != [dict(dep) for dep in entry["deps"]]:
            entry["deps"] = made["deps"]
            done.append(name)
    if done:
        from dvc.utils.serialize import dump_yaml

        dump_yaml(path, lock)
    return done, left


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
                tiny_repository(Path(place) / name, assets, root) for name, root in (("base", there), ("here", ROOT))
            ]
            print(f"the tiny pipeline runs at {base} and in the working tree", flush=True)
            with ThreadPoolExecutor(2) as pool:
                ended = list(pool.map(repro, folders))
            if not all(ended):
                return 2
            found = first_unequal(*map(hashes, folders), stages(folders[1]))
        finally:
            run(ROOT, "git", "worktree", "remove", "--force", str(there))
    if found:
        print(f"not the same: {found[0]} is the first stage that differs: {', '.join(found[1])}")
        return 1
    done, left = rewrite(ROOT, commit)
    print(f"the same, byte for byte; dvc.lock: code hashes of {len(done)} stages rewritten")
    if left:
        print(f"left alone, as they did not fit {base} before: {', '.join(left)}; `dvc repro` runs them")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("which revision? make same BASE=<revision>")
    sys.exit(main(sys.argv[1]))
