"""Networks of policies, in torch. Only training imports this package."""
