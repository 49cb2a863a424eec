"""Scaling of the columns.

The ways there are (``scalings``), what some can't take (``signs``), ``logarithms`` of long tails, ``statistics`` of the
training rows, the layer that scales (``column_scaler``), and ``fitting`` it to the rows.
"""
