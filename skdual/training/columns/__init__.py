"""What the training rows say of the columns, before there is a network.

``preparation`` is the way: the scalers, then which blocks have a norm of the row (``row_norms``), which columns have
splines (``splines``), which blocks are whitened (``whitening``), the last two by ``ridge`` regressions; ``relevance``
is what each regularised member multiplies the columns by.
"""
