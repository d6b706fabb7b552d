"""Monitoring of the process: metrics, watchdog, systemd, terminal."""
