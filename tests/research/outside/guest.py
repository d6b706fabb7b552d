"""An agent of config.toml that a program decides for."""

GUEST = """[[agents]]
name = "guest"
policy = "external"
capital = 0.1
limits = { allow_short = false }
params = { command = ["python3", "agent.py", "momentum"], lookback = 20, timeout_s = 20 }
"""


def by(kind: str, *more: str) -> tuple[str, ...]:
    command = f'agents.guest.params.command=["python3", "agent.py", "{kind}"]'
    return ("--set", command, *(part for override in more for part in ("--set", f"agents.guest.params.{override}")))
