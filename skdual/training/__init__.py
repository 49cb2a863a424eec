"""The training path, in the order that a fit goes.

``fitting`` (one whole fit), ``skorch_arguments`` (checks of callbacks and ``net_params``), ``held_out`` (rows that
members leave out, validation rows), ``warm_start`` (what a fit goes on from), ``columns`` (what the rows say of these),
``build`` (the net from its settings), ``span`` (blocks of more columns than rows), ``loop`` (epochs and steps),
``calibration`` (weights of the groups of members).
"""
