"""Sources over other sources: cache, retry, fallback, rate limit."""
