"""Generated bad inputs, the same ones in every run; what was written before stays as it was."""

from collections import Counter

from good_tables import GOOD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlrf4rec.errors import RLRFError

from .fuzz_readers import BYTES, KINDS, Edit

CHECKS = list(HealthCheck)
ANY, ONE = st.binary(min_size=1, max_size=6), st.sampled_from([bytes([b]) for b in BYTES])


def edits(new=ANY):
    """One to five changes of some bytes."""
    place = st.integers(0, 999).map(lambda n: n / 1000)
    one = st.builds(Edit, st.sampled_from(KINDS), place, st.integers(1, 40), new)
    return st.lists(one, min_size=1, max_size=5)


def earlier(folder):
    """Files of earlier stages in a new folder; a check that they are as they were, and that no others lie there."""
    folder.mkdir()
    for table, frame in GOOD[:3]:
        table.write(frame, folder / f"{table.schema.name}.parquet")
    (folder / "metrics.json").write_text('{"a": 1}\n')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def check():
        """Fails where one has changed."""
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    return check


def explored(least, strategy, call, untouched):
    """Call with generated inputs; anything but success or RLRFError fails. True if enough were tried and refused.

    least: how many inputs are made, and how many of them have to be refused.
    """
    counts = Counter()

    @settings(max_examples=least[0], derandomize=True, deadline=None, database=None, suppress_health_check=CHECKS)
    @given(strategy)
    def example(given):
        """One of them."""
        try:
            call(given)
            counts["taken"] += 1
        except RLRFError:
            counts["refused"] += 1
        untouched()

    example()
    print(dict(counts))
    return counts.total() >= least[0] and counts["refused"] >= least[1]
