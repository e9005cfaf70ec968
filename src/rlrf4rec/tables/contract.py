"""Reading and writing tables through their contract: one pandera model and the rules across rows.

The writer checks before it writes and the reader before it returns, both with the same contract. A broken
one names file, column, rule, the first rows, and what to do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from rlrf4rec.errors import InputError, explain
from rlrf4rec.files import atomic
from rlrf4rec.tables import parquet

SHOWN = 3  # rows shown of a violated rule


class ContractError(InputError):
    """A table that breaks its contract."""


@dataclass(frozen=True)
class Rule:
    """A rule across rows: `violations` gives the rows that break it."""

    column: str
    sentence: str
    advice: str
    violations: Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Table:
    """A pandera schema (strict, no coercion), rules across rows, and the stage to run again when broken."""

    schema: pa.DataFrameSchema
    stage: str
    rules: tuple[Rule, ...] = ()

    def check(self, frame: pl.DataFrame, path: Path) -> pl.DataFrame:
        """Return `frame` unchanged, or raise ContractError."""
        try:
            self.schema.validate(frame, lazy=True)
        except SchemaErrors as error:
            raise ContractError(_explain(error, path, self.stage)) from None
        except (
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
        ) as error:  # of the reader of failures, at types that it can't show
            types = ", ".join(f"{name} {kind}" for name, kind in frame.schema.items())
            odd = ContractError(f"{path}: columns {types} can't be checked ({error}); {_advice(self.stage)}")
            raise explain(error) or odd from None
        for rule in self.rules:
            require(rule.violations(frame), path, rule.column, rule.sentence, rule.advice)
        return frame

    def write(self, frame: pl.DataFrame, path: Path) -> None:
        """Check, then write Parquet, whole or not at all."""
        self.check(frame, path)
        with atomic(path) as temporary:
            frame.write_parquet(temporary, statistics=False)

    def read(self, path: Path) -> pl.DataFrame:
        """Read Parquet and check."""
        try:
            frame = parquet.whole(path)
        except FileNotFoundError:
            raise InputError(f"{path}: missing; run `dvc repro {self.stage}` (or `dvc pull --allow-missing`)") from None
        except (Exception, pl.exceptions.PanicException) as error:  # readers of broken files raise anything
            broken = InputError(f"{path}: not a readable Parquet file ({error}); run `dvc repro {self.stage}`")
            raise explain(error, path) or broken from None
        return self.check(frame, path)


def table(model: type[pa.DataFrameModel], stage: str, *rules: Rule) -> Table:
    """The contract of a pandera model."""
    return Table(model.to_schema(), stage, rules)


def require(violations: pl.DataFrame, path: Path | str, column: str, sentence: str, advice: str) -> None:
    """Raise ContractError unless `violations` is empty."""
    if violations.height:
        raise ContractError(
            f"{path}: column {column}: {sentence}: broken by {violations.height} row(s), the first:\n"
            f"{_rows(violations)}\n  What to do: {advice}"
        )


def _rows(frame: pl.DataFrame) -> str:
    rows = frame.head(SHOWN).to_dicts()
    return "\n".join("  " + ", ".join(f"{k}={v!r:.80}" for k, v in row.items()) for row in rows)


def _explain(error: SchemaErrors, path: Path, stage: str) -> str:
    lines = []
    for (column, check), cases in error.failure_cases.group_by("column", "check", maintain_order=True):
        shown = ", ".join(f"row {r['index']}: {r['failure_case']!r:.80}" for r in cases.head(SHOWN).to_dicts())
        lines.append(f"{path}: column {column}: {check}: broken by {cases.height} value(s), the first: {shown}")
    return "\n".join([*lines, f"  What to do: {_advice(stage)}"])


def _advice(stage: str) -> str:
    return f"mend the data or the code that wrote it, then run `dvc repro {stage}`"
