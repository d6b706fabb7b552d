"""Resumes a run, replays it, and continues it under a changed configuration."""
