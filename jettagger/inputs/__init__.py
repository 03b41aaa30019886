"""From events or tables to batches of tensors."""
