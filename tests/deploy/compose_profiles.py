"""The services that each profile of compose.yaml starts."""

PROFILES = {
    "train-cpu": {"train-cpu"},
    "train-gpu": {"train-gpu"},
    "train-lite": {"train-lite"},
    "production": {"trader", "reader-1", "reader-2", "nginx", "postgres"},
    "test": {"test"},
    "benchmark": {"benchmark"},
    "feature-analysis": {"feature-analysis"},
    "rebalancing": {"rebalancing"},
}
