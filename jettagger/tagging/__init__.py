"""Taggers: events or tables in, scores out."""
