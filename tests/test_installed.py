"""The wheel: what is in it, and its commands from an empty folder, with nothing of the checkout on the path."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from contextlib import contextmanager, suppress
from datetime import date
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest

from quantd.bundled import SOURCE_ONLY
from quantd.engine_build.recipe import LIBRARIES
from scripts.install_size import MIB, MOST_MIB, required, requirements, sizes, table
from tests.support.command_line import ROOT, answer, quantd

FREE_PORTS = ("--set", "api.port=0", "--set", "bus.port=0")
GONE = ("quantd/research", "quantd/server/api/dashboard/index.html")
PACKAGES = ("adapters", "daemon", "models", "research", "risk", "server", "strategies", "trading", "training")

DARWIN = '''"""Takes from Python what macOS does not have."""
import os, select, signal, socket, sys, sysconfig, types

sysconfig.get_config_vars()  # those of the real platform are read while it is named
GONE = {
    os: "fdatasync sched_getaffinity sched_setaffinity O_TMPFILE O_DIRECT O_PATH "
        "posix_fadvise posix_fallocate pidfd_open eventfd "
        "memfd_create getrandom getxattr setxattr listxattr removexattr copy_file_range splice pipe2 unshare setns",
    select: "epoll",
    signal: "SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT SIGPOLL sigtimedwait sigwaitinfo pidfd_send_signal",
    socket: "SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED AF_NETLINK AF_VSOCK SO_BINDTODEVICE MSG_NOSIGNAL",
}
for module, names in GONE.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "darwin"
proxies = types.ModuleType("_scproxy")
proxies._get_proxy_settings = proxies._get_proxies = dict
sys.modules["_scproxy"] = proxies


class LinuxOnly:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cysystemd", "systemd", "pyinotify", "prctl"):
            raise ModuleNotFoundError(name, name=name)


sys.meta_path.insert(0, LinuxOnly())


def no_kernel_files(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc/", "/sys/")):
        raise FileNotFoundError(2, "No such file or directory", str(arguments[0]))


sys.addaudithook(no_kernel_files)
'''


def linked(source, target):
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def copied(source, target):
    """Copies a file or a folder by links: a policy's process, which is confined, follows no symbolic link."""
    if source.is_file():
        linked(source, target)
    elif not target.exists():  # packages may share a folder
        shutil.copytree(source, target, copy_function=linked)


class Installed:
    """An environment with the wheel; the packages that it needs without an extra, and no others, lie in `core`."""

    def __init__(self, folder, wheel, core):
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        self.bin = folder / "venv" / "bin"
        self.packages = Path(sysconfig.get_path("purelib", "posix_prefix", {"base": str(folder / "venv")}))
        for distribution in required(requirements(wheel)).values():
            for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
                copied(Path(distribution.locate_file(name)), core / name)
        (self.packages / "needs.pth").write_text(f"{core}\n")
        words = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(self.bin / "python"),
            "install",
            "-q",
            "--no-deps",
            "--no-index",
        ]
        subprocess.run([*words, str(wheel)], check=True, timeout=120)

    def environment(self, path=None):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("QUANTD_", "PYTHON"))}
        return kept | {"COLUMNS": "200"} | ({"PYTHONPATH": str(path)} if path else {})

    def __call__(self, *words, path=None, at=None):
        return subprocess.run(
            [str(self.bin / "quantd"), *words],
            cwd=at or self.folder / "empty", env=self.environment(path), capture_output=True, text=True, timeout=120,
        )  # fmt: skip


pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
"""A wheel compiles the engine, which takes minutes unless `make build` has compiled it."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    words = [str(ROOT / "scripts" / "make-wheel"), str(folder), "--no-build-isolation"]
    subprocess.run(words, check=True, env=os.environ | {"PY": sys.executable}, timeout=800)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    (folder / "empty").mkdir()
    (ROOT / "build").mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="core-", dir=ROOT / "build") as core:  # beside .venv: links cost no space
        packages = Path(core, "site-packages")  # a confined process reads what has this name
        packages.mkdir()
        yield Installed(folder, wheel, packages)


@pytest.fixture(scope="module")
def backtest():
    """What a backtest of the checkout says."""
    return answer(quantd(ROOT, "backtest", "--no-compare", "--json"))


@pytest.mark.requirement("R-002", "R-229")
def test_the_wheel_holds_every_module_and_of_other_files_exactly_these(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {name for name in names if name.endswith(".py")}
    package_modules = {f"quantd/{p.relative_to(ROOT)}" for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    names_beside = (
        "__init__",
        "bundled/__init__",
        "extras",
        "records",
        "regular_file",
        "state_folder",
    )
    other_modules = {f"quantd/{name}.py" for name in names_beside}
    other_modules |= {
        f"quantd/{path.relative_to(ROOT / 'src/quantd')}" for path in (ROOT / "src/quantd/engine_build").rglob("*.py")
    }
    assert modules == package_modules | other_modules
    built = {name for name in names if name.startswith("quantd/engine_build/built/")}
    libraries = {f"{module}{EXTENSION_SUFFIXES[0]}" for module in LIBRARIES}
    assert sorted(Path(name).name for name in built) == sorted({"manifest", *libraries})
    names -= built
    at, shipped = "quantd/bundled", ROOT / "models" / "shipped"
    assert names - modules == {
        "quantd/client_types.pyi",
        "quantd/py.typed",
        "quantd/adapters/store/migrations/script.py.mako",
        *(f"quantd/{path.relative_to(ROOT)}" for path in (ROOT / "server/api/dashboard").rglob("*") if path.is_file()),
        *(
            f"quantd/server/api/docs_page/{path.name}{'.gz' if path.name.startswith('swagger-ui') else ''}"
            for path in (ROOT / "server/api/docs_page").iterdir()
        ),
        *(f"quantd/daemon/views/report/vendor/{name}" for name in ("LICENSE-uPlot.txt", "uPlot.iife.min.js",
        "uPlot.min.css")),
        *(f"{at}/{name}" for name in ("config.toml", "constraints.txt")),
        *(f"{at}/data/{name}" for name in ("README.md", "us_daily.parquet", "us_actions.csv", "crypto_daily.parquet",
        "vix_daily.parquet", "exceptions.csv", "sessions.msgpack")),
        *(f"{at}/data/licences/{name}" for name in ("Apache-2.0.txt", "MIT-crypto_daily.txt")),
        *(f"{at}/examples/train/{path.name}" for path in (ROOT / "examples" / "train").iterdir()),
        *(f"{at}/examples/notebooks/{path.name}" for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")),
        *(f"{at}/models/shipped/{path.relative_to(shipped)}" for path in shipped.rglob("*") if path.is_file()),
        *(f"{at}/models/shipped/{name}/weights.parts" for name in ("full", "lite", "transformer")),
    } - {f"{at}/models/shipped/{name}/weights.safetensors" for name in ("full", "lite", "transformer")}  # fmt: skip


def test_an_installation_without_extras_is_at_most_390_mib(wheel):
    counted = sizes(wheel)
    assert MOST_MIB == 390
    assert sum(counted.values()) <= MOST_MIB * MIB, table(counted)
    everything = sizes(wheel, ["all"])
    assert {"pandas", "scipy", "exchange-calendars", "yfinance", "curl-cffi"} <= set(everything) - set(counted)


def test_the_packages_of_the_image_are_at_most_409_mib(wheel):
    dockerfile = (ROOT / "deploy/container/Dockerfile").read_text()
    (extras,) = re.findall(r'^ARG EXTRAS="(.+)"$', dockerfile, re.MULTILINE)
    counted = sizes(wheel, extras.split())
    assert "psycopg-binary" in counted
    assert sum(counted.values()) <= 409 * MIB, table(counted)
    assert "PIP_NO_COMPILE=1" in dockerfile, "bytecode of every module would be 80 MB more"


def test_a_recorded_market_is_in_the_wheel_where_its_licence_is_stated_and_nowhere_else(wheel):
    rows = re.findall(r"^\| `(\S+)` \|.*\| ([^|]+) \|$", (ROOT / "data" / "README.md").read_text(), re.MULTILINE)
    licences = dict(rows)
    files = {path.name for path in (ROOT / "data").iterdir() if path.suffix in (".csv", ".parquet")}
    assert set(licences) == files
    assert {name for name, licence in rows if "none stated" in licence} == SOURCE_ONLY
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert names & files == files - SOURCE_ONLY


def test_the_wheel_asks_for_no_package_of_one_platform(wheel):
    (name,) = (entry for entry in zipfile.ZipFile(wheel).namelist() if entry.endswith("/METADATA"))
    packages = re.findall(r"^Requires-Dist: (\S+?)[<>=;]", zipfile.ZipFile(wheel).read(name).decode(), re.MULTILINE)
    assert len(packages) > 20
    assert not set(packages) & {"cysystemd", "systemd-python", "sdnotify", "pyinotify", "python-prctl", "uvloop"}


def test_an_installed_quantd_starts_from_an_empty_folder_and_trades_as_the_checkout_does(installed, backtest):
    assert installed("init").returncode == 0
    report = json.loads(installed("doctor", "--json", *FREE_PORTS).stdout)
    assert [check for check in report["checks"] if check["ok"] is False] == []
    assert {"packages", "files"} <= {check["name"] for check in report["checks"] if check["ok"]}
    assert installed("config", "check").returncode == 0
    assert answer(installed("backtest", "--json"))["digest"] == backtest["digest"]
    lookahead = installed("study", "lookahead", "inverse_volatility")
    assert (lookahead.returncode, lookahead.stderr) == (0, "")
    rows = answer(installed("models", "list", "--json"))
    assert len(rows) == len(list((ROOT / "models" / "shipped").iterdir()))
    assert {row["fault"] for row in rows} == {""}
    assert answer(installed("models", "list", "models/shipped/scorer", "--json"))
    extras = sysconfig.get_path("purelib")
    assert "data.bars" in installed("train", "examples/train/ppo.toml", "--show", path=extras).stdout


def test_the_first_hour_goes_from_own_symbols_to_a_watched_policy_and_the_notebooks(installed, tmp_path):
    bars = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("ts").dt.date() >= date(2018, 1, 1))
    for symbol in ("SPY", "BAC"):
        symbol_bars = bars.filter(pl.col("symbol") == symbol).drop("symbol").with_columns(pl.col("ts").dt.date())
        symbol_bars.write_csv(tmp_path / f"{symbol}.csv")
    process = installed("init", "--symbols", "SPY,BAC", "--data", "SPY.csv", "--data", "BAC.csv", at=tmp_path)
    assert (process.returncode, "this run" in process.stdout) == (0, True), process.stdout + process.stderr
    assert "Next: quantd run trades it on paper" in process.stdout
    with (tmp_path / "out.txt").open("w") as out:
        watch = subprocess.Popen(
            [str(installed.bin / "quantd"), "init", "--policy", "mine.py", "--watch"], cwd=tmp_path, stdout=out,
            stderr=subprocess.STDOUT, env=installed.environment(),
        )  # fmt: skip
        end = time.monotonic() + 90
        while "10 cuts" not in (tmp_path / "out.txt").read_text() and time.monotonic() < end:
            time.sleep(0.1)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 130
    assert "looks only backwards: 10 cuts, 0 differences" in (tmp_path / "out.txt").read_text()
    opened = installed("init", "--notebook", "all", at=tmp_path)
    assert opened.returncode == 78
    shipped = {path.name for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")}
    assert {path.name for path in (tmp_path / "notebooks").glob("*.ipynb")} == shipped
    assert f"Install it: {installed.bin / 'python'} -m pip install jupyterlab" in opened.stderr
    assert installed("connect", "ntfy", "--url", "http://127.0.0.1:9", at=tmp_path).returncode == 75


@pytest.mark.slow
def test_the_python_api_of_the_wheel_goes_from_bars_to_a_report_in_an_empty_folder(installed, tmp_path):
    book = json.loads((ROOT / "examples" / "notebooks" / "first_backtest.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    process = subprocess.run(
        [str(installed.bin / "python"), "-c", "\n".join(cells)], cwd=tmp_path, env=installed.environment(),
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    assert "Sharpe" in process.stdout
    assert (tmp_path / "report.html").stat().st_size > 10_000


@contextmanager
def running(installed):
    """A daemon of the installed program, at the end of its market; yields a GET of its API."""
    words = ["run", "--quiet", "--set", "feed.pace=fast", "--set", "feed.start=2021-01-04", *FREE_PORTS]
    place = installed.folder / "empty" / "state" / "api.json"
    daemon = subprocess.Popen(
        [str(installed.bin / "quantd"), *words], cwd=installed.folder / "empty", env=installed.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    def get(path):
        with suppress(OSError, ValueError, KeyError):
            record = json.loads(place.read_text())
            if record["pid"] == daemon.pid:
                connection = http.client.HTTPConnection("127.0.0.1", record["port"], timeout=20)
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read()
        return 0, b""

    try:
        yield daemon, get
    finally:
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=60)


@pytest.mark.requirement("R-208")
def test_an_installed_daemon_trades_and_serves_its_dashboard(installed):
    with suppress(FileExistsError):
        installed("init")
    with running(installed) as (daemon, get):
        deadline = time.monotonic() + 60
        while daemon.poll() is None and json.loads(get("/api/v1/status")[1] or "{}").get("status") != "ended":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert get("/")[1].startswith((ROOT / "server" / "api" / "dashboard" / "index.html").read_bytes()[:200])
        for name in ("dashboard.js", "dashboard.css"):
            assert get(f"/dashboard/{name}") == (200, (ROOT / "server" / "api" / "dashboard" / name).read_bytes())
        assert json.loads(get("/api/v1/status")[1])["fills"] > 0
    assert daemon.returncode == 0


def test_a_market_without_a_stated_licence_is_refused_in_a_sentence_that_says_where_it_is(installed, tmp_path):
    text = (ROOT / "config.toml").read_text().replace("data/us_daily.parquet", "data/us20_daily.parquet")
    (tmp_path / "config.toml").write_text(text)
    process = installed("config", "check", at=tmp_path)
    assert process.returncode == 78
    assert 'path = "data/us20_daily.parquet"' in process.stderr
    assert "its source states no licence, so that only the source repository has it, in data/" in process.stderr


@pytest.mark.parametrize(
    ("words", "extra", "reason"),
    [
        ("data fetch SPY --from 2024-01-02 --out spy.parquet", "yahoo", "the source yfinance needs yfinance"),
        ("data fetch BTC/USD -s ccxt --exchange kraken --from 2024-01-02 --out btc.parquet", "ccxt", "needs ccxt"),
        ("init mine --symbols KO", "yahoo", "their bars: quantd init mine --symbols KO --data FILE"),
        ("run --quiet --set feed.kind=yfinance", "yahoo", "the source yfinance needs yfinance"),
        ("backtest --set universe.calendar=XPHS", "calendars", 'the calendar "XPHS" is not bundled with quantd'),
        ("study signal momentum_126", "study", "a study of signals needs scipy"),
        ("run --quiet --set store.url=postgresql://quantd@localhost/quantd", "postgres", "needs psycopg"),
        ("train examples/train/ppo.toml", "train", "training needs torch, onnx"),
        ("mcp", "mcp", "quantd mcp needs mcp"),
    ],
)  # fmt: skip
def test_a_missing_extra_is_named_with_the_command_that_adds_it_to_this_installation(
    installed, wheel, words, extra, reason, tmp_path
):
    (tmp_path / "config.toml").write_text((ROOT / "config.toml").read_text())
    process = installed(*words.split(), at=tmp_path)
    output = process.stdout + process.stderr
    assert (process.returncode, "Traceback" in output, "fault of quantd" in output) == (78, False, False), output
    assert reason in output
    python = installed.bin / "python"
    assert f"install quantd with its extra `{extra}`: {python} -m pip install '{wheel}[{extra}]'" in output


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("quantd.backtest('equal_weight', bars=quantd.example_bars()).equity.to_pandas()", "to_pandas needs pandas"),
        ("sessions('XNYS', date(1955, 1, 3), date(1961, 1, 3))", "the years 1960 to 2050, but 1955 to 1961 are needed"),
    ],
)
def test_python_code_gets_the_same_text_as_an_exception(installed, code, text, tmp_path):
    code = f"""
import quantd
from datetime import date
from quantd.adapters.calendars import sessions
try:
    {code}
except quantd.Error as error:
    print(error.exit_code, error)
"""
    process = subprocess.run(
        [str(installed.bin / "python"), "-c", code], cwd=tmp_path, env=installed.environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("78 ")
    assert text in process.stdout
    assert "install quantd with its extra `calendars`: " in process.stdout


@pytest.mark.slow
def test_the_core_runs_where_python_has_only_what_macos_gives_it(installed, backtest, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(DARWIN)
    command = [str(installed.bin / "python"), "-c", "import os, sys; print(sys.platform, hasattr(os, 'fdatasync'))"]
    platform_check = subprocess.run(
        command, env=installed.environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert platform_check.stdout.split() == ["darwin", "False"]
    (tmp_path / "empty").mkdir()
    for words in (["--help"], ["init"], ["config", "check"], ["doctor", *FREE_PORTS]):
        process = installed(*words, path=tmp_path, at=tmp_path / "empty")
        assert process.returncode == 0, process.stdout + process.stderr
    at_end = ["--set", "feed.pace=fast", "--set", "feed.at_end=stop"]
    report = answer(installed("run", "--json", *at_end, *FREE_PORTS, path=tmp_path, at=tmp_path / "empty"))
    assert report["digest"] == backtest["digest"]
    assert answer(installed("replay", "--json", path=tmp_path, at=tmp_path / "empty"))["same"]


@pytest.mark.requirement("R-271")
def test_the_doctor_fails_where_a_package_or_a_file_is_missing(installed):
    with suppress(FileExistsError):
        installed("init")
    away = {place: place.with_name("away") for place in (installed.packages / name for name in GONE)}
    for place, there in away.items():
        place.rename(there)
    try:
        process = installed("doctor", "--json", *FREE_PORTS)
    finally:
        for place, there in away.items():
            there.rename(place)
    assert process.returncode == 1
    bad = {check["name"]: check["text"] for check in json.loads(process.stdout)["checks"] if check["ok"] is False}
    assert "research cannot be imported" in bad["packages"]
    assert "the first is quantd/research/__init__.py" in bad["files"]
