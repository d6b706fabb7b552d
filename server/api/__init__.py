"""The HTTP edge: health, metrics, a JSON API, server-sent events and the dashboard, on one port."""
