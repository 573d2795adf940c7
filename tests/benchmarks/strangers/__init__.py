"""Files as other programs, and accidents, make them, and what must hold for each."""
