"""Times of interactions, written as numbers or as text, to whole numbers that keep every fraction of a second."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from rlrf4rec.datasets.found import refuse

UNITS = {  # how many make a second; the first has numbers below 1e11: years up to 5138, as of 1973 in each unit
    "seconds": 1,
    "milliseconds": 1_000,
    "microseconds": 1_000_000,
    "nanoseconds": 1_000_000_000,
}
LONGEST = 100_000_000_000  # seconds; a larger number is of the next unit
BILLION = 1_000_000_000
TIMES = "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d"
NO_TIME = "is no time: neither seconds since 1970 nor 2024-05-01, 2024-05-01 10:00:00 or 2024-05-01T10:00:00Z"


def timed(frame: pl.DataFrame, files: Sequence[Path]) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows with `time`: seconds since 1970, or as many parts of one as the finest time needs; and counts.

    frame: `line`, `timestamp` as text, and `time`, the number that the text is, null where it is none or has a
    fraction. The counts name a unit only where it is not seconds: `timestamps_in_...` that of the file,
    `timestamps_per_second` that of `time`. InputError for what is no time, before 1970, or of several units.
    """
    counts: dict[str, int] = {}
    rest = pl.lit(0)
    if frame["time"].null_count():
        frame, rest = frame.with_columns(_parted()), pl.col("rest")
        if dates := frame["time"].null_count():
            frame = frame.with_columns(_dated())
            counts["timestamps_as_text"] = dates
    refuse(frame, files, "timestamp", pl.col("time").is_null(), NO_TIME)
    refuse(frame, files, "timestamp", pl.col("time") < 0, "is before 1970")
    unit = _unit(frame, files)
    if unit != "seconds":
        counts[f"timestamps_in_{unit}"] = frame.height
    parts = _parts(frame, rest, UNITS[unit])
    if parts > 1:
        counts["timestamps_per_second"] = parts
    return frame.with_columns(time=_turned(rest, UNITS[unit], parts)), counts


def _parted() -> list[pl.Expr]:
    """`time` and `rest` of numbers: whole units and billionths of one."""
    text = pl.col("timestamp").str.strip_chars()
    read = text.str.extract(r"^(\d+)(?:\.\d*)?$").cast(pl.Int64, strict=False)
    decimals = text.str.extract(r"^\d+\.(\d+)$").str.slice(0, 9).str.pad_end(9, "0").cast(pl.Int64)
    number = text.cast(pl.Float64, strict=False)  # 5e-08 and the like
    floor = number.floor()
    after = ((number - floor) * BILLION).round().clip(0, BILLION - 1).cast(pl.Int64, strict=False)
    rest = pl.when(read.is_null()).then(after).otherwise(decimals).fill_null(0)
    return [pl.coalesce("time", read, floor.cast(pl.Int64, strict=False)).alias("time"), rest.alias("rest")]


def _dated() -> list[pl.Expr]:
    """`time` and `rest` of dates, where there is no number: seconds and billionths of one."""
    text = pl.col("timestamp").str.strip_chars()
    date = pl.coalesce([_microseconds(text, form) for form in TIMES])
    none = pl.col("time").is_null()
    parts = {"time": date // 1_000_000, "rest": date % 1_000_000 * 1000}
    return [pl.when(none).then(part).otherwise(name).alias(name) for name, part in parts.items()]


def _microseconds(text: pl.Expr, form: str) -> pl.Expr:
    """Since 1970 of a time that is written in `form`, UTC where it names no zone; null where it is not."""
    kind = pl.Datetime("us", "UTC") if form.endswith("z") else pl.Datetime("us")
    return text.str.strptime(kind, form, strict=False).dt.epoch("us")


def _unit(frame: pl.DataFrame, files: Sequence[Path]) -> str:
    """The unit that times are in, told by their size; InputError where they are in several."""
    least, most = frame.select(pl.min("time").fill_null(0), most=pl.max("time").fill_null(0)).row(0)
    other, unit = (next(name for name, parts in UNITS.items() if time <= LONGEST * parts) for time in (least, most))
    if unit != other:
        larger = pl.col("time") > LONGEST * UNITS[unit] // 1000
        few = frame.filter(larger).height * 2 <= frame.height
        bad, named, others = (larger, unit, other) if few else (~larger, other, unit)
        refuse(frame, files, "timestamp", bad, f"is in {named}, others are in {others}")
    return unit


def _parts(frame: pl.DataFrame, rest: pl.Expr, unit: int) -> int:
    """The fewest parts of a second in which every time is a whole number; where none is, the most that numbers hold."""
    most = int(frame["time"].max() or 0)  # type: ignore[arg-type]
    held = [parts for parts in UNITS.values() if most * parts // unit < 2**62]
    for parts in held:
        over = pl.col("time") % max(1, unit // parts)
        under = rest * max(1, parts // unit) % BILLION if parts >= unit else rest
        if not frame.select(((over != 0) | (under != 0)).any()).item():
            return parts
    return held[-1]


def _turned(rest: pl.Expr, unit: int, parts: int) -> pl.Expr:
    """Times of a `unit`-th of a second and the rest of each, in `parts` of a second."""
    if parts < unit:
        return pl.col("time") // (unit // parts)
    return pl.col("time") * (parts // unit) + rest * (parts // unit) // BILLION
