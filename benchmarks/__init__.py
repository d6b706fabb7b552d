"""Benchmarks of speed, memory and accuracy, each run as a module."""
