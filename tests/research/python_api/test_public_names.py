"""What `import quantd` costs, gives and survives."""

import json
import subprocess
import sys

import pytest

import quantd
from tests.support.checkout import ROOT, environment

HEAVY = ("torch", "pandas", "polars", "numpy", "aiohttp", "pydantic", "scipy")


def printed(code, folder=None):
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder, env=environment(ROOT)
    )
    return json.loads(process.stdout.splitlines()[-1])


def test_an_import_loads_nothing_heavy():
    code = (
        "import sys, json; import quantd; "
        f"print(json.dumps([[n for n in {HEAVY} if n in sys.modules], "
        "sorted(m for m in sys.modules if m.startswith('quantd'))]))"
    )
    loaded, modules = printed(code)
    assert loaded == []
    engine = ["quantd.engine_build", "quantd.engine_build.hook", "quantd.engine_build.recipe"]  # finds compiled modules
    assert modules == ["quantd", *engine]


@pytest.mark.long
def test_the_functions_load_neither_torch_nor_pandas_nor_a_server():
    code = (
        "import sys, json, quantd; quantd.backtest; quantd.open_run; quantd.load;"
        "print(json.dumps([n for n in ('torch', 'pandas', 'aiohttp') if n in sys.modules]))"
    )
    assert printed(code) == []


def test_every_public_name_is_there_and_listed():
    for name in quantd.__all__:
        assert getattr(quantd, name) is not None
        assert name in dir(quantd)
    assert quantd.__version__
    assert set(quantd._HOMES) == set(quantd.__all__)


@pytest.mark.long
def test_a_users_own_modules_of_our_names_do_no_harm(tmp_path, bars):
    for name in ("models", "risk", "trading", "strategies", "adapters", "research", "server", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the user\\'s own module was imported')")
    (tmp_path / "daemon.py").write_text("raise SystemExit('the user\\'s own module was imported')")
    bars.write_parquet(tmp_path / "bars.parquet")
    code = (
        "import json, polars, quantd; r = quantd.backtest('risk_parity', bars=polars.read_parquet('bars.parquet'));"
        "print(json.dumps([len(r.orders) > 0, r.verdict.trials]))"
    )
    assert printed(code, tmp_path) == [True, 1]
