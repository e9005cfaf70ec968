"""What the machine computes in: the one place that decides on an arithmetic, and the words for it.

`auto` is bfloat16 where the device has it in hardware, else float32: a CPU that only emulates bfloat16 takes several
times as long for it. It is decided by what the device can do, never by a measurement, so that it is the same in
every run.
"""

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlrf4rec.params import Params

AUTO = "auto"
FIELDS = ("dtype", "precision")  # the params that name an arithmetic
# Instructions for products in bfloat16, the quickest first: x86 has the first two, ARM the others.
NATIVE = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")
# Limits that oneDNN knows and that leave such instructions in; under any other one it emulates bfloat16.
UNLIMITED = ("DEFAULT", "ALL", "BF16", "FP16", "AMX", "AVX10")
CPUINFO = Path("/proc/cpuinfo")


def device(asked: str) -> str:
    """Where `llm.device` = auto | cpu | cuda puts the LLM: cpu | cuda, whether or not there is a GPU for the last."""
    import torch

    return "cuda" if asked == "cuda" or (asked == AUTO and torch.cuda.is_available()) else "cpu"


def bfloat16_in_hardware(device: str) -> bool:
    """Whether products in bfloat16 are computed as such; a GPU that is not there is taken for one that does."""
    import torch

    if device == "cuda":
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    return _instructions() is not None


def _instructions() -> str | None:
    """The CPU's instructions for bfloat16, None where there are none or where the environment forbids them."""
    import torch

    limit = (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL").upper()
    if not any(word in limit for word in UNLIMITED) or os.environ.get("ATEN_CPU_CAPABILITY") in ("default", "avx2"):
        return None
    there = torch.cpu.get_capabilities()
    return next((name for name in NATIVE if there.get(name)), None)


def resolve(params: "Params") -> "Params":
    """The params with what this machine computes in, in place of every `auto`."""
    keys = asked(params, type(params).model_fields, AUTO)
    if not keys:
        return params
    chosen = "bfloat16" if bfloat16_in_hardware(device(params.llm.device)) else "float32"
    blocks: dict[str, dict[str, str]] = {}
    for key in keys:
        block, name = key.split(".")
        blocks.setdefault(block, {})[name] = chosen
    return params.model_copy(
        update={block: getattr(params, block).model_copy(update=values) for block, values in blocks.items()}
    )


def asked(params: "Params", blocks: Iterable[str], arithmetic: str | None = None) -> list[str]:
    """Keys of these blocks that ask for this arithmetic, or for any: `sample.dtype`, `dpo.precision` ..."""
    keys = [(block, name) for block in blocks for name in FIELDS if hasattr(getattr(params, block), name)]
    return [f"{b}.{n}" for b, n in keys if arithmetic in (None, getattr(getattr(params, b), n))]


def used(params: "Params", blocks: Iterable[str]) -> list[str]:
    """Blocks in which a stage asks for the LLM: items' texts need it only where it writes them."""
    return [block for block in blocks if block != "knowledge" or params.knowledge.items == "llm"]


def emulated(keys: list[str], device: str) -> str:
    """A warning where these keys ask for bfloat16 and the device only emulates it, with what that costs; or nothing."""
    if not keys or bfloat16_in_hardware(device):
        return ""
    return (
        f"warning: {', '.join(keys)}: bfloat16, which this machine only emulates: a product of matrices takes "
        f"{slowdown(device):.1f} times as long as in float32; auto takes float32 here"
    )


def slowdown(device: str) -> float:
    """Time of a product of matrices in bfloat16 over that in float32, as measured now."""
    return flops("float32", device) / flops("bfloat16", device)


PIECES = 8  # of a measurement: the fastest counts, so a moment in which others have the cores does not


def flops(arithmetic: str, device: str = "cpu", least: float = 0.2) -> float:
    """Operations a second of products of matrices, with the threads that stages get, measured for `least` seconds."""
    import torch

    kind = getattr(torch, arithmetic)
    height = 1024 if device == "cpu" else 32 * 1024  # a GPU takes longer to begin a small product than for the product
    rows, wide = (torch.randn(size, 576, device=device).to(kind) for size in (height, 1536))

    def product() -> None:
        """A GPU has done its work when the number is here."""
        torch.nn.functional.linear(rows, wide).sum().item()

    reached = 2 * height * 576 * 1536 / _fastest(product, least)
    measured[f"{arithmetic}_gflop_per_s"] = round(reached / 1e9, 1)
    return reached


def per_number(least: float = 0.1) -> float:
    """Seconds that the threads of a stage together take for a number in a pass over memory: a gate, in float32."""
    import torch

    gate, value = torch.randn(2, 1024, 1536)
    each = _fastest(lambda: torch.nn.functional.silu(gate).mul_(value), least) / gate.numel()
    measured["ns_per_number"] = round(each * 1e9, 4)
    return each


def _fastest(work: Callable[[], object], least: float) -> float:
    """Seconds that `work` takes: the smallest mean of PIECES that take `least` seconds together, after a first go."""
    work()
    means = []
    for _ in range(PIECES):
        begin, times = time.perf_counter(), 0
        while (spent := time.perf_counter() - begin) < least / PIECES or not times:
            work()
            times += 1
        means.append(spent / times)
    return min(means)


measured: dict[str, float] = {}  # by `flops` and `per_number`, as last measured
_counted = [0.0]


def count(operations: float) -> None:
    """Add operations of products of matrices that the running stage has done with its LLM."""
    _counted[0] += operations


def counted() -> float:
    """All that were counted since the program began."""
    return _counted[0]


def capability(device: str) -> str:
    """What the results of this device depend on beyond the code: a CPU's instructions, a GPU's name."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name(0)
    return _instructions() or torch.backends.cpu.get_cpu_capability().lower()


def arithmetic(kind: str = "float32", device: str = "cpu", threads: int | None = None) -> str:
    """What a stage has computed in, in words: `float32 on avx2, 2 threads`; `threads`: those of its workers, if any."""
    import torch

    threads = threads or torch.get_num_threads()
    return f"{kind} on {capability(device)}, {threads} thread{'s' if threads > 1 else ''}"


def said(content: Mapping[str, Any]) -> str | None:
    """What a metrics file, or the first of its parts that does, says its stage computed in.

    >>> said({"base": {"arithmetic": "float32 on avx2, 1 thread"}}), said({"texts": 5})
    ('float32 on avx2, 1 thread', None)
    """
    own = content.get("arithmetic")
    inner = (said(part) for part in content.values() if isinstance(part, Mapping))
    return own if isinstance(own, str) else next((found for found in inner if found), None)


def cpu_name() -> str:
    """What the CPU calls itself."""
    text = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    lines = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return lines[0] if lines else platform.processor() or platform.machine()
