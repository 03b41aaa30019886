"""Taggers: scores for the jets of events or tables."""
