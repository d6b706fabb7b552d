"""The first start of a checkout or an installation: without make, without a compiler, behind a company's proxy."""

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.checkout import BUILDINGS, ROOT
from tests.support.mqtt import certificate

RECORD = '#!/bin/sh\necho "$(basename "$0") $* threads=$OMP_NUM_THREADS" >> "$RECORD"\n'


def started(folder: Path, *words: str) -> list[str]:
    """What `./run` of a folder calls, with programs of the test in the place of the environment."""
    record = folder / "record"
    record.unlink(missing_ok=True)
    env = {"PATH": "/usr/bin:/bin", "RECORD": str(record)}
    process = subprocess.run([folder / "run", *words], cwd="/", env=env, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return record.read_text().splitlines()


def test_a_checkout_starts_without_make_and_makes_its_environment_once(tmp_path: Path) -> None:
    for name in ("scripts/make-env", ".venv/bin/python", ".venv/bin/quantd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(RECORD + ("touch .venv/.core\n" if name == "scripts/make-env" else ""))
        (tmp_path / name).chmod(0o755)
    shutil.copy(ROOT / "run", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_000_000_000, 1_000_000_000))
    start_commands = ["python -P -m quantd.engine_build later threads=1", "quantd run --set api.port=0 threads=1"]
    assert started(tmp_path, "--set", "api.port=0") == ["make-env core threads=1", *start_commands]
    assert started(tmp_path, "--set", "api.port=0") == start_commands
    os.utime(tmp_path / ".venv" / ".core", (900_000_000, 900_000_000))
    assert started(tmp_path, "--set", "api.port=0") == ["make-env core threads=1", *start_commands], (
        "the packages have changed"
    )


def test_make_run_is_the_same_script() -> None:
    # within `make test-all` an inner make would name its directory too
    env = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS")}
    command = ["make", "-n", "--no-print-directory", "run", "ARGS=--quiet"]
    process = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert process.stdout == "./run --quiet\n"


@pytest.mark.slow
def test_without_a_compiler_an_installation_is_pure_and_so_fits_every_python(tmp_path: Path) -> None:
    words = [str(ROOT / "scripts" / "make-wheel"), str(tmp_path), "--no-build-isolation"]
    # `pip install .` leaves QUANTD_ENGINE alone, and scripts/make-wheel would set it
    env = os.environ | {"PY": sys.executable, "CC": "no-compiler", "QUANTD_ENGINE": "optional"}
    subprocess.run(words, env=env, check=True, timeout=240)
    assert [path.name.split("-", 2)[2] for path in tmp_path.iterdir()] == ["py3-none-any.whl"]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("engine", "code", "printed", "line"),
    [
        ("", 0, "None False\n", "quantd: the engine runs uncompiled, more slowly: CC = no-compiler: there is no such"),
        ("required", 1, "", "quantd: the engine is not compiled: CC = no-compiler: there is no such compiler; "),
    ],
)
def test_the_missing_compiler_is_named_in_one_line(
    tmp_path: Path, engine: str, code: int, printed: str, line: str
) -> None:
    """In a copy of the checkout: a build of this source, where there is one, serves without a compiler."""
    shutil.copytree(ROOT / "src", tmp_path / "src", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILDINGS:
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    program = (
        "import importlib.util as u; spec = u.spec_from_file_location('setup_script', 'setup.py'); "
        "script = u.module_from_spec(spec); spec.loader.exec_module(script); "
        "print(script.engine(), script.OfPlatform.has_ext_modules(None))"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("QUANTD_PURE_WHEEL", "PYTHONPATH")}
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env | {"CC": "no-compiler", "QUANTD_ENGINE": engine},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (code, printed), process.stderr
    assert process.stderr.count("\n") == 1
    assert process.stderr.startswith(line)


class Index(BaseHTTPRequestHandler):
    """Answers nothing that pip wants; a client that does not trust the certificate comes to no request at all."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *arguments: object) -> None:
        """No lines on stderr."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a package index with a certificate that nobody trusts, and the certificate."""
    authority, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}/simple", authority
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_certificate_that_is_not_trusted_is_named_and_is_no_missing_network(
    index: tuple[str, Path], tmp_path: Path
) -> None:
    address, authority = index
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "make-env", tmp_path / "scripts")
    (tmp_path / "constraints.txt").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "x"\nversion = "1"\n'
    )
    env = {"PATH": os.environ["PATH"], "PY": sys.executable, "HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null",
           "PIP_INDEX_URL": address, "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}  # fmt: skip
    words = ["sh", str(tmp_path / "scripts" / "make-env"), "core"]
    process = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert process.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in process.stderr, "pip's own line"
    assert "has a certificate that this Python does not trust" in process.stderr
    assert "PIP_CERT=/path/to/authority.pem" in process.stderr
    assert "no network" not in process.stderr
    # with the remedy the certificate is no longer what fails
    second_process = subprocess.run(
        words, env=env | {"PIP_CERT": str(authority)}, capture_output=True, text=True, check=False, timeout=120
    )
    assert second_process.returncode == 1
    assert "certificate" not in second_process.stderr.lower()
