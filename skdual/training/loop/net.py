"""The skorch net: one training step, one epoch, one fit."""

import math

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochTimer
from skorch.dataset import unpack_data
from skorch.history import History

from ...inputs.batches import BatchLoader
from ...inputs.rows import Rows
from ...warn import warn
from .cuda_graph import CapturedUpdate
from .cycles import Cycles, early_stopping_callbacks
from .gradient_clipping import clip_gradients
from .loss_means import LossMeans
from .mixup import Mixing
from .progress import FitProgress, FitTable, closing_progress, is_parallel
from .running_fit import RunningFit, start_fit

_REMEDY = {
    "classification_loss": "lower learning_rate, weight_decay, gradient_clip or the weights of other loss terms, or "
    "scale the columns (standardize)",
    "contrastive_loss": "raise temperature, or lower contrastive_weight, learning_rate or weight_decay",
    "orthogonality_loss": "lower learning_rate, weight_decay or orthogonality_weight",
}

_HISTORY_NAMES = {
    "dur": "duration",
    "train_classification_loss": "classification_loss",
    "train_contrastive_loss": "contrastive_loss",
    "train_orthogonality_loss": "orthogonality_loss",
}
_NOT_KEPT = ("batches", "epoch", "train_batch_count", "valid_batch_count", "train_loss_best", "valid_loss_best")


def _in_order(rows):
    return BatchLoader(rows, list(rows.chunks()))


class DualBranchNet(NeuralNetClassifier):
    """Trains a :class:`~skdual.network.DualBranchNetwork` on :class:`~skdual.inputs.rows.Rows`.

    The loop is our own (no DataLoader, nothing read back from the device within an epoch); callbacks,
    parameters and history are skorch's. Rows come ready and on the device, so the ``iterator_*``, ``dataset``
    and ``train_split`` parameters of skorch have no effect.

    Parameters
    ----------
    module, criterion
        DualBranchNetwork and CompositeLoss; their arguments as ``module__*`` and ``criterion__*``.
    dtype : torch.dtype
        Of weights and rows.
    sampling : {"shuffle", "class_aware"}
    classes_per_batch, samples_per_class : int or None
        Of class-aware batches.
    memory_bank_size : int
    mixup_alpha : float
    warmup : float
    gradient_clip : float or None
    first_cycle : int or None
        Epochs of the first of two cycles of the learning rate, see :class:`~skdual.training.loop.cycles.Cycles`.
    patience : int or None
        Epochs without a better validation loss after which to stop; None trains to the end.
    capture_updates : bool
        Whether updates are launched as one graph (see :class:`~skdual.training.loop.cuda_graph.CapturedUpdate`).
    seed : int
        Of the order of rows, of the draws from the bank and of the mixing.
    **kwargs
        As for skorch.NeuralNetClassifier.

    Attributes
    ----------
    best_epoch_ : int
        Number of the epoch, from 1, whose weights the module ends with.
    """

    _running: RunningFit
    history_: History

    def __init__(
        self,
        module,
        *,
        dtype,
        sampling,
        classes_per_batch,
        samples_per_class,
        memory_bank_size,
        mixup_alpha,
        warmup,
        gradient_clip,
        first_cycle,
        patience,
        capture_updates,
        seed,
        **kwargs,
    ):
        super().__init__(module, **kwargs)
        self.dtype = dtype
        self.sampling = sampling
        self.classes_per_batch = classes_per_batch
        self.samples_per_class = samples_per_class
        self.memory_bank_size = memory_bank_size
        self.mixup_alpha = mixup_alpha
        self.warmup = warmup
        self.gradient_clip = gradient_clip
        self.first_cycle = first_cycle
        self.patience = patience
        self.capture_updates = capture_updates
        self.seed = seed

    @property
    def _default_callbacks(self):
        timer = ("epoch_timer", EpochTimer())
        if not self.verbose:
            return [timer]
        bar = self.verbose == 1 or is_parallel()  # rows of tables side by side would mix
        return [timer, ("progress", FitProgress()) if bar else ("print_log", FitTable())]

    # what is trained

    def initialize_module(self):
        with torch.device("cpu"):  # random weights come from the CPU whatever the device, so all start alike
            super().initialize_module()
        self.module_.to(self.dtype)
        return self

    def initialize_criterion(self):
        with torch.device("cpu"):
            super().initialize_criterion()
        self.criterion_.to(self.dtype)
        return self

    def initialize_optimizer(self):
        """Weight decay shrinks matrices only: not biases, norms, the scale, or bases that the penalty holds.

        Matrices are the parameters of three axes, the first of which is the member. With ``param_groups`` of
        the user's (``net_params``) it is for these to say.
        """
        args, kwargs = self.get_params_for_optimizer("optimizer", self.get_all_learnable_params())
        if not getattr(self, "optimizer__param_groups", None):
            parameters = [parameter for _, parameter in self.get_all_learnable_params()]
            matrices = [parameter for parameter in parameters if parameter.ndim == 3]
            others = [parameter for parameter in parameters if parameter.ndim != 3]
            args = ([{"params": matrices}, {"params": others, "weight_decay": 0.0}],)
        self.optimizer_ = self.optimizer(*args, **kwargs)
        return self

    def torch_compile(self, module, name):
        """Compile the forward pass in place, so that the module stays what it is and can be saved."""
        if self.compile and name == "module":
            # batches have two sizes, so two static graphs; inductor's dynamic ones trip over member axes' strides
            module.compile(**{"dynamic": False, **self.get_params_for("compile")})
        return module

    # one fit

    def partial_fit(self, X, y=None, classes=None, *, mask, interrupts, validation=None, before_scoring=lambda: None):
        """Train on Rows ``X``; Ctrl-C keeps the last finished epoch.

        Parameters
        ----------
        X : Rows
        mask : ndarray of bool of shape (n_members, n)
            Which rows each member trains on.
        interrupts : HeldInterrupts
            Let through while an epoch is trained, and waiting otherwise.
        validation : Rows, optional
            To be watched.
        before_scoring : callable
            Called before validation rows, or rows that members hold out, are scored.
        """
        self.notify("on_train_begin", X=X, y=y)
        try:
            with closing_progress(self.callbacks_):
                self.fit_loop(X, mask=mask, interrupts=interrupts, validation=validation, before_scoring=before_scoring)
        except KeyboardInterrupt:
            self._warn_of_interrupt()
        self._end_fit()
        history = self.history_
        self.notify("on_train_end", X=X, y=y)
        self.optimizer_.zero_grad(set_to_none=True)
        self.optimizer_.state.clear()  # twice as large as the weights
        for callback in early_stopping_callbacks(self):
            if callback.best_model_weights_ is not None:  # which it has put back
                self.best_epoch_ = callback.best_epoch_
        if self.history_ is not history:  # a Checkpoint has loaded its best epoch, with the history up to there
            self.best_epoch_, self.history_ = len(self.history_), history
        self.module_.eval()
        return self

    def fit_loop(self, X, y=None, epochs=None, *, mask, interrupts, validation=None, before_scoring=lambda: None):
        """All epochs of a fit, as skorch's; the other arguments are those of :meth:`partial_fit`.

        The weights of every finished epoch are kept, with ``patience`` those of the epoch with the lowest validation
        classification loss, until there has been no lower one for so many epochs.
        """
        epochs = self.max_epochs if epochs is None else epochs
        cycles = Cycles(self, X, mask, epochs)
        update = CapturedUpdate(self._run_update, self.optimizer_) if self.capture_updates else self._run_update
        self._running, loader = start_fit(self, X, cycles.lengths, mask, update)
        watched = None if validation is None else _in_order(validation)
        best, lowest = math.inf, {"train_loss": math.inf, "valid_loss": math.inf}
        data_sets = {"dataset_train": X, "dataset_valid": validation}
        for epoch in range(1, epochs + 1):
            with interrupts.let_through():
                self.notify("on_epoch_begin", **data_sets)
                self.history.record("learning_rate", self._running.schedule.get_last_lr()[0])
                self.run_single_epoch(loader, training=True, prefix="train", step_fn=self.train_step)
                if watched is not None or cycles.scores_held_out(epoch):
                    before_scoring()
                self.run_single_epoch(watched, training=False, prefix="valid", step_fn=self.validation_step)
            for name in lowest.keys() & self.history[-1]:  # skorch's Checkpoint asks whether it is the best so far
                self.history.record(f"{name}_best", self.history[-1, name] < lowest[name])
                lowest[name] = min(lowest[name], self.history[-1, name])
            loss = self.history[-1].get("valid_classification_loss", math.inf)
            if not self.patience or loss < best:
                best = loss
                self._running.kept.keep(epoch)  # of every epoch, for Ctrl-C in the next
            self._running.n_finished = epoch
            self._notify_of_epoch_end(data_sets)
            cycles.end_epoch(epoch)
            if self.patience and epoch - self._running.kept.epoch >= self.patience:
                break
        self._running.kept = cycles.choose(self._running.kept)
        return self

    def _notify_of_epoch_end(self, data_sets):
        try:
            self.notify("on_epoch_end", **data_sets)
        except KeyError as error:
            if "was not found in history" not in str(error):
                raise
            recorded = ", ".join(sorted(self.history[-1].keys() - set(_NOT_KEPT)))
            raise ValueError(f"callbacks: {error.args[0]} What may be monitored here: {recorded}.") from error

    def _warn_of_interrupt(self):
        if not hasattr(self, "_running") or not self._running.n_finished:
            raise KeyboardInterrupt("training was interrupted before its first epoch was finished")
        asked_for = any(callback.misses_ >= callback.patience for callback in early_stopping_callbacks(self))
        if not asked_for:
            warn(
                f"Training was interrupted after {self._running.n_finished} of {self.max_epochs} epochs; the weights "
                f"of epoch {self._running.kept.epoch} are kept."
            )

    def _end_fit(self):
        """Put back the weights that are kept, and check them."""
        kept = self._running.kept
        if kept.epoch < len(self.history):  # of an earlier epoch than the last, which may not be finished
            kept.restore()
        del self.history[self._running.n_finished :]
        # of every weight, which would make a mask as large as a wide layer, the least and the largest tell it too
        extremes = [end(tensor.detach()) for tensor in self.module_.parameters() for end in (torch.amin, torch.amax)]
        if not torch.stack(extremes).isfinite().all():
            raise ValueError(f"the weights are not finite after epoch {kept.epoch}; {_REMEDY['classification_loss']}.")
        self.best_epoch_ = kept.epoch
        del self._running

    # one epoch

    def run_single_epoch(self, iterator, training, prefix, step_fn):
        """Run over all batches, and record the mean of every loss term over the rows."""
        if iterator is None:
            return
        self._set_training(training)
        means = LossMeans()
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            means.add(step.pop("terms"), len(batch.index))
            self.history.record_batch(f"{prefix}_batch_size", len(batch.index))  # BatchScoring weighs by it
            self.notify("on_batch_end", batch=batch, training=training, **step)
        values, broken = means.read()
        for name, value in values.items():
            self.history.record(f"{prefix}_{name}", value)
        self.history.record(f"{prefix}_batch_count", len(iterator))
        broken.pop("loss", None)
        if broken:
            term = min(broken, key=lambda name: broken[name])
            rows = "training" if training else "validation"
            raise ValueError(
                f"{term} became NaN or infinite in epoch {len(self.history)}, batch {broken[term] + 1} of the {rows} "
                f"rows; {_REMEDY[term]}."
            )

    # one step

    def train_step(self, batch):
        """Forward, backward and update on one batch; reads nothing back from the device."""
        if not self.module_.training:  # a callback may have predicted in between
            self._set_training(True)
        step = self._running.update(batch)
        self._running.schedule.step()
        return step

    def _run_update(self, batch):
        """One training step on a batch, except for advancing the schedule."""
        self.optimizer_.zero_grad(set_to_none=True)
        mixing = candidates = None
        if self._running.mixup is not None:
            partner, weight = batch.drawn["mixup"]
            mixing = Mixing(partner, weight.to(self.dtype)[:, None])
        if self._running.bank is not None:
            slots, last = batch.drawn["bank"]
            candidates = self._running.bank.take(slots)
        mask = self._batch_mask(batch, mixing)
        terms, output = self._loss_terms(batch, self._running.class_weight, mixing, mask, candidates)
        (terms["loss"] * self.module_.n_members).backward()  # each member's own loss, as if it were alone
        self.notify(
            "on_grad_computed",
            named_parameters=self.module_.named_parameters(),
            X=batch.blocks,
            y=batch.target,
            batch=batch,
            training=True,
        )
        if self.gradient_clip is not None:
            # asked of the optimizer, which has them at hand; the module would look for them
            parameters = [parameter for group in self.optimizer_.param_groups for parameter in group["params"]]
            clip_gradients(parameters, self.gradient_clip)
        self.optimizer_.step()
        if self._running.bank is not None:
            self._running.bank.store(batch.device_index, last, output.projections, mask)
        terms = {name: term.detach() for name, term in terms.items()}
        return {"loss": terms["loss"], "y_pred": output.scores.detach().mean(dim=0), "terms": terms}

    def validation_step(self, batch):
        """Loss terms of validation rows, drawn at their natural frequency and without the bank."""
        with torch.no_grad():
            terms, output = self._loss_terms(batch)
        return {"loss": terms["loss"], "y_pred": output.scores.mean(dim=0), "terms": terms}

    def _batch_mask(self, batch, mixing):
        """Which rows of a batch each member trains on, (n_members, batch); None where all train on all."""
        if self._running.training_mask is None:
            return None
        mask = self._running.training_mask[:, batch.device_index]
        return mask if mixing is None else mixing.mask(mask)

    def _loss_terms(self, batch, class_weight=None, mixing=None, mask=None, candidates=None):
        output = self.module_(*batch.blocks, mixing)
        ids = None if output.projections is None else self.criterion_.ids(batch.target, batch.device_index)
        terms = self.criterion_(
            output.scores,
            batch.target,
            class_weight=class_weight,
            mixing=mixing,
            training_mask=mask,
            projections=output.projections,
            ids=ids,
            bank_candidates=candidates,
            gram=output.gram,
        )
        return terms, output

    def epochs(self):
        """The history as one flat dict of floats per epoch, in the estimator's names."""
        return [
            {_HISTORY_NAMES.get(name, name): value for name, value in row.items() if name not in _NOT_KEPT}
            for row in self.history.to_list()
        ]

    # inference, so that scoring callbacks work

    def get_iterator(self, dataset, training=False):
        if not isinstance(dataset, Rows):
            raise TypeError("net_ takes no X; call predict, predict_proba or transform of the classifier instead.")
        return _in_order(dataset)

    def evaluation_step(self, batch, training=False):
        inputs, _ = unpack_data(batch)
        self._set_training(training)
        with torch.set_grad_enabled(training):
            return self.module_.scores(*inputs)

    def predict_proba(self, X):
        return torch.softmax(self.forward(X), dim=1).numpy()
