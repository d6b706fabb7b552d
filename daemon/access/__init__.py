"""Who may reach a run: rights of the state folder, the token, TLS and logins."""
