"""Commands that read a run: status, why, risk, reports."""
