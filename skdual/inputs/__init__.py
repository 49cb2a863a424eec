"""From what users hand over to batches of tensors: columns, rows, chunks, batches."""
