"""Studies that are older than the run and the code of their revision: they are run less often."""

import hashlib
import re
from collections.abc import Mapping

from rlrf4rec.revisions import git
from rlrf4rec.revisions.git import Revision

STUDIES = ("controls", "learning_curve", "bench")
READ = re.compile(r"- path: (\S+)\n\s+hash: md5\n\s+md5: (\w+)")  # of a lock, whose whole YAML takes seconds to parse


def older(revision: Revision, written: Mapping[str, str]) -> list[str]:
    """A sentence on each study of the revision that ran with other code, or on other data, than lie beside it.

    written: hashes of what the revision's default run wrote, by path.
    """
    found = []
    locks = git.read(revision, [f"studies/{name}/dvc.lock" for name in STUDIES])
    for path, content in locks.items():
        ran = dict(READ.findall((content or b"").decode(errors="replace")))
        code = [p for p, md5 in _sources(revision, ran).items() if md5 != ran[p]]
        data = [p for p, md5 in ran.items() if written.get(p, md5) != md5]
        if code or data:
            name = path.removesuffix("/dvc.lock")
            found.append(
                f"{name} is that of {git.last_change(revision, path)}, older than the run of {revision.label}: "
                f"{len(code)} of the source files and {len(data)} of the data files that it read are others now"
            )
    return found


def _sources(revision: Revision, ran: Mapping[str, str]) -> dict[str, str | None]:
    """Hashes, as DVC takes them, of the source files as they are in the revision."""
    files = git.read(revision, [p for p in ran if p.startswith("src/")])
    return {
        p: None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()
        for p, content in files.items()
    }
