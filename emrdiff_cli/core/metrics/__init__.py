"""Scores of an image against another, streamed tile by tile."""
