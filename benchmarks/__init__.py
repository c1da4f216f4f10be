"""Benchmarks of speed and memory against stock code. Run by hand; the test suite has no timing limits."""
