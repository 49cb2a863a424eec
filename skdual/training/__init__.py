"""The training path.

A fit, in the order it goes: ``fitting`` (one whole fit), ``held_out`` (rows that members leave out, validation rows),
``build`` (the net from its settings), ``warm_start``, ``relevance`` (of the columns), ``span_training`` with
``span_choice``, ``span_branch`` and ``row_span`` (blocks of more columns than rows), ``net`` (its loop and its step),
``calibration`` (weights of the groups of members).

What the loop uses: ``running_fit``, ``mixup``, ``schedule`` and ``cycles`` (of the learning rate), ``kept_weights``,
``clipping`` (of gradients), ``cuda_graph``, ``loss_means``, ``progress``, ``interrupts``.
"""
