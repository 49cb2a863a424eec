"""Training blocks of more columns than rows in the span of the rows.

``training`` is the way there and back, ``choice`` whether it is worth it, ``branch`` what changes in a branch, and
``row_span`` the coordinates.
"""
