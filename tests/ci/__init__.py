"""What `.ci/run` checks besides the tests."""
