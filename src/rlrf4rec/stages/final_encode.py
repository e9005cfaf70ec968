"""Stage final_encode (study): vectors of all texts about the final users."""

from rlrf4rec import paths, store
from rlrf4rec.encoding.tables import TextTable, write
from rlrf4rec.params import Encode, Loop
from rlrf4rec.tables.split import FINAL_USERS
from rlrf4rec.tables.texts import TEMPLATES, TEXTS


def run(encode: Encode, loop: Loop) -> str:
    """Encode profiles and what every policy wrote; returns the closing line."""
    rows = FINAL_USERS.read(paths.FINAL_USERS)["user"]
    names = [name for name in loop.texts if name != "items"]
    for name in names:
        of_final = f"{paths.OF_FINAL}{name}"
        path = paths.texts(of_final)
        texts = (TEXTS if name in loop.samples else TEMPLATES).read(path)
        write(TextTable(of_final, texts, rows, path, complete=True), encode, store.code("stages.final_encode", 1))
    return f"wrote {paths.vectors(f'{paths.OF_FINAL}*').parents[1]}, {len(names)} texts of {len(rows)} final users"
