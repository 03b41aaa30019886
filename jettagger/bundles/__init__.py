"""Bundles, i.e. model folders: files, interface, input description, card, and where they are located."""
