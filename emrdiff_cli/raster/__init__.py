"""Rasters on disk: reading, metadata, verified atomic writing; the only place with rasterio."""
