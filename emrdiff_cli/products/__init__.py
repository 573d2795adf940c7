"""Products as the agencies ship them: what they are called, and what their metadata say of the pixels."""
