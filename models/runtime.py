"""Runs a trained policy in ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path

from trading.ports import Policy


def load_policy(folder: Path, params: Mapping[str, object]) -> Policy:
    raise ValueError(f"{folder}: no artifacts yet")
