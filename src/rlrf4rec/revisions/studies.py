"""Studies that are older than the run and the code of their revision: they are run less often."""

from collections.abc import Mapping

from rlrf4rec.files import locked
from rlrf4rec.revisions import git, hashes
from rlrf4rec.revisions.git import Revision
from rlrf4rec.revisions.locks import STUDIES


def older(revision: Revision, written: Mapping[str, str]) -> list[str]:
    """A sentence on each study of the revision that ran with other code, or on other data, than lie beside it.

    written: hashes of what the revision's default run wrote, by path.
    """
    found = []
    locks = git.read(revision, [f"studies/{name}/dvc.lock" for name in STUDIES])
    for path, content in locks.items():
        ran = locked((content or b"").decode(errors="replace"))
        sources = [(p, md5) for p, known in ran.items() if p.startswith("src/") for md5 in known]
        code = [p for p, md5 in hashes.now(revision, sources).items() if ran[p] != {md5}]
        data = [p for p, known in ran.items() if p in written and known != {written[p]}]
        if code or data:
            name = path.removesuffix("/dvc.lock")
            found.append(
                f"{name} is that of {git.last_change(revision, path)}, older than the run of {revision.label}: "
                f"{len(code)} of the source files and {len(data)} of the data files that it read are others now"
            )
    return found
