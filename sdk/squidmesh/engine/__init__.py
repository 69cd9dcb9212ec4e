"""Use cases, one concern a file; each public function is one transaction. Knows the store as a port, and no SQL."""
