"""Epochs and steps: ``net`` is the loop, and ``running_fit`` what it holds.

What it uses: ``mixup``, ``schedule`` and ``cycles`` (of the learning rate), ``kept_weights``, ``gradient_clipping``,
``cuda_graph``, ``loss_means``, ``progress``, ``interrupts``.
"""
