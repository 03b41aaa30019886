"""Runs networks: the fastest session that is proven equal, padding that is measured, checks."""
