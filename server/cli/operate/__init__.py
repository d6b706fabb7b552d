"""Commands that operate a running daemon."""
