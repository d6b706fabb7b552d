"""Operator tasks on a whole store: backup, restore, verification."""
