"""The bill of materials of an installation, in CycloneDX 1.6: quantd and every package that it needs.

Read from the metadata of this environment and of a wheel, so two calls over the same packages write the same bytes.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement

from quantd.daemon.runtime.version import VERSION
from scripts.install_size import normal, required, requirements
from scripts.publication.documents import DESCRIPTION
from scripts.publication.facts import Facts

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
LONGEST_LICENCE: Final = 80
"""Characters of a licence's name: some packages have the whole text there."""


def bill(wheel: Path, facts: Facts, built_s: int) -> dict[str, Any]:
    """The bill of a wheel without extras, as JSON. `built_s` is its time in seconds since 1970.

    Raises PackageNotFoundError for a package that is not installed here.
    """
    lines = requirements(wheel)
    packages = dict(sorted(required(lines).items()))
    root = f"pkg:pypi/quantd@{VERSION}"
    content = {
        "components": [_component(package) for package in packages.values()],
        "dependencies": [
            {"ref": root, "dependsOn": _needs(lines, packages)},
            *({"ref": _reference(p), "dependsOn": _needs(p.requires or (), packages)} for p in packages.values()),
        ],
    }
    component: dict[str, Any] = {
        "type": "application", "bom-ref": root, "name": "quantd", "version": VERSION, "description": DESCRIPTION,
        "purl": root, "licenses": [{"license": {"id": "MIT"}}],
        "authors": [{"name": author} for author in facts.authors],
        "hashes": [{"alg": "SHA-256", "content": sha256(wheel.read_bytes()).hexdigest()}],
    }  # fmt: skip
    if facts.repository:
        component["externalReferences"] = [{"type": "vcs", "url": facts.repository}]
    identity = uuid5(NAMESPACE_URL, json.dumps([component, content], sort_keys=True))
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{identity}",
        "version": 1,
        "metadata": {"timestamp": datetime.fromtimestamp(built_s, UTC).isoformat(), "component": component},
        **content,
    }


def _component(package: Distribution) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": _reference(package),
        "name": normal(package.name),
        "version": package.version,
        "purl": _reference(package),
    }
    if licences := _licences(package):
        entry["licenses"] = licences
    return entry


def _reference(package: Distribution) -> str:
    return f"pkg:pypi/{normal(package.name)}@{package.version.replace('+', '%2B')}"


def _licences(package: Distribution) -> list[dict[str, Any]]:
    """The licence of a package: an SPDX expression where its metadata have one, else a name."""
    fields = package.metadata
    for text in (fields.get("License-Expression"), fields.get("License")):
        try:
            if text:
                return [{"expression": str(canonicalize_license_expression(text))}]
        except InvalidLicenseExpression:
            continue
    named = [c.rpartition(" :: ")[2] for c in fields.get_all("Classifier") or () if c.startswith("License :: ")]
    first = (fields.get("License") or "").strip().partition("\n")[0][:LONGEST_LICENCE]
    names = dict.fromkeys(re.sub(r"\s+", " ", name) for name in (*named, *([] if named else [first])) if name)
    return [{"license": {"name": name}} for name in names]


def _needs(lines: Iterable[str], packages: Mapping[str, Distribution]) -> list[str]:
    """References of the packages that requirements name and that are in the bill."""
    references = set()
    for requirement in map(Requirement, lines):
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and (package := packages.get(normal(requirement.name))):
            references.add(_reference(package))
    return sorted(references)
