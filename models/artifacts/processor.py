"""Names the processor of this machine, and the instruction sets that the numerical libraries use on it.

NumPy, OpenBLAS, PyTorch and ONNX Runtime choose their functions by the processor. These functions add in different
orders, so that the last digits of a sum depend on the choice. After some thousand steps of a training, the weights
depend on it too.
"""

import ctypes
import platform
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

CPUINFO: Final = Path("/proc/cpuinfo")
MAPS: Final = Path("/proc/self/maps")

CORE_NAMES: Final = ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename64_",
                     "openblas_get_corename")  # fmt: skip
"""Names of OpenBLAS' function for its core, in the builds of NumPy and in those of distributions."""

ALIASES: Final = {"Katmai": "Prescott"}
"""OpenBLAS has one set of functions for both on 64 bits, and names it by the older one."""

EIGHT_BIT: Final = frozenset({"avx512_vnni", "avx_vnni"})
"""Flags of processors that add products of eight bits in 32 bits. Other processors cut the sum of two at 16 bits."""


class Processor(msgspec.Struct, frozen=True):
    """A processor and the choices of the libraries; an empty text means unknown, or a library that is not loaded.

    `numpy` has the instruction sets that NumPy uses above its baseline. `vnni` is True when products of eight bits are
    added in 32 bits.
    """

    model: str
    numpy: str
    blas: str
    torch: str
    onnxruntime: str
    vnni: bool

    @property
    def text(self) -> str:
        libraries = (
            ("NumPy", self.numpy), ("OpenBLAS", self.blas), ("PyTorch", self.torch), ("ONNX Runtime", self.onnxruntime),
        )  # fmt: skip
        used = ", ".join(f"{name} {choice}" for name, choice in libraries if choice)
        return f"{self.model}, {'' if self.vnni else 'no '}VNNI; {used}"


def processor() -> Processor:
    """Return the processor of this process. PyTorch is included only if it is already loaded."""
    facts = _cpuinfo()
    torch: Any = sys.modules.get("torch")
    return Processor(
        model=facts.get("model name", "") or platform.processor() or platform.machine(),
        numpy=numpy_dispatch(),
        blas=openblas_core(),
        torch="" if torch is None else torch.backends.cpu.get_cpu_capability(),
        onnxruntime=_version("onnxruntime"),
        vnni=not EIGHT_BIT.isdisjoint(facts.get("flags", "").split()),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def _cpuinfo() -> dict[str, str]:
    """The entries of the first processor in /proc/cpuinfo by name; empty on other systems than Linux."""
    try:
        first = CPUINFO.read_text(errors="replace").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def numpy_dispatch() -> str:
    """Return the instruction sets that NumPy uses beside its baseline ("X86_V3"), or "baseline"."""
    try:
        core = import_module("numpy._core._multiarray_umath")
    except ImportError:
        return ""
    features: dict[str, bool] = core.__cpu_features__
    chosen = [name for name in core.__cpu_dispatch__ if features.get(name)]
    return " ".join(chosen) or "baseline"


def openblas_core() -> str:
    """Return the processor whose functions OpenBLAS uses ("Haswell"); empty where no OpenBLAS is loaded."""
    try:
        lines = MAPS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    files = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line.rpartition("/")[2]}
    # the OpenBLAS of numpy comes first
    for path in sorted(files, key=lambda path: ("numpy" not in path, path)):
        try:
            library = ctypes.CDLL(path)
        except OSError:  # an update removed the library during the training that ends here
            continue
        for name in CORE_NAMES:
            function = getattr(library, name, None)
            if function is not None:
                function.restype = ctypes.c_char_p
                core = (function() or b"").decode("ascii", "replace")
                return ALIASES.get(core, core)
    return ""
