"""Files that users write: read with lines, validated, sizes understood."""
