"""The training path, in the order that a fit goes.

``fitting`` (one whole fit), ``held_out`` (rows that members leave out, validation rows), ``build`` (the net from its
settings, and from ``skorch_arguments``), ``warm_start``; what the rows say of the columns: ``row_norms``,
``splines``, ``whitening`` (both by ``ridge`` regressions), ``relevance``; ``span`` (blocks of more columns than rows),
``loop`` (epochs and steps), ``calibration`` (weights of the groups of members).
"""
