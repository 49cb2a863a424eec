"""Colours that stay apart for colour-blind readers."""

import numpy as np

# Petroff, "Accessible Color Sequences for Data Visualization", arXiv:2107.02270, the ten that scikit-learn uses too
CLASS_COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
TRAINING, VALIDATION = CLASS_COLORS[0], CLASS_COLORS[6]
CORRECT, WRONG = CLASS_COLORS[0], CLASS_COLORS[2]
BLOCK_COLORS = (CLASS_COLORS[0], CLASS_COLORS[1])


def color_by_code(n_classes):
    """Colour map and norm, as arguments of ``scatter``, that give every class code a colour of its own."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap

    edges = np.arange(n_classes + 1) - 0.5
    if n_classes <= len(CLASS_COLORS):
        return {"cmap": ListedColormap(CLASS_COLORS[:n_classes]), "norm": BoundaryNorm(edges, n_classes)}
    n_colors = max(n_classes, 256)
    # viridis itself has 256 colours and none between them
    scale = LinearSegmentedColormap.from_list("viridis", colormaps["viridis"](np.arange(256)), N=n_colors)
    return {"cmap": scale, "norm": BoundaryNorm(edges, n_colors)}
