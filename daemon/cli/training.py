"""`quantd train`: trains a policy and writes it as an artifact. The only command that needs torch."""

from importlib.util import find_spec
from pathlib import Path

from daemon.cli.failures import CONFIG, Failure


def train(out: Path, *, bars: Path, actions: Path, symbols: list[str], seeds: int, iterations: int) -> int:
    """Progress goes to standard error, the model card to standard output."""
    missing = [name for name in ("torch", "onnx", "safetensors") if find_spec(name) is None]
    if missing:
        raise Failure(f"training needs {', '.join(missing)}: install quantd with its extra `train`", CONFIG)
    from models import training

    arguments = ["--out", str(out), "--bars", str(bars), "--actions", str(actions)]
    arguments += ["--seeds", str(seeds), "--iterations", str(iterations)]
    return training.main([*arguments, "--symbols", *symbols])
