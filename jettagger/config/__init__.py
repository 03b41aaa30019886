"""Configuration files: YAML with line numbers, validation, sizes in bytes."""
