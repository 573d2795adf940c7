"""Pure functions on arrays and tensors: no path, no print, no global seed or device."""
