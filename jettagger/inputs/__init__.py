"""From events or tables to batches of input tensors."""
