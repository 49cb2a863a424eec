"""Axes to draw on: new or given, whole or divided into panels."""

import numpy as np

from ..extras import import_extra


def import_pyplot(caller):
    """``matplotlib.pyplot``, or the ImportError that names the extra.

    Parameters
    ----------
    caller : str
        Who needs it, such as ``"EmbeddingDisplay.plot"``.
    """
    return import_extra("matplotlib.pyplot", extra="plotting", caller=caller)


def given_or_new_axes(ax, caller, figsize):
    """``ax``, or where it is None axes of a new figure that makes room for labels and legends.

    Raises
    ------
    TypeError
        If ``ax`` is something else.
    ValueError
        If it is in no figure.
    """
    pyplot = import_pyplot(caller)
    if ax is None:
        return pyplot.subplots(figsize=figsize, layout="constrained")[1]
    if not isinstance(ax, pyplot.Axes):
        raise TypeError(f"ax must be matplotlib Axes, got {type(ax).__name__}.")
    if ax.figure is None:
        raise ValueError("ax was removed from its figure; give other axes, or none for a new figure.")
    return ax


def as_text(name):
    """A name as matplotlib shows it unchanged: between two dollar signs it would read a formula."""
    return str(name).replace("$", r"\$")


def divide(ax, n_rows, n_columns):
    """Panels within the bounds of ax, which stays as an invisible frame.

    Returns
    -------
    panels : ndarray of matplotlib Axes of shape (n_rows, n_columns)

    Raises
    ------
    ValueError
        If ax is the frame of other panels already.
    """
    if not ax.axison:
        raise ValueError("ax holds panels already, or its axis is off; give other axes, or none for a new figure.")
    ax.set_axis_off()
    figure, spec = ax.figure, ax.get_subplotspec()
    engine = figure.get_layout_engine()
    # constrained layout finds the gaps in a grid by itself; without it they must hold the labels
    constrained = spec is not None and engine is not None and not engine.adjust_compatible
    gaps = {} if constrained else {"wspace": 0.4, "hspace": 0.4}
    if spec is not None:
        grid = spec.subgridspec(n_rows, n_columns, **gaps)
        return np.array([[figure.add_subplot(grid[i, j]) for j in range(n_columns)] for i in range(n_rows)])
    bounds = ax.get_position()  # of axes put at a place of their own, which layout engines leave there
    edges = {"left": bounds.x0, "right": bounds.x1, "bottom": bounds.y0, "top": bounds.y1}
    places = figure.add_gridspec(n_rows, n_columns, **edges, **gaps)
    return np.array(
        [[figure.add_axes(places[i, j].get_position(figure)) for j in range(n_columns)] for i in range(n_rows)]
    )
