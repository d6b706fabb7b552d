"""Secrets come from credentials or the environment, and each one that may be given is read."""

from pathlib import Path

import pytest

from quantd.daemon.config import ConfigError, secret, store_url
from quantd.daemon.config.overrides import SECRET_BYTES


@pytest.mark.requirement("R-232")
def test_a_credential_goes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_text("from systemd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "QUANTD_MQTT_PASSWORD": "from the environment"}
    assert secret("mqtt_password", environ) == "from systemd"
    assert secret("mqtt_password", {"QUANTD_MQTT_PASSWORD": "x"}) == "x"
    assert secret("mqtt_password", {}) is None
    (tmp_path / "mqtt_password").write_text("\n")
    assert secret("mqtt_password", environ) is None


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"a\x00b", b"x" * (SECRET_BYTES + 1), None], ids=["bytes", "zero", "large", "folder"]
)
def test_a_credential_that_is_no_text_is_refused_with_its_path_and_without_its_content(
    tmp_path: Path, data: bytes | None
) -> None:
    if data is None:
        (tmp_path / "mqtt_password").mkdir()
    else:
        (tmp_path / "mqtt_password").write_bytes(data)
    with pytest.raises(ConfigError, match="LoadCredential") as refused:
        secret("mqtt_password", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert str(tmp_path / "mqtt_password") in str(refused.value)
    assert "xxxx" not in str(refused.value)


def test_the_databases_password_is_put_beside_its_user_whatever_is_in_it() -> None:
    environ = {"QUANTD_STORE_PASSWORD": "p@ss/w:rd"}
    assert store_url("postgresql://me@host:5432/q", environ) == "postgresql://me:p%40ss%2Fw%3Ard@host:5432/q"
    assert store_url("postgresql://host/q", environ) == "postgresql://host/q"
    assert store_url("postgresql://me@host/q", {}) == "postgresql://me@host/q"
    assert store_url("", environ) == ""
