"""Other programs' files -> rasters."""
