"""The compose file: valid by the published schema, and what each profile starts."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from quantd.daemon.app import Options, read_config
from quantd.daemon.config.mistakes import ConfigError
from tests.deploy.compose_profiles import PROFILES
from tests.deploy.dockerfile import settings_of, stages
from tests.support.checkout import ROOT

FILE = ROOT / "deploy" / "container" / "compose.yml"
ALONE = ROOT / "compose.yaml"
SCHEMA = ROOT / "tests" / "deploy" / "compose-spec.json"
SCHEMA_HASH = "73ca5878c77570ba222a558016c7b3c6770ba5f3377786593e32180666512f8f"
"""SHA-256 of `schema/compose-spec.json` of compose-go 2.13.0 (Apache-2.0), which that file is."""

API = ("trader", "reader-1", "reader-2")


def loaded(file: Path = FILE) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


COMPOSE = loaded()
SERVICES: dict[str, Any] = COMPOSE["services"]


def plain(value: str) -> str:
    """A value with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


@pytest.mark.requirement("R-219")
def test_the_file_is_valid_by_the_published_schema() -> None:
    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() == SCHEMA_HASH
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for document in (COMPOSE, loaded(ALONE)):
        assert [error.message for error in validator.iter_errors(document)] == []
    wrong = loaded()
    wrong["services"]["trader"]["restrat"] = "always"
    assert any("restrat" in str(error.message) for error in validator.iter_errors(wrong))


@pytest.mark.requirement("R-219")
def test_eight_profiles_start_their_services() -> None:
    started = {
        profile: {name for name, service in SERVICES.items() if profile in service["profiles"]}
        for service in SERVICES.values()
        for profile in service["profiles"]
    }
    assert started == PROFILES
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= PROFILES[service["profiles"][0]], name
        assert {volume.split(":")[0] for volume in service.get("volumes", ()) if volume[0].isalpha()} <= set(
            COMPOSE["volumes"]
        )
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])


@pytest.mark.requirement("R-217", "R-219")
def test_each_image_is_built_by_a_target_of_the_dockerfile() -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)", (FILE.parent / "Dockerfile").read_text(), re.MULTILINE)
    for name, service in SERVICES.items():
        if build := service.get("build"):
            assert build["target"] in targets, name
            assert (FILE.parent / build["context"] / build["dockerfile"]).samefile(FILE.parent / "Dockerfile")
    assert SERVICES["train-gpu"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


@pytest.mark.requirement("R-220")
def test_data_and_models_are_read_only_for_the_api_and_results_and_logs_are_kept() -> None:
    for name in API:
        volumes = {
            volume.rsplit(":", 2)[-2 if volume.endswith(":ro") else -1]: volume for volume in SERVICES[name]["volumes"]
        }
        assert volumes["/data"] == "data:/data:ro"
        assert volumes["/models"] == "models:/models:ro"
        assert volumes["/var/lib/quantd"].endswith(":ro") == (name != "trader"), "a reader writes nothing"
        assert SERVICES[name]["read_only"] is True
    assert {"results:/results", "logs:/logs", "state:/var/lib/quantd"} <= set(SERVICES["trader"]["volumes"])
    assert {"models:/models", "results:/results", "logs:/logs"} <= set(SERVICES["train-cpu"]["volumes"])


@pytest.mark.requirement("R-221")
def test_services_restart_unless_stopped_with_a_limit_of_memory_and_jobs_end() -> None:
    for name in PROFILES["production"]:
        assert SERVICES[name]["restart"] == "unless-stopped", name
        assert SERVICES[name]["mem_limit"], name
    assert {plain(SERVICES[name]["mem_limit"]) for name in API} == {"4g"}
    for name in SERVICES.keys() - PROFILES["production"]:
        assert SERVICES[name]["restart"] == "no", name


@pytest.mark.requirement("R-225", "R-232")
def test_one_instance_trades_and_no_secret_is_in_the_file() -> None:
    assert [name for name in API if SERVICES[name].get("command", ["run"]) == ["run"]] == ["trader"]
    assert SERVICES["reader-1"]["command"] == SERVICES["reader-2"]["command"] == [
        "serve", "--read-only", "--port", SERVICES["trader"]["environment"]["QUANTD_API__PORT"], "--leader", "https://trader:8000/",
    ]  # fmt: skip
    for name in COMPOSE["secrets"]:
        assert COMPOSE["secrets"][name]["file"].startswith("./secrets/")
    names = {name for service in SERVICES.values() for name in service.get("environment", ())}
    assert {name for name in names if "PASSWORD" in name or "KEY" in name} <= {
        "POSTGRES_PASSWORD_FILE",
        "QUANTD_API__TLS__KEY",
    }


@pytest.mark.requirement("R-219")
def test_the_environment_of_the_api_is_a_configuration_that_starts(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text((ROOT / "config.toml").read_text())
    for name in API:
        environ = {key: plain(value) for key, value in SERVICES[name]["environment"].items()}
        # the files of secrets are not on this machine
        environ = {key: value for key, value in environ.items() if "__TLS__" not in key}
        environ |= {"QUANTD_API__HOST": "127.0.0.1", "QUANTD_STATE": str(tmp_path), "QUANTD_STORE_PASSWORD": "word"}
        configuration = read_config(Options(config, environ=environ))
        assert (configuration.store.replicas, configuration.store.url) == (
            3,
            "postgresql://quantd@postgres:5432/quantd",
        )
        assert (configuration.api.names, configuration.api.open_reads) == (("localhost", "trader"), False)


@pytest.mark.requirement("R-219", "R-232")
def test_without_a_profile_one_service_starts_without_a_secret_in_at_most_512_mb() -> None:
    document = loaded(ALONE)
    assert document.keys() == {"name", "services", "volumes"}
    ((_, service),) = document["services"].items()
    assert {"profiles", "depends_on", "secrets", "ports", "privileged", "command"} & service.keys() == set()
    assert service["read_only"] is True
    assert (service["cap_drop"], service["restart"]) == (["ALL"], "unless-stopped")
    assert service["mem_limit"] == service["memswap_limit"] == "512m"
    assert service["build"]["target"] == "trade"
    assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).samefile(FILE.parent / "Dockerfile")
    writable = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
    assert writable == ["state:/var/lib/quantd"]
    assert plain(service["volumes"][0]) == "./config.toml:/etc/quantd/config.toml:ro"
    assert document["name"] != COMPOSE["name"], "its volumes are not those of production"
    assert all(production_service["profiles"] for production_service in SERVICES.values()), (
        "the other file starts nothing without a profile"
    )


@pytest.mark.requirement("R-219")
def test_that_service_listens_on_the_loopback_of_the_host_and_stores_in_sqlite(tmp_path: Path) -> None:
    ((_, service),) = loaded(ALONE)["services"].items()
    assert service["network_mode"] == "host"
    image = settings_of(stages((FILE.parent / "Dockerfile").read_text()), "trade").env
    environ = {key: value for key, value in image.items() if key.startswith("QUANTD_")} | service.get("environment", {})
    configuration = read_config(Options(ROOT / "config.toml", environ=environ | {"QUANTD_STATE": str(tmp_path)}))
    assert (configuration.api.host, configuration.bus.host, configuration.store.url) == ("127.0.0.1", "127.0.0.1", "")
    with pytest.raises(ConfigError, match="without TLS"):
        read_config(Options(ROOT / "config.toml", environ=environ | {"QUANTD_API__HOST": "0.0.0.0"}))
