"""Execution of networks: the fastest session that is checked to be equal, measured padding, checks of models."""
