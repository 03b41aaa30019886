"""Jobs over files and what they write."""
