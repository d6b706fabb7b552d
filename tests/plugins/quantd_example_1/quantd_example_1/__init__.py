"""A plug-in of quantd: a policy, a limit, a feed and a sink of alerts."""
