"""The HTTP edge, a service around the trading loop: health, metrics, a JSON API, server-sent events and the dashboard,
on one port."""
