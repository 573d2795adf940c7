"""Products of imaging spectrometers in HDF5 and netCDF-4 -> images."""
