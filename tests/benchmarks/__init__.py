"""Classical fusion methods to compare with."""
