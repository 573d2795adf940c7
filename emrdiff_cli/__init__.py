"""Hyperspectral image fusion: LR-HSI + HR-MSI -> HR-HSI, from raster files to a georeferenced result."""

__version__ = "0.1.0"
