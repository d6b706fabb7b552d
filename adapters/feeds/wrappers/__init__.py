"""Sources of bars that wrap other sources and add a cache, retries, a fallback or a rate limit."""
