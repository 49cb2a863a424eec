"""Running a trained network over rows, a chunk at a time."""

import numpy as np
import torch

from .devices import own_modes


def in_chunks(compute, rows, index=None):
    """Apply a function to the blocks of all rows, chunk by chunk; memory is bounded by one chunk and the results.

    A device that runs out of memory gets chunks of half the size from there on.

    Parameters
    ----------
    compute : callable
        Takes both blocks of a chunk and gives a tensor, or a tuple of tensors.
    rows : Rows
    index : ndarray of int64, optional
        Numbers of the rows to run over; all by default.

    Yields
    ------
    chunk : ndarray of int64
        Numbers of the chunk's rows.
    results : tuple of ndarray
    """

    def predict(chunk, size):
        with torch.no_grad():
            return compute(*rows.fetch(chunk).blocks)

    return as_memory_allows(predict, rows.chunks(index))


def as_memory_allows(compute, chunks, size=None):
    """Apply a function to chunks of rows, cut to half their size from there on when the device runs out of memory.

    Parameters
    ----------
    compute : callable
        Takes the numbers of some rows, ``size`` at most, and the size; gives a tensor, or a tuple of tensors.
    chunks : iterable of ndarray of int64
        Numbers of the rows to run over.
    size : int, optional
        How many rows may go through the network together at first; as many as the first chunk has by default.

    Yields
    ------
    part : ndarray of int64
        Numbers of some rows of a chunk.
    results : tuple of ndarray
    """
    for chunk in chunks:
        size, start = size or len(chunk), 0
        while start < len(chunk):
            part = chunk[start : start + size]
            results = _unless_out_of_memory(compute, part, size)
            if results is None:
                size //= 2
            else:
                yield part, results
                start += len(part)


def _unless_out_of_memory(compute, part, size):
    """The results as arrays, or None; in a function of its own, so that nothing of the failure is kept alive."""
    try:
        with own_modes():
            results = compute(part, size)
        return tuple(tensor.cpu().numpy() for tensor in (results if isinstance(results, tuple) else (results,)))
    except RuntimeError as error:
        # of any device: only CUDA's is always a torch.OutOfMemoryError
        if size == 1 or "out of memory" not in str(error).lower():
            raise
        return None


def check_finite_results(finite):
    """Raise if a row of X has results that are not finite, False in ``finite``, a bool mask of the rows."""
    if not finite.all():
        raise ValueError(
            f"X has {(~finite).sum()} row(s), row {finite.argmin()} first, whose values are so large that the output "
            f"of the network is not finite; scale the columns of X as in the fit, or fit with a standardize that clips "
            f"values, such as 'standard'."
        )


def run_in_chunks(network, method, rows):
    """Apply a method of the network to all rows.

    Parameters
    ----------
    network : DualBranchNetwork
    method : str
        Name of a method that takes both blocks and gives a tensor, or a tuple of tensors, one row for each
        row of the blocks.
    rows : Rows

    Returns
    -------
    result : ndarray, or tuple of ndarray
    """
    network.eval()
    wholes: tuple[np.ndarray, ...] = ()
    for chunk, results in in_chunks(getattr(network, method), rows):
        wholes = wholes or tuple(np.empty((len(rows), *part.shape[1:]), part.dtype) for part in results)
        for whole, part in zip(wholes, results, strict=True):
            whole[chunk] = part
    return wholes if len(wholes) > 1 else wholes[0]
