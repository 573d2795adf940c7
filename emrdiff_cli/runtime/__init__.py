"""A run from the outside: signals, threads, files that appear whole, one run at a time."""
