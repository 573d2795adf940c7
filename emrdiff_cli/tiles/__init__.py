"""Rasters -> overlapping georeferenced tiles, and back."""
