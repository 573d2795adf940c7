"""A fused raster -> scores: against a reference, against its own inputs, at reduced resolution."""
