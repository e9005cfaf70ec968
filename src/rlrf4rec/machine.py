"""What the machine is slow at."""

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlrf4rec.params import Params

NATIVE = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one as ARM names it
CPUINFO = Path("/proc/cpuinfo")


def bfloat16_keys(params: "Params", blocks: Iterable[str]) -> list[str]:
    """Keys of these params blocks that ask for bfloat16; items' texts need the LLM only where it writes them."""
    used = [block for block in blocks if block != "knowledge" or params.knowledge.items == "llm"]
    keys = [(block, name) for block in used for name in ("dtype", "precision")]
    return [f"{block}.{name}" for block, name in keys if getattr(getattr(params, block), name, None) == "bfloat16"]


def slow_bfloat16(keys: list[str], cpuinfo: str, cuda: bool) -> str:
    """A warning for a CPU that has to emulate bfloat16, or nothing; no `cpuinfo` says nothing of the CPU."""
    if not keys or not cpuinfo or cuda or NATIVE & set(cpuinfo.split()):
        return ""
    return (
        f"warning: {', '.join(keys)}: bfloat16, which this CPU only emulates: many times slower; "
        "float32 is the quicker choice here"
    )


def cpuinfo() -> str:
    """What Linux says of the CPU; nothing elsewhere."""
    return CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""


def name() -> str:
    """What the CPU calls itself."""
    lines = [line.split(":", 1)[1].strip() for line in cpuinfo().splitlines() if line.startswith("model name")]
    return lines[0] if lines else platform.processor() or platform.machine()
