"""Access to a running daemon: permissions of the state folder, the API token, TLS and logins."""
