"""Settings under which the numerical libraries behave as on another processor, and whether each took effect."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

LOADER: Final = Path("/lib64/ld-linux-x86-64.so.2")
TUNABLES: Final = "glibc.cpu.hwcaps=-AVX2,-FMA"
CLEARED: Final = (
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "GLIBC_TUNABLES", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS",
    "NVPL_BLAS_DEBUG_CPU_TYPE",
)  # fmt: skip
"""Variables that a row sets itself or leaves out, whatever the shell has."""

Facts = Mapping[str, Any]
"""What a process reports of itself: `processor` (the fields of Processor), `onednn` and `glibc_avx2`."""


class Setting(NamedTuple):
    """A row of the table.

    `variables` are those of the process, given the facts of the plain one, or None where the setting cannot exist here.
    `effect` is whether the facts of the process show the setting. `emulator` is a program in front of Python.
    With `same_training` the weights of a training must be those of the plain row, unless that one uses AVX-512.
    """

    name: str
    variables: Callable[[Facts], dict[str, str] | None]
    effect: Callable[[Facts], bool]
    same_training: bool
    emulator: tuple[str, ...] = ()


def without_avx2(plain: Facts) -> dict[str, str] | None:
    """Switch off every instruction set that NumPy uses beside its baseline here; names it does not use are errors."""
    dispatch = str(plain["processor"]["numpy"])
    return None if dispatch in ("", "baseline") else {"NPY_DISABLE_CPU_FEATURES": dispatch}


def openblas(core: str) -> Callable[[Facts], dict[str, str] | None]:
    """Choose the functions of a core; None where NumPy has another BLAS."""
    return lambda plain: {"OPENBLAS_CORETYPE": core} if plain["processor"]["blas"] else None


def together(plain: Facts) -> dict[str, str] | None:
    """All variables at once, with OpenBLAS for Prescott."""
    merged: dict[str, str] = {}
    for setting in _united():
        merged |= setting.variables(plain) or {}
    return merged


def all_in_effect(facts: Facts) -> bool:
    """Whether each of the settings taken together shows."""
    return all(setting.effect(facts) for setting in _united())


def _united() -> list[Setting]:
    """The settings that ALL is made of: OpenBLAS has the functions of one core, those of Prescott."""
    return [setting for setting in SETTINGS if setting.name not in (ALL, HASWELL) and not setting.emulator]


PLAIN: Final = "plain"
HASWELL: Final = "OpenBLAS Haswell"
GLIBC: Final = "glibc without AVX2, FMA"
ALL: Final = "all at once"

SETTINGS: Final = (
    Setting(PLAIN, lambda plain: {}, lambda facts: True, same_training=True),
    Setting(
        "numpy without AVX2", without_avx2, lambda facts: facts["processor"]["numpy"] == "baseline", same_training=True
    ),
    Setting(
        "OpenBLAS Prescott", openblas("Prescott"), lambda facts: facts["processor"]["blas"] == "Prescott",
        same_training=False,
    ),
    Setting(
        HASWELL, openblas("Haswell"), lambda facts: facts["processor"]["blas"] == "Haswell", same_training=False,
    ),
    Setting(
        "ATen default", lambda plain: {"ATEN_CPU_CAPABILITY": "default"},
        lambda facts: facts["processor"]["torch"] == "DEFAULT", same_training=False,
    ),
    Setting(
        "oneDNN SSE4.1", lambda plain: {"ONEDNN_MAX_CPU_ISA": "SSE41"}, lambda facts: facts["onednn"] == "Intel SSE4.1",
        same_training=True,
    ),
    Setting(
        GLIBC, lambda plain: {"GLIBC_TUNABLES": TUNABLES} if LOADER.exists() else None,
        lambda facts: facts["glibc_avx2"] is False, same_training=True,
    ),
    Setting(ALL, together, all_in_effect, same_training=False),
    Setting(
        "qemu Haswell", lambda plain: {}, lambda facts: "AVX2" in facts["processor"]["torch"], same_training=False,
        emulator=("qemu-x86_64", "-cpu", "Haswell"),
    ),
    Setting(
        "qemu Nehalem", lambda plain: {}, lambda facts: facts["processor"]["torch"] == "DEFAULT", same_training=False,
        emulator=("qemu-x86_64", "-cpu", "Nehalem"),
    ),
)  # fmt: skip


QUICK: Final = tuple(setting for setting in SETTINGS if setting.name not in (GLIBC, ALL) and not setting.emulator)
"""The settings of the quick form."""


def named(parts: Sequence[str]) -> tuple[Setting, ...]:
    """Return the plain setting, and those whose name contains one of `parts`; all without parts."""
    return tuple(
        setting for setting in SETTINGS
        if setting.name == PLAIN or not parts or any(part.lower() in setting.name.lower() for part in parts)
    )  # fmt: skip


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a row: one thread, and no other setting than its own."""
    kept = {name: value for name, value in os.environ.items() if name not in CLEARED}
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | variables


def emulator_of(setting: Setting) -> list[str] | None:
    """The words in front of Python; None where the emulator is not installed."""
    if not setting.emulator:
        return []
    program = next(filter(None, map(shutil.which, (setting.emulator[0], f"{setting.emulator[0]}-static"))), None)
    return None if program is None else [program, *setting.emulator[1:]]


def glibc_avx2() -> bool | None:
    """Whether the C library uses AVX2 in this process' environment; None where its loader does not report it."""
    if platform.machine() not in ("x86_64", "AMD64") or not LOADER.exists():
        return None
    shown = subprocess.run([str(LOADER), "--list-diagnostics"], capture_output=True, text=True, check=False).stdout
    # the second word of leaf 7: bit 5 is AVX2 (Intel SDM, CPUID)
    match = re.search(r"^x86\.cpu_features\.features\[0x1\]\.active\[0x1\]=0x([0-9a-f]+)$", shown, re.MULTILINE)
    return None if match is None else bool(int(match[1], 16) >> 5 & 1)
