"""Fusion without training: end points of the diffusion, and methods of their own."""
