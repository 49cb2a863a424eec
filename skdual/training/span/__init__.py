"""Training blocks of more columns than rows in the span of the rows.

``training`` is the way there and back, ``choice`` whether it is worth it, ``branch`` what changes in a branch, and
``row_span`` the coordinates.

A warm start with validation rows counts these among the rows of the span, for its weights may answer to directions that
only they have.

The columns are trained as they are if the rows of training and validation, dense, or their coordinates have more values
than 2**26 and than four times the weights of columns; or if the fit has fewer steps than 1100 / sqrt(n), for n rows,
and than 100, and at most 50 million weights of columns.
"""
