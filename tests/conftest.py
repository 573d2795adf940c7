"""Put tests/ on the path, so that test files can share helpers."""
