"""Reports of backtests and studies: pages that open without a network."""
