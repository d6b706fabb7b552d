"""The manifests: valid by the schemas of Kubernetes, and what they promise."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from quantd.daemon.app import Options, read_config
from tests.support.checkout import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.31", "1.34")


def documents() -> dict[tuple[str, str], dict[str, Any]]:
    files = [FOLDER / name for name in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]]
    assert {path.name for path in FOLDER.glob("*.yaml")} == {path.name for path in files} | {"kustomization.yaml"}
    all_documents = [document for path in files for document in yaml.safe_load_all(path.read_text())]
    return {(document["kind"], document["metadata"]["name"]): document for document in all_documents}


FOUND = documents()
TRADER = FOUND["StatefulSet", "quantd-trader"]
READER = FOUND["Deployment", "quantd-reader"]
DATABASE = FOUND["StatefulSet", "postgres"]
WORKLOADS = (TRADER, READER, DATABASE)


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (spec,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(spec)


@pytest.mark.requirement("R-224")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid_by_the_schemas_of_kubernetes(version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in FOUND.values():
        validate.validate(document, version, strict=True)
    wrong = yaml.safe_load(yaml.safe_dump(TRADER))
    wrong["spec"]["replikas"] = 2
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, version, strict=True)


@pytest.mark.requirement("R-224", "R-225")
def test_of_three_replicas_one_trades_and_only_the_others_are_scaled() -> None:
    assert (TRADER["spec"]["replicas"], READER["spec"]["replicas"]) == (1, 2)
    assert (container(TRADER)["args"], container(READER)["args"]) == (
        ["run"], ["serve", "--read-only", "--port", "8000", "--leader", "https://quantd-trader:8000/"],
    )  # fmt: skip
    scaled = [
        document["spec"]["scaleTargetRef"]["name"] for (kind, _), document in FOUND.items() if "Autoscaler" in kind
    ]
    assert scaled == ["quantd-reader"]


@pytest.mark.requirement("R-224")
def test_sizes_probes_and_the_port_of_the_service_are_as_required() -> None:
    for workload in (TRADER, READER):
        spec = container(workload)
        assert spec["resources"] == {
            "requests": {"memory": "1Gi", "cpu": "500m"},
            "limits": {"memory": "2Gi", "cpu": "1000m"},
        }
        probe = spec["livenessProbe"]
        assert (probe["httpGet"]["path"], probe["initialDelaySeconds"], probe["periodSeconds"]) == ("/health", 30, 10)
        assert (spec["readinessProbe"]["httpGet"]["path"], spec["ports"][0]["containerPort"]) == ("/health", 8000)
    (port,) = FOUND["Service", "quantd"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, 8000)
    labels = {controller["spec"]["template"]["metadata"]["labels"]["role"] for controller in (TRADER, READER)}
    assert labels == {"trader", "reader"}
    assert FOUND["Service", "quantd"]["spec"]["selector"] == {"app": "quantd"}
    assert FOUND["Service", "quantd-trader"]["spec"]["selector"] == {"app": "quantd", "role": "trader"}


@pytest.mark.requirement("R-224")
def test_no_container_is_root_or_writes_its_root() -> None:
    for workload in WORKLOADS:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for spec in (*pod["containers"], *pod.get("initContainers", ())):
            rights = spec["securityContext"]
            assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert spec["resources"]["limits"]["memory"]
            mounted = {mount["name"] for mount in spec["volumeMounts"]}
            claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
            assert mounted <= {volume["name"] for volume in pod["volumes"]} | claims


@pytest.mark.requirement("R-224", "R-232")
def test_secrets_are_named_and_not_in_the_files() -> None:
    assert not [kind for kind, _ in FOUND if kind == "Secret"]
    secret_names = {
        volume["secret"]["secretName"]
        for workload in WORKLOADS
        for volume in workload["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    assert secret_names == {"quantd-secrets", "quantd-tls", "quantd-tokens"}


@pytest.mark.requirement("R-224")
def test_nothing_is_reached_that_no_policy_lists_and_only_the_trader_reaches_a_venue() -> None:
    policies = {name: document["spec"] for (kind, name), document in FOUND.items() if kind == "NetworkPolicy"}
    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    outside = [name for name, spec in policies.items() if "ipBlock" in str(spec)]
    assert outside == ["quantd-trader"]
    assert policies["quantd-trader"]["podSelector"]["matchLabels"]["role"] == "trader"
    (database,) = policies["postgres"]["ingress"]
    assert database["from"] == [{"podSelector": {"matchLabels": {"app": "quantd"}}}]


@pytest.mark.requirement("R-224")
def test_the_environment_of_the_replicas_is_a_configuration_that_starts(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text((ROOT / "config.toml").read_text())
    environ = dict(FOUND["ConfigMap", "quantd-environment"]["data"])
    environ = {key: value for key, value in environ.items() if "__TLS__" not in key}
    environ |= {"QUANTD_API__HOST": "127.0.0.1", "QUANTD_STORE_PASSWORD": "word"}
    configuration = read_config(Options(tmp_path / "config.toml", environ=environ))
    assert (configuration.store.replicas, configuration.store.url.startswith("postgresql://")) == (3, True)
    assert "quantd-trader.quantd.svc" in configuration.api.names
