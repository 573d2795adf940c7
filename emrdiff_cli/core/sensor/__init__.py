"""Grids, PSF and SRF: how one sensor sees what the other does."""
