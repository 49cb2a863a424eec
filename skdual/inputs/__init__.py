"""From what users hand over to batches of tensors.

``validation`` (all checks of X and y) by ``frames`` (DataFrames, column names) and ``labels`` (y and its classes);
``columns`` (which are block A, which block B), ``joining`` two matrices to one; ``rows`` to train on or to predict,
``matrices`` (where these lie: memory, file, device), ``duplicates`` among them, ``chunks`` and ``batches`` of them, and
``slices`` of anything.
"""
