"""The work of jobs: refreshed data, health checks, statements of the account."""
