"""Samplers of what a fusion may miss, learned and not, and how they are judged."""
