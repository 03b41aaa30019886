"""Binned statistics: templates, fits, limits."""
