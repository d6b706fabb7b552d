"""What `make test-systemd` says where it cannot run; the trial itself is run by hand."""

import os
import subprocess
import sys
from pathlib import Path

from tests.deploy.systemd_root import lack
from tests.support.checkout import ROOT


def test_a_machine_without_the_programs_names_them_and_their_packages_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.deploy.systemd_root", "--folder", str(tmp_path / "roots")]
    env = os.environ | {"PATH": str(tmp_path)}
    process = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == (
        "quantd: make test-systemd needs debootstrap, systemd-nspawn, nsenter, unshare; "
        "on Debian: apt-get install debootstrap systemd-container util-linux\n"
    )
    assert not (tmp_path / "roots").exists()


def test_without_root_it_names_the_command_with_root() -> None:
    assert lack(1000, str) == "make test-systemd boots a machine, which needs root: sudo make test-systemd"
    assert lack(0, str) is None
    assert (lack(0, lambda name: None if name == "nsenter" else name) or "").endswith("apt-get install util-linux")
