"""Commands that show a running daemon."""
