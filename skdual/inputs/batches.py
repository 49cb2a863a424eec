"""Which rows go together: shuffled batches, class-aware batches, and the loader that fetches them."""

import math
from itertools import islice

import numpy as np
from sklearn.utils import gen_batches

from ..devices import send_together

MAX_REPEATS = 4
"""How often class-aware batches may draw a row in one epoch (see :class:`ClassAwareBatches`)."""

RUNS_MIXED = 256
"""Runs of rows whose rows are shuffled among each other (see :class:`ShuffledBatches`)."""

_SENT_AHEAD = 64


def n_batches(n_rows, batch_size, sampling):
    """Batches of an epoch by ``sampling``, ``"shuffle"`` or ``"class_aware"``."""
    joined = sampling == "shuffle"  # a last row alone joins the batch before it
    return max(1, math.ceil((n_rows - joined) / batch_size))


class ShuffledBatches:
    """Every row once an epoch, in an order drawn anew for each.

    A last batch of one row joins the one before: it has no other row to be contrasted with, and batch
    normalisation cannot take it.

    Parameters
    ----------
    n_rows : int
    batch_size : int
        At least 2.
    random_generator : numpy.random.Generator
    run_length : int, default=1
        Rows that lie side by side and are read together: such runs are shuffled, and then the rows of every
        ``RUNS_MIXED`` of them. 1 shuffles all rows.
    """

    def __init__(self, n_rows, batch_size, random_generator, run_length=1):
        self.n_rows = n_rows
        self.batch_size = batch_size
        self.random_generator = random_generator
        self.run_length = run_length

    def __len__(self):
        return n_batches(self.n_rows, self.batch_size, "shuffle")

    def __iter__(self):
        order = self._order()
        return (order[batch] for batch in gen_batches(self.n_rows, self.batch_size, min_batch_size=2))

    def _order(self):
        mixed_rows = RUNS_MIXED * self.run_length
        if self.run_length == 1 or self.n_rows <= mixed_rows:
            return self.random_generator.permutation(self.n_rows)
        starts = self.random_generator.permutation(np.arange(0, self.n_rows, self.run_length))
        order = (starts[:, None] + np.arange(self.run_length)).ravel()
        order = order[order < self.n_rows]
        for mixed in gen_batches(self.n_rows, mixed_rows):
            self.random_generator.shuffle(order[mixed])
        return order


class ClassAwareBatches:
    """Batches of ``classes_per_batch`` x ``samples_per_class`` rows, so that every anchor has positives.

    An epoch has ceil(n / batch size) batches of ``classes_per_batch`` slots; a slot holds
    ``samples_per_class`` rows of one class. The slots of an epoch are shared out evenly among the classes,
    but a class gets no more of them than draw each of its rows ``MAX_REPEATS`` times (and always up to one); what
    the rare classes cannot fill goes to the common ones. The slots of a class lie in different batches as long as
    it has no more of them than there are batches.

    Rows of a class are taken from a shuffled queue that is refilled when it runs out and carried over from
    epoch to epoch; a slot repeats a row only where its class has fewer than it takes. So in one epoch
    a row is drawn at most ``max(MAX_REPEATS, ceil(samples_per_class / n_c)) + 1`` times, and every row of a
    class with s_c slots an epoch (s_c may be a fraction) is seen again and again, about
    every n_c / (samples_per_class * s_c) epochs.

    Parameters
    ----------
    codes : ndarray of int64 of shape (n,)
        Class codes 0 .. C - 1; a code without rows is never drawn.
    classes_per_batch, samples_per_class : int
    random_generator : numpy.random.Generator

    Attributes
    ----------
    frequencies : ndarray of shape (C,)
        Share of the drawn rows that belong to each class, over many epochs.
    """

    def __init__(self, codes, classes_per_batch, samples_per_class, random_generator):
        self.samples_per_class = samples_per_class
        self.random_generator = random_generator
        self._rows_of_class = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
        self._queues = [rows[:0] for rows in self._rows_of_class]
        self._n_batches = n_batches(len(codes), classes_per_batch * samples_per_class, "class_aware")
        self._n_slots = self._n_batches * classes_per_batch
        self._slots = self._share_out(np.array([len(rows) for rows in self._rows_of_class]))
        self._owed = 1e-6 * random_generator.random(len(self._slots))  # breaks ties between classes
        self.frequencies = self._slots / self._n_slots

    def __len__(self):
        return self._n_batches

    def _share_out(self, counts):
        """Expected slots an epoch of each class: even, up to each class's cap."""
        caps = np.where(counts > 0, np.maximum(1, MAX_REPEATS * counts // self.samples_per_class), 0)
        slots = np.zeros(len(counts))
        below = counts > 0
        while below.any():
            even = (self._n_slots - slots.sum()) / below.sum()
            full = below & (caps <= even)
            if not full.any():
                slots[below] = even
                break
            slots[full] = caps[full]
            below &= ~full
        return slots

    def __iter__(self):
        batches: list[list[np.ndarray]] = [[] for _ in range(self._n_batches)]
        for slot, code in enumerate(self._slots_of_epoch()):
            batches[slot % self._n_batches].append(self._draw(code))
        for batch in batches:
            yield np.concatenate(batch)

    def _slots_of_epoch(self):
        """Class code of every slot, a class's own slots next to each other, classes in random order.

        Fractions of a slot go to the classes that are owed most and are carried over, so that the shares
        hold over epochs and no class waits for ever.
        """
        drawn = np.floor(self._slots + 1e-9).astype(np.int64)
        self._owed += self._slots - drawn
        extra = np.argsort(-self._owed, kind="stable")[: self._n_slots - drawn.sum()]
        drawn[extra] += 1
        self._owed[extra] -= 1
        codes = self.random_generator.permutation(len(drawn))
        return np.repeat(codes, drawn[codes])

    def _draw(self, code):
        queue = self._queues[code]
        while len(queue) < self.samples_per_class:
            refill = self.random_generator.permutation(self._rows_of_class[code])
            waiting = np.isin(refill, queue)  # go to the end: no row is twice in a slot that other rows could fill
            queue = np.concatenate([queue, refill[~waiting], refill[waiting]])
        self._queues[code] = queue[self.samples_per_class :]
        return queue[: self.samples_per_class]


class BatchLoader:
    """Fetches the batches of a sampler from a data set; iterating it is one epoch.

    What the host decides about the batches, their rows and what ``draws`` add, goes to the device for 64 of them at a
    time, so that a step waits for no copy.

    Parameters
    ----------
    dataset : Rows
    sampler : iterable of ndarray of int64
        With a length; iterating it gives the row numbers of the batches of one epoch.
    draws : dict of callables, optional
        By name. Each takes the row numbers of a batch and gives a tuple of arrays that are to go with it.
    subset : ndarray of int64, optional
        The rows that the sampler's numbers count; all by default.
    """

    def __init__(self, dataset, sampler, draws=None, subset=None):
        self.dataset = dataset
        self.sampler = sampler
        self.draws = draws or {}
        self.subset = subset

    def __len__(self):
        return len(self.sampler)

    def __iter__(self):
        batches = iter(self.sampler)
        if self.subset is not None:
            batches = map(self.subset.take, batches)
        while ahead := list(islice(batches, _SENT_AHEAD)):
            drawn = {name: [draw(index) for index in ahead] for name, draw in self.draws.items()}
            indices = send_together([(index,) for index in ahead], self.dataset.device)
            sent = {name: send_together(of_batches, self.dataset.device) for name, of_batches in drawn.items()}
            for number, (index, (device_index,)) in enumerate(zip(ahead, indices, strict=True)):
                of_batch = {name: of_batches[number] for name, of_batches in sent.items()}
                yield self.dataset.fetch(index, device_index, of_batch)
