"""Writes learned policies as artifacts, and makes smaller copies of such artifacts."""
