"""Tests mirror the code by file; `tests.servers` starts the real servers they run against."""
