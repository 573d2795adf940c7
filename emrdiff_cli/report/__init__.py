"""Pictures, charts and pages of rasters and scores."""
