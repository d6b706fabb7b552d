"""The processor of a training is in its record: what the libraries use under a setting, not what the machine has."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from quantd.models.artifacts import processor as processors
from quantd.models.artifacts.processor import MAPS, openblas_core, processor

ON_LINUX = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux", reason="the settings are those of x86-64"
)
PRINTS = "import torch; from quantd.models.artifacts.processor import processor; print(processor().text)"


def printed(**settings: str) -> str:
    command = [sys.executable, "-c", PRINTS]
    done = subprocess.run(
        command,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_a_record_names_the_model_and_each_library() -> None:
    here = processor()
    assert here.model
    assert here.onnxruntime
    assert here.text.startswith(f"{here.model}, {'VNNI' if here.vnni else 'no VNNI'}; NumPy {here.numpy}")
    assert here == processor()


@ON_LINUX
def test_a_library_that_was_removed_or_is_none_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update of NumPy during a training must not end it at its last step."""
    here, text = openblas_core(), tmp_path / "openblas.txt"
    text.write_text("no library")
    maps = "".join(f"7f00-7f01 r-xp 0000 08:01 1 {path}\n" for path in ("/numpy/libopenblas.so (deleted)", text))
    monkeypatch.setattr(processors, "MAPS", tmp_path / "maps")
    processors.MAPS.write_text(maps)
    assert openblas_core() == ""
    processors.MAPS.write_text(maps + MAPS.read_text())
    assert openblas_core() == here


@pytest.mark.long
@ON_LINUX
def test_a_record_names_what_a_setting_leaves_the_libraries() -> None:
    text = printed(OPENBLAS_CORETYPE="Prescott", ATEN_CPU_CAPABILITY="default", NPY_DISABLE_CPU_FEATURES="X86_V3")
    assert "OpenBLAS Prescott, PyTorch DEFAULT, ONNX Runtime " in text
    assert "X86_V3" not in text.split("OpenBLAS")[0]
    assert "OpenBLAS Haswell" in printed(OPENBLAS_CORETYPE="Haswell")
