"""The files for a forge: each step of a workflow is a target of the Makefile, and a workflow may only read."""

import re

import pytest
import yaml

from tests.support.checkout import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_of_the_makefile_and_may_only_read(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"(?m)^([a-z][\w .-]*):(?!=)", makefile) for name in line.split()}
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    for name, job in workflow["jobs"].items():
        for command in (step["run"] for step in job["steps"] if "run" in step):
            call = re.fullmatch(r"make ([a-z][\w-]*|\$\{\{ *matrix\.\w+ *\}\})(?: ARGS=.+)?", command)
            assert call, (name, command)
            assert call[1].startswith("$") or call[1] in targets, (name, command)
        for values in job.get("strategy", {}).get("matrix", {}).get("target", ()):
            assert values in targets
        assert "write" not in job.get("permissions", {}).values() or name == "publish", name
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert "pull_request_target" not in text
