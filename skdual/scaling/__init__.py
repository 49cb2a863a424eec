"""Scaling of the columns.

The ways there are (``scalings``), what some can't take (``validation``), ``logarithms`` of long tails, ``sentinels``
far from other values, ``outliers``, ``statistics`` of the training rows, the layer that scales (``column_scaler``,
with ``clipping``, ``row_norm`` and ``splines``), and ``fitting`` it to the rows; ``whitening`` of scaled columns.
"""
