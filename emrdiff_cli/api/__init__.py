"""The tool in Python: rasters in files, NumPy arrays and xarray DataArrays in, the same kind out."""
