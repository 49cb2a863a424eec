"""The front door: validates, delegates and remembers."""

import copy

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from . import __version__
from .devices import resolve_device, resolve_dtype
from .inputs.columns import ColumnBlocks
from .inputs.rows import Rows
from .inputs.validation import check_matrix, check_training_input
from .parameters import CONSTRAINTS, settle
from .saving import pack, unpack
from .training.fitting import build_net, split_rows, train
from .training.inference import run_in_chunks


def _has_subspaces(estimator):
    """Raise the AttributeError that says why there are no projection errors."""
    if estimator.head != "subspace":
        raise AttributeError(f"projection_error needs head='subspace'; got head={estimator.head!r}.")
    return True


class DualBranchClassifier(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):
    """DOC"""

    _parameter_constraints = CONSTRAINTS

    def __init__(
        self,
        blocks=None,
        *,
        standardize=True,
        hidden_layer_sizes="auto",
        dropout="auto",
        activation="gelu",
        normalization="layer",
        initialization="he",
        fusion="attention",
        token_dim=8,
        attention_heads=1,
        projection_dim=128,
        contrastive="supervised",
        contrastive_weight=0.1,
        temperature=0.1,
        memory_bank_size=0,
        head="subspace",
        subspace_dim=4,
        orthogonality_weight=1.0,
        class_weight=None,
        label_smoothing=0.0,
        batch_size="auto",
        sampling="shuffle",
        classes_per_batch=None,
        samples_per_class=None,
        max_epochs="auto",
        learning_rate=1e-3,
        weight_decay=1e-2,
        warmup=0.1,
        gradient_clip=1.0,
        early_stopping=False,
        validation_fraction=0.1,
        patience=10,
        warm_start=False,
        device="auto",
        precision="auto",
        compile=False,
        random_state=None,
        verbose=0,
        callbacks=None,
        net_params=None,
    ):
        self.blocks = blocks
        self.standardize = standardize
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.activation = activation
        self.normalization = normalization
        self.initialization = initialization
        self.fusion = fusion
        self.token_dim = token_dim
        self.attention_heads = attention_heads
        self.projection_dim = projection_dim
        self.contrastive = contrastive
        self.contrastive_weight = contrastive_weight
        self.temperature = temperature
        self.memory_bank_size = memory_bank_size
        self.head = head
        self.subspace_dim = subspace_dim
        self.orthogonality_weight = orthogonality_weight
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.batch_size = batch_size
        self.sampling = sampling
        self.classes_per_batch = classes_per_batch
        self.samples_per_class = samples_per_class
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.gradient_clip = gradient_clip
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.compile = compile
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.net_params = net_params

    def fit(self, X, y, *, X_val=None, y_val=None):
        """Train on X and y."""
        self._validate_params()
        continued = self.warm_start and hasattr(self, "network_")
        data = check_training_input(self, X, y, X_val, y_val)
        device = resolve_device(self.device)
        dtype = resolve_dtype(self.precision, data.X.dtype, device)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        train_rows = valid_rows = None
        if self.early_stopping and data.validation is None:
            train_rows, valid_rows = split_rows(data.y, self.validation_fraction, seed)
        settings = settle(
            self.get_params(deep=False),
            data.columns.widths,
            data.y,
            data.classes,
            len(data.y) if train_rows is None else len(train_rows),
        )
        if continued:
            self._check_continuation(data, settings)

        def build():
            return build_net(
                settings,
                device,
                dtype,
                seed,
                callbacks=copy.deepcopy(self.callbacks),
                verbose=self.verbose,
                compile=self.compile,
                net_params=self.net_params,
            )

        initial_weights = self.network_.state_dict() if continued else None
        net = train(build, data, train_rows, valid_rows, device, dtype, seed, initial_weights)
        self._remember(data, settings, net, device, earlier_history=self.history_ if continued else [])
        return self

    def _check_continuation(self, data, settings):
        """Refuse a warm start that could not go on from the fitted network."""
        if not np.array_equal(data.classes, self.classes_):
            raise ValueError(
                f"warm_start=True goes on with the fitted classes {self.classes_}, but y has {data.classes}; set "
                f"warm_start=False to start anew."
            )
        if not data.columns.same_as(self._columns()):
            raise ValueError(
                "warm_start=True goes on with the fitted blocks, but blocks or the columns of X have changed."
            )
        for name, value in settings["module"].items():
            if value != self._settings["module"][name]:
                raise ValueError(
                    f"warm_start=True goes on with the fitted network, whose {name} is "
                    f"{self._settings['module'][name]!r}, but now it would be {value!r}; set warm_start=False to start "
                    f"anew."
                )

    def _remember(self, data, settings, net, device, earlier_history):
        """Commit a finished fit; the only place that writes fitted attributes."""
        self.classes_ = data.classes
        self.n_features_in_ = data.X.shape[1]
        if data.feature_names is not None:
            self.feature_names_in_ = data.feature_names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.block_names_ = data.columns.names
        self.block_indices_ = data.columns.indices
        self.net_ = net
        self.network_ = net.module_
        self.device_ = device
        self.history_ = earlier_history + net.epochs()
        self.n_epochs_ = len(self.history_)
        self._settings = settings

    def _columns(self):
        return ColumnBlocks(self.block_names_, self.block_indices_)

    @property
    def _n_features_out(self):
        return self.network_.embedding_dim

    def _run(self, method, X):
        """Check X and run a method of the network over it."""
        check_is_fitted(self)
        X = check_matrix(self, X)
        dtype = next(self.network_.parameters()).dtype
        return run_in_chunks(self.network_, method, Rows(X, self._columns(), self.device_, dtype))

    def decision_function(self, X):
        """Class scores."""
        scores = self._run("scores", X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        return self.classes_[self._run("scores", X).argmax(axis=1)]

    def predict_proba(self, X):
        return softmax(self._run("scores", X), axis=1)

    def predict_log_proba(self, X):
        return log_softmax(self._run("scores", X), axis=1)

    def transform(self, X):
        return self._run("embed", X)

    def transform_branches(self, X):
        return self._run("encode", X)

    @available_if(_has_subspaces)
    def projection_error(self, X):
        return self._run("projection_error", X)

    def __getstate__(self):
        return pack(super().__getstate__(), __version__)

    def __setstate__(self, state):
        super().__setstate__(unpack(state))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
