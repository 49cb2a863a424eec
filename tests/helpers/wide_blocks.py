"""Blocks of more columns than rows, and the settings of a small fit of them."""

N_ROWS, WIDTHS = 24, (60, 40)
PLAIN = {
    "blocks": WIDTHS[0],
    "hidden_layer_sizes": ((9, 6), (7, 5)),
    "dropout": 0.0,
    "block_dropout": 0.0,
    "mixup_alpha": 0.0,
    "gradient_clip": None,
    "subspace_dim": 2,
    "batch_size": 8,
    "max_epochs": 6,
    "random_state": 0,
}
