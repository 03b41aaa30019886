"""Counts in bins: templates, fits, limits."""
