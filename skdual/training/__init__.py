"""The training path, in the order that a fit goes.

``fitting`` (one whole fit), ``held_out`` (rows that members leave out, validation rows), ``build`` (the net from its
settings), ``warm_start``, ``relevance`` (of the columns), ``span`` (blocks of more columns than rows), ``loop`` (epochs
and steps), ``calibration`` (weights of the groups of members).
"""
