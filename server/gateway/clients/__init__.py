"""What a trading program finds first on its path under `quantd gateway exec`: the addresses of its clients."""
