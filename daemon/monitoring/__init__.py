"""The process watched: metrics, watchdog, systemd, terminal."""
