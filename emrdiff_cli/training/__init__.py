"""Scenes -> model: examples, the loop, the folder that keeps it, several processes."""
