"""Whole trainings: seeds trained, one chosen and evaluated."""
