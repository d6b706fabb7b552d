"""Work of an operator on a whole store: backup, restore, verification."""
