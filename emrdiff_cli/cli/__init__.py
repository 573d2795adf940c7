"""The commands: one file each, and the only place with typer and rich."""
