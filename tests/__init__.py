"""The tests, as packages, so that spawned processes can import them by name."""
