"""Reports of backtests: one page that opens without a network, with JSON, CSV and Markdown of the same figures."""
