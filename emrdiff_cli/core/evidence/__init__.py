"""Evidence that a pair itself gives of how good a fusion method is on it."""
