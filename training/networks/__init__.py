"""Policy networks in torch. Only training imports this package."""
