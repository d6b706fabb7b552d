"""Portfolio allocators: pure numpy functions from estimates to long-only weights, used by policies."""
