"""Running a trained network over rows, a chunk at a time."""

import numpy as np
import torch


def run_in_chunks(network, method, rows):
    """Apply a method of the network to all rows.

    Memory is bounded by one chunk and the result.

    Parameters
    ----------
    network : DualBranchNetwork
    method : str
        Name of a method that takes both blocks and gives a tensor, or a tuple of tensors, with a row per row.
    rows : Rows

    Returns
    -------
    result : ndarray, or tuple of ndarray
    """
    network.eval()
    parts = []
    with torch.no_grad():
        for chunk in rows.chunks():
            result = getattr(network, method)(*rows.fetch(chunk).blocks)
            several = isinstance(result, tuple)
            parts.append([tensor.cpu().numpy() for tensor in (result if several else (result,))])
    joined = tuple(np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return joined if several else joined[0]
