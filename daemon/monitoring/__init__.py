"""Supervision of the process: metrics, watchdog, systemd, terminal."""
