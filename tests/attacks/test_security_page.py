"""The page of the threat model counts the attacks as the tables have them."""

import re

from tests.attacks import (
    test_alert_attacks,
    test_api_attacks,
    test_approval_attacks,
    test_command_attacks,
    test_config_attacks,
    test_mcp_attacks,
    test_path_attacks,
    test_session_attacks,
    test_statement_attacks,
    test_store_attacks,
    test_sweep_attacks,
)
from tests.daemon.policies.test_confinement import FORBIDDEN
from tests.support.checkout import ROOT

TABLES = {
    "tests/attacks/test_api_attacks.py": len(test_api_attacks.ATTACKS),
    "tests/attacks/test_session_attacks.py": len(test_session_attacks.ATTACKS),
    "tests/attacks/test_mcp_attacks.py": len(test_mcp_attacks.ATTACKS),
    "tests/attacks/test_command_attacks.py": len(test_command_attacks.ATTACKS),
    "tests/attacks/test_config_attacks.py": len(test_config_attacks.ATTACKS),
    "tests/attacks/test_store_attacks.py": len(test_store_attacks.ATTACKS),
    "tests/attacks/test_path_attacks.py": len(test_path_attacks.ATTACKS),
    "tests/attacks/test_alert_attacks.py": sum(map(len, (test_alert_attacks.TEXTS, test_alert_attacks.ANSWERS))),
    "tests/attacks/test_statement_attacks.py": len(test_statement_attacks.CELLS)
    + len(test_statement_attacks.DOCUMENTS),
    "tests/attacks/test_sweep_attacks.py": sum(
        map(len, (test_sweep_attacks.ATTACKS, test_sweep_attacks.SHADOWS, test_sweep_attacks.KILLS))
    ),
    "tests/attacks/test_approval_attacks.py": len(test_approval_attacks.ATTACKS),
    "tests/daemon/policies/test_confinement.py": len(FORBIDDEN),
}


def test_the_page_has_each_table_with_its_number_of_attacks() -> None:
    text = (ROOT / "docs/security.md").read_text()
    assert {name: int(count) for name, count in re.findall(r"\| `(tests/\S+)` \| (\d+) \|", text)} == TABLES
    assert f"In all: {sum(TABLES.values())}." in text
