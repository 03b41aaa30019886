"""Jobs over files, and the skims that they write."""
