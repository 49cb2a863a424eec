"""The public estimator: checks its input, has a fit done, and keeps what came of it."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import validate_parameter_constraints

from .devices import own_modes, resolve_device
from .fitted_methods import FittedMethods, columns_of
from .inputs.validation import check_training_input
from .parameters import CONSTRAINTS
from .serialization import pack, unpack
from .training.fitting import fit_network
from .training.warm_start import PreviousFit


class DualBranchClassifier(FittedMethods):
    """Classifier for samples described by two blocks of columns.

    Each block of columns has an encoder of its own; the two are fused, shaped by a contrastive loss, and classified
    by the distance to one small linear subspace per class. Several such networks are trained side by side and averaged.

    Parameters
    ----------
    blocks : int, pair, dict or None, default=None
        Which columns feed which branch. An int k: the first k columns | the rest (-k: the rest | the last k). A
        pair, or a dict name -> selector, of two selectors in the grammar of
        :class:`~sklearn.compose.ColumnTransformer` (slice, column numbers, boolean mask, names, callable), or
        :func:`~skdual.from_prefix`. Every column must be in exactly one of the two. None: both branches read every
        column. Numbers of columns are those of the X of :meth:`fit`: inside meta-estimators that pick or append columns
        (bagging with ``max_features``, recursive elimination, classifier chains) they mean others, so take None there.
        The order of a dict counts, which joblib's caches (``memory`` of a pipeline) and scikit-learn's repr do not see.
    standardize : bool, str, pair or dict, default=True
        How the columns are scaled by the training rows. "standard" (True): centred, to unit variance, but for columns
        of long tails, of codes for what is missing, and of few values far astray (see Notes). "robust": median and
        quartiles, such that a normal column has unit variance. "log1p": log(1 + x), then centred, to unit variance; no
        value may be negative. These three clip values smoothly to three deviations. "minmax": to [0, 1]. "maxabs": to
        [-1, 1], zeros kept. "none" (False): as they are. A pair or a dict by block name has one for each block. A scale
        that would be 0, as where a column does not vary, is 1.
    hidden_layer_sizes : "auto", pair or dict of sequences of int, default="auto"
        Widths of the layers of branch A and of branch B, or by block name; the last are the widths of their outputs.
        "auto" is ``(2048, 1024, 512, 256)`` for a block A of at least 8,192 columns and as many training rows, ``(512,
        256)`` for a block B of at least 2,048 of both, and else ``(256, 128)``, halved until they start with at most 16
        units a column, or 32.
    dropout : "auto", float, pair or dict of float, default="auto"
        Dropout rate of both branches, or of each, in the regularised members (see Notes). "auto" is 0.5 for a
        block A of at least 8,192 columns and as many training rows, and 0.2 otherwise.
    activation : {"gelu", "gelu_tanh"}, default="gelu"
        Exact GELU or its tanh approximation.
    normalization : {"layer", "batch"}, default="layer"
        Normalisation after each linear layer of the branches.
    initialization : {"he", "xavier", "orthogonal"}, default="he"
        Random weights of the branches. Biases start at 0, those of the first layer of a block of at least two training
        rows for each column at random.
    fusion : {"concat", "attention"}, default="concat"
        Plain concatenation, or attention over feature tokens in both directions, by the same scores. Attention was no
        more accurate on most data. With branches of (256, 128) a fit takes two to three times as long on a CPU, a step
        of much wider ones some 1.3 times.
    block_dropout : float, default=0.25
        Share of the training rows, over all members, from which block A or block B (equally often) is removed, so that
        rows can be scored by both blocks and by either alone; ``block_weights_`` has the resulting weights. Where there
        are several members, only the regularised ones (see Notes) lose blocks, at a rate scaled so that the average
        over all members is ``block_dropout``: twice the rate where half of them are regularised (1 at most). 0: rows
        are scored by both blocks only.
    token_dim : int, default=4
        Width of a token. With ``fusion="attention"`` only.
    attention_heads : int, default=1
        Must divide ``token_dim``. With ``fusion="attention"`` only.
    projection_dim : int, default=128
        Width of the projections that the contrastive loss compares. With a contrastive loss only.
    contrastive : {"supervised", "self_supervised"} or None, default="supervised"
        Which projections are positives of each other: all of the same class, or those of the two branches of a row.
        None: no contrastive loss.
    contrastive_weight : float, default=1.0
        Weight of the contrastive loss; 0 removes it.
    temperature : float, default=0.1
        Temperature of the contrastive loss. With a contrastive loss only.
    memory_bank_size : int, default=0
        Earlier projections to draw for each batch as further candidates of the contrastive loss. Refused without one.
    head : {"subspace", "linear"}, default="subspace"
        Score by minus the projection error onto the class's subspace, or by a linear layer. The subspaces of the
        regularised members (see Notes) need not pass through the origin: a constant 1 is appended to their
        unit-length embedding, so that, as to a linear layer, a row and its opposite differ. A linear layer on
        concatenated branches adds what each block says: classes that only both blocks tell together need "subspace", or
        ``fusion="attention"``.
    subspace_dim : int, default=4
        Basis vectors per class. With ``head="subspace"`` only.
    orthogonality_weight : float, default=1.0
        Weight of the penalty that keeps the basis vectors orthonormal; 0 removes it. With ``head="subspace"``
        only.
    n_members : "auto" or int, default="auto"
        Independent networks of one form that are trained side by side (see Notes). "auto" is 8, halved until all
        members together have at most 32 million weights in the hidden layers of their branches, and see at most 100,000
        rows an epoch (training rows times members). With 2,000 training rows at most, a block of more columns than rows
        counts as one of as many columns as rows (see Notes), as long as the weights of all columns are at most 256
        million.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the cross-entropy, as in scikit-learn; scaled to a mean of 1 over the rows of y, so
        that only their ratios count.
    label_smoothing : float, default=0.0
        Share of the target that is spread evenly over the classes, in [0, 1). All of a row's target has the weight of
        its own class (torch gives each share that of the class it goes to).
    mixup_alpha : "auto" or float, default="auto"
        The regularised members (see Notes) see half of the rows of a batch mixed with another row of it, in all
        columns and in the target, with weights drawn from Beta(mixup_alpha, mixup_alpha), the row's own the larger; 0
        mixes none. To the contrastive loss a mixed row is of its own class. "auto" is 0.4, and 0 where more than half
        of the values of a block are 0, as in counts of words or genes.
    batch_size : "auto" or int, default="auto"
        Rows per step, at least 2; a larger number than there are training rows means all of them, and class-aware
        batches have as many whole shares of a class as fit in. "auto" is all of up to 64 training rows; of more it is
        the power of two nearest to a sixteenth of them, on a logarithmic scale, between 32 and 256; of ten rows a class
        at most, on the mean, it is nearest to twice the number of classes if that is more.
    sampling : {"shuffle", "class_aware"}, default="shuffle"
        Batches of shuffled rows, or of ``classes_per_batch`` x ``samples_per_class`` rows, in which rare classes
        are repeated (a row about 4 times an epoch at most, or as often as one ``samples_per_class`` needs) and the
        cross-entropy is weighted by the inverse of the sampling frequency, so that probabilities keep the priors (with
        layer normalisation; batch normalisation lets the rows of a batch see how it was drawn, which skews them).
    classes_per_batch, samples_per_class : int or None, default=None
        Shape of class-aware batches. None: as many classes as leave at least 4 rows for each (at least 2 classes where
        ``batch_size`` is "auto"), and the number of rows that follows from it. Refused with ``sampling="shuffle"``, if
        there are fewer classes or rows, and where both leave another product than ``batch_size``.
    max_epochs : "auto" or int, default="auto"
        Passes over the training rows; with a number exactly so many. "auto" is 40, and more where these would be
        fewer than 350 steps (175 where one batch holds all rows). From 100 training rows on, some of which are held out
        (see Notes), and without ``early_stopping`` or a callback of skorch's EarlyStopping, "auto" lets the learning
        rate fall twice, over a quarter of the epochs and over the others. The fit returns to the weights at the end of
        the first fall if their log loss on held-out rows is lower than that of the last ones by more than 3 % of it, or
        of what it is below the log loss of chance, if that is less; so it is in noisy data.
    learning_rate : "auto" or float, default="auto"
        Peak learning rate of AdamW. "auto" is 0.002, and up to 0.008 for many training rows of few columns: between the
        two it is 2e-5 n / sqrt(p) for n rows, 4,096 at most, of p columns in both branches.
    weight_decay : "auto" or float, default="auto"
        Decoupled weight decay of the weight matrices, times the learning rate of the step. "auto" is 1, and less in
        long fits: 4 over the product of ``learning_rate`` and the number of steps. Where ``net_params`` has an
        ``optimizer`` or ``optimizer__param_groups`` of its own, it is what the optimizer has by default.
    warmup : float, default=0.1
        Share of the steps over which the learning rate rises; it falls along half a cosine afterwards.
    gradient_clip : float or None, default=1.0
        Largest norm of a member's gradient.
    early_stopping : bool, default=False
        Stop when the validation rows' classification loss has not improved for ``patience`` epochs, and
        keep the best epoch's weights. The rows are ``X_val`` of :meth:`fit`, or else a stratified part of X, in which
        the copies of a row stay together.
    validation_fraction : float, default=0.1
        Share of the rows to set aside with ``early_stopping=True`` and no ``X_val``.
    patience : int, default=10
        Epochs without improvement. With ``early_stopping=True`` only.
    warm_start : bool, default=False
        Go on from the fitted weights (with a new optimizer, schedule and bank) instead of starting anew. What the
        first fit settled of the columns stays (their scaling, norms, splines and whitening, see Notes), and so do
        widths and members that are "auto". The same rows in the same order are held out (see Notes), and set aside by
        ``early_stopping``, as in the first fit. With other rows, in another order, or with ``early_stopping`` turned on
        or off, such rows were learnt before, and the probabilities come out too sharp; ``X_val`` lessens that, and
        ``warm_start=False`` ends it.
    rejection_quantile : float or None, default=None
        Share of the validation rows, in (0, 1), that the threshold of familiarity leaves out (see
        :meth:`score_samples`). :meth:`predict` gives rows below it ``rejection_label``. Needs validation rows
        (``X_val`` of :meth:`fit`, or ``early_stopping=True``), ``head="subspace"`` and a ``rejection_label``. None: no
        row is rejected.
    rejection_label : label or None, default=None
        What :meth:`predict` returns for rejected rows, none of the labels of y: a str beside strings, an integer beside
        integers and booleans, a whole number beside floats; there is none beside dates. Refused without
        ``rejection_quantile``. It is one more label to scores of predicted labels, such as "f1_macro": give them
        ``labels=model.classes_``, or search by scores of probabilities. Voting ensembles have to vote softly. Ensembles
        that encode y (voting, stacking, one-vs-rest) ask for an integer.
    device : str or torch.device, default="auto"
        "auto" takes the first of CUDA, MPS, XPU and the CPU that is available; any torch device string is honoured.
    precision : {"auto", "float32", "bfloat16", "float64"}, default="auto"
        "auto" is float64 for float64 data on the CPU and else float32, with bfloat16 products where they are
        most of the work and the device is fast at them: from 1 million weights in the branches of all members on CPUs
        with AMX or AVX512-BF16, from 8 million on CUDA of capability 8.0 and above (a block counts with as many columns
        as there are training rows, where these are fewer).
        "bfloat16" rounds the products of encoders, fusion and projection heads while training; weights, losses and
        predictions stay float32.
    compile : bool, default=False
        Compile the forward pass of training, and of validation rows, with torch.compile. Predictions are not compiled.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, dropout, batches, bank, mixing, validation split, and the coordinates that blocks of more columns
        than rows are trained in. The global random states of torch and Python are left alone, and with an int numpy's
        too; but no other thread should draw from torch's, or rely on torch's default dtype, during a fit.
    verbose : int, default=0
        0 is silent. 1 shows one bar over the epochs on the standard error stream, with the training loss, the
        validation rows' classification loss and accuracy where there are such rows, and the time left; where no bar
        can be drawn, as in log files, a line after every tenth of the fit. 2 prints a table row each epoch. Fits that
        run side by side (``n_jobs``) print one line each, at their end.
    callbacks : list of skorch callbacks or None, default=None
        skorch callbacks, or pairs (name, callback). Each is copied before use; what it refers to is not. Of a block of
        more columns than training rows they see coordinates in place of columns (see Notes). What they may monitor are
        the names of ``history_``, where ``classification_loss`` and the other terms are called
        ``train_classification_loss`` and so on. An ``LRScheduler`` is refused, as the learning rate is settled, and so
        is an ``EpochScoring`` by the name of a score with ``use_caching=False``, which would get no labels.
    net_params : dict or None, default=None
        Further arguments of the skorch net, such as ``{"optimizer__betas": (0.9, 0.99)}``, merged last. What another
        parameter settles is refused here.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    n_features_in_ : int
        Columns of X in fit.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where X in fit had names.
    block_names_ : tuple of two str
        Names of the blocks; "a" and "b" where none were given.
    block_indices_ : tuple of two ndarray of int
        Positions of the columns of each block.
    block_weights_ : ndarray of shape (3,) or (1,)
        Share of the scores by both blocks (of all members), by block A alone and by block B alone in the final scores;
        by both blocks only with ``block_dropout=0``. Fitted on held-out rows (see Notes); (1, 0, 0) where there are
        none, and 0 for a block that is the same in all training rows.
    probability_temperature_ : float
        The weighted scores are divided by it, so that probabilities are calibrated: above 1 where they were
        overconfident. Fitted with the weights; 1 where there are no rows for it.
    class_offsets_ : ndarray of shape (n_classes,)
        What is added to the scores of each class, so that rare classes are given about as often as they occur: a
        multiple of the logarithms of the class sizes. Fitted with the weights; 0 where there are no rows for it, and
        where all classes are of one size.
    rejection_threshold_ : float
        Least familiarity of a row that :meth:`predict` accepts; with ``rejection_quantile`` only.
    network_ : skdual.network.DualBranchNetwork
        The trained torch module, in evaluation mode.
    net_ : skdual.training.loop.net.DualBranchNet
        The skorch net around it, for its parameters and, until it is saved, its history; it takes no X.
    history_ : list of dict
        For each epoch the means over the rows trained on of ``train_loss`` (the weighted sum), ``classification_loss``,
        ``contrastive_loss`` and ``orthogonality_loss`` (before these weights; terms that are off are left out), the
        same over validation rows where there are any, as ``valid_loss``, ``valid_classification_loss`` and so on, the
        ``learning_rate`` at its start, its ``duration`` in seconds, and what callbacks record. The classification loss
        is that which is trained, with ``class_weight`` and ``label_smoothing``. Losses are means over the members, each
        by itself and by both blocks; the log loss of ``predict_proba``, which all give together and calibrated, is
        another.
    n_epochs_ : int
        Epochs run, those before a warm start included.
    best_epoch_ : int
        The one of them, counted from 1, whose weights were kept: the last, the best one with early stopping, or the end
        of the first fall of the learning rate (see ``max_epochs``).
    device_ : torch.device
        Where the network is.
    settings_ : dict
        What the fit made of the parameters and of the rows. Of ``standardize``, ``hidden_layer_sizes`` and ``dropout``
        the pairs for the two blocks; ``n_members``, ``mixup_alpha``, ``batch_size``, ``classes_per_batch``,
        ``samples_per_class``, ``max_epochs``, ``learning_rate``, ``weight_decay`` (None: the optimizer's own) and
        ``precision``, without "auto"; as pairs of bool, for which blocks the norm of a row is one more column
        (``row_norms``), which have splines (``splines``) and which the plain members take whitened (``whitened``); and
        whether they take both whitened together (``whitened_together``; see Notes).

    See Also
    --------
    skdual.from_prefix : Blocks by column name.
    skdual.join_blocks : X and blocks from two matrices.

    Notes
    -----
    - Members. The first half of several members, rounded down, is plain. The others, or a single one, are regularised:
      by ``dropout``, ``block_dropout``, ``mixup_alpha`` and the relevance of the columns. That helps with few or noisy
      rows, but can hurt what is not linear and what only both blocks tell together. Scores are averaged within each
      half.

    - Scaling by "standard". A code for what is missing, such as 0 or -999, that lies far from the other values of its
      column is moved towards these, the nearer the less it tells of the classes. Columns of long tails are replaced by
      logarithms: those without negative values, such as counts and concentrations, by log(1 + x / u); those with, such
      as increments, by log(1 + d / u) with the sign of x - median, where d is the distance of x from the median. Other
      columns, whose standard deviation is that of few values far astray, are scaled as by "robust" if these are very
      far, or if the column tells clearly more of the classes so. ``help(skdual.scaling)`` has the rules in full.

    - Norm of a row. Layer normalisation makes a network all but blind to how far a row is from the mean. Where that
      tells the classes far better than any column of the block does, it is one more column: the root mean square of the
      scaled columns, standardised. ``help(skdual.training.columns)`` has the rules of this and of the next three.

    - Splines. Columns that tell the classes by their level and not by how large they are, such as the number of a
      category, or a measure of which too little is as bad as too much, get linear B-splines beside them, where these
      help a kernel ridge regression of the classes on rows left out; in blocks of no more columns than rows, which are
      then not whitened.

    - Whitening. Where columns go together, as neighbouring wavelengths do, or two blocks that measure the same, left
      and right or before and after, what they share is most of their variance, and a network hears little of the rest.
      A block whose classes are told by that rest, as ridge regressions say on rows left out, the plain members take
      whitened: its scaled and centred columns z become z (C + a v I)^(-1/2), where C is their covariance, v the mean of
      its variances, and a is what suits the regressions. Then the same is done with the columns of both blocks
      together; what branch A reads in the plain members then depends on both blocks, and :meth:`transform_branches`
      gives the outputs of the first regularised member.

    - Relevance of the columns. Regularised members multiply every scaled column by the root of how much it tells of the
      classes by itself (epsilon squared, shrunk) plus the mean of that over the block, so that few columns that tell
      the classes count among many that do not. Each member takes it from the rows that it trains on. After the fit it
      is part of the weights.

    - Held-out rows. Each of several members, but for the last of an odd number, leaves a sixth of the rows out of its
      training, less with more than 12 members, 2,000 at most; the first plain and the first regularised one the same,
      and so on. A single member of more than 2,000 rows leaves out a tenth, without ``early_stopping``. Copies of a
      row, as in bootstrap samples, are left out together, or by no member if they are more than a sixth of the rows.
      Held-out and validation rows decide how much each of four mean scores counts: of plain members, of regularised
      ones, and of the latter by block A and by block B alone. These weights (``block_weights_``) and the temperature of
      the probabilities have the least log loss on such rows, with a small cost of single blocks. So has what is added
      to the scores of each class, t times the logarithm of its size (of the weights of its rows together), with a cost
      of 1.5 t squared in log loss summed over rows: the temperature sharpens what the scores say of the sizes too, and
      rare classes would be given too seldom. The columns of held-out rows count in what columns are scaled and whitened
      by, in the span of the rows (below) and in the statistics of batch normalisation; their labels only in where codes
      for what is missing are put, whether columns with values far astray are scaled by their quartiles, whether the
      norm of a row is a column, which columns have splines, and whether and how much a block is whitened.

    - Span of the rows. The first weights of a block of more columns than training rows are trained as coordinates in
      the span of these n rows: every unit then needs n weights in place of p for the same outputs. Columns that are
      clipped also lose the mean that clipping has left them there. At the end the weights become those of all columns.
      Where it takes too much memory, or the fit is short, the columns are trained as they are
      (``help(skdual.training.span)``).

    References
    ----------
    - A subspace for each class: Oja, "Subspace Methods of Pattern Recognition", Research Studies Press 1983.
    - Contrastive loss: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020; Chen et al., "A Simple Framework
      for Contrastive Learning of Visual Representations", ICML 2020 (NT-Xent).
    - Memory bank: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018;
      Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020.
    - Attention fusion: Vaswani et al., "Attention Is All You Need", NeurIPS 2017; Li et al., "Grounded Language-Image
      Pre-training", CVPR 2022 (both ways by the same scores).
    - Members: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation Using Deep Ensembles",
      NeurIPS 2017. Block dropout: Neverova et al., "ModDrop", IEEE TPAMI 2016. Mixed rows: Zhang et al., "mixup: Beyond
      Empirical Risk Minimization", ICLR 2018.
    - Whitening: Kessy, Lewin & Strimmer, "Optimal Whitening and Decorrelation", The American Statistician 2018. Rows
      left out of ridge regression: Allen, "The Relationship Between Variable Selection and Data Augmentation and a
      Method for Prediction", Technometrics 1974. The largest penalty within a standard error: Breiman et al.,
      "Classification and Regression Trees", Wadsworth 1984.
    - Splines: de Boor, "A Practical Guide to Splines", Springer 1978. Kernel ridge regression: Saunders, Gammerman &
      Vovk, "Ridge Regression Learning Algorithm in Dual Variables", ICML 1998.
    - Relevance of columns: Kelley, "An Unbiased Correlation Ratio Measure", PNAS 1935; Morris, "Parametric Empirical
      Bayes Inference", JASA 1983. Clipping of scaled ones: Holzmueller et al., "Better by Default", NeurIPS 2024.
    - Learning rate and weight decay: Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR
      2017, "Decoupled Weight Decay Regularization", ICLR 2019; Wang & Aitchison, "How to set AdamW's weight decay as
      you scale model and dataset size", ICML 2025.
    - Temperature: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Offsets of classes: Menon et al.,
      "Long-tail Learning via Logit Adjustment", ICLR 2021.
    - Random turn of the rows' span: Ailon & Chazelle, "The Fast Johnson-Lindenstrauss Transform", SIAM Journal on
      Computing 2009.

    Examples
    --------
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> htad = load_htad()
    >>> model = DualBranchClassifier(blocks=36, max_epochs=5, random_state=0)
    >>> model.fit(htad.data, htad.target).transform(htad.data).shape
    (1386, 256)
    """

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
        fusion="concat",
        block_dropout=0.25,
        token_dim=4,
        attention_heads=1,
        projection_dim=128,
        contrastive="supervised",
        contrastive_weight=1.0,
        temperature=0.1,
        memory_bank_size=0,
        head="subspace",
        subspace_dim=4,
        orthogonality_weight=1.0,
        n_members="auto",
        class_weight=None,
        label_smoothing=0.0,
        mixup_alpha="auto",
        batch_size="auto",
        sampling="shuffle",
        classes_per_batch=None,
        samples_per_class=None,
        max_epochs="auto",
        learning_rate="auto",
        weight_decay="auto",
        warmup=0.1,
        gradient_clip=1.0,
        early_stopping=False,
        validation_fraction=0.1,
        patience=10,
        warm_start=False,
        rejection_quantile=None,
        rejection_label=None,
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
        self.block_dropout = block_dropout
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
        self.n_members = n_members
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.mixup_alpha = mixup_alpha
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
        self.rejection_quantile = rejection_quantile
        self.rejection_label = rejection_label
        self.device = device
        self.precision = precision
        self.compile = compile
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.net_params = net_params

    def fit(self, X, y, *, X_val=None, y_val=None):
        """Train on X and y.

        A fit that is refused or fails changes nothing, but for a RandomState instance from which it has drawn its seed.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            float32 or float64; float16 and bfloat16 are turned into float32, anything else into float64. Sparse rows
            are made dense a batch at a time, or where a block has more columns than rows all of them, up to a number of
            values (see Notes).
        y : array-like of shape (n_samples,)
            Labels of at least two classes.
        X_val : like X, of shape (n_validation_samples, n_features), optional
            Validation rows, not to be used for testing afterwards: ``block_weights_``, the temperature of the
            probabilities and the threshold of ``rejection_quantile`` are fitted on them, and with
            ``early_stopping=True`` they decide when to stop. Their losses are recorded every epoch. The steps of a
            pipeline before this one transform them only with ``Pipeline(..., transform_input=["X_val"])`` and metadata
            routing; ``early_stopping=True`` takes rows of X, which are transformed.
        y_val : array-like of shape (n_validation_samples,), optional
            Their labels, all of which y must have. Ensembles that encode y (voting, stacking, bagging, one-vs-rest)
            hand them on as they are: set ``early_stopping=True`` there.

        Returns
        -------
        self : DualBranchClassifier

        Raises
        ------
        ValueError
            If a parameter or an input is wrong, naming it, what was expected and what came; or if a loss is no longer
            finite, naming the epoch, the term and what to change.
        TypeError
            If ``blocks`` or X is of a type that can't be used.
        KeyboardInterrupt
            On Ctrl-C before the first epoch is finished, or when it comes twice after the last.

        Warns
        -----
        DataConversionWarning
            If y is a column of shape (n_samples, 1).
        UserWarning
            On Ctrl-C while epochs are trained: the last finished one is kept, or the best one with early stopping. On
            Ctrl-C after the last: the fit is finished all the same. If a warm start sets rows aside for validation that
            the fit before it has learnt. On a CUDA device, if updates can't be launched as one graph and are launched
            kernel by kernel.

        Examples
        --------
        >>> from sklearn.model_selection import train_test_split
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> X, X_val, y, y_val = train_test_split(htad.data, htad.target, random_state=0)
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0)
        >>> history = model.fit(X, y, X_val=X_val, y_val=y_val).history_
        >>> len(history), "valid_loss" in history[-1]
        (2, True)
        """
        # not by get_params, which a subclass that settles some of them does not list
        params = {name: getattr(self, name) for name in self._parameter_constraints}
        validate_parameter_constraints(self._parameter_constraints, params, caller_name=type(self).__name__)
        data = check_training_input(self, X, y, X_val, y_val)
        device = resolve_device(self.device)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        previous = None
        if self.warm_start and hasattr(self, "network_"):
            names = getattr(self, "feature_names_in_", None)
            previous = PreviousFit(self.classes_, columns_of(self), names, self._settings, self.network_.state_dict())
        with own_modes():
            fit = fit_network(params, data, device, seed, previous)
        self._remember(data, device, fit, earlier_history=[] if previous is None else self.history_)
        return self

    def _remember(self, data, device, fit, earlier_history):
        """Commit a finished fit; the only place of a fit that writes fitted attributes, all of them at once."""
        network, history = fit.net.module_, earlier_history + fit.net.epochs()
        block_weights, temperature, class_offsets = network.ensemble.as_fitted()
        fitted = {
            "classes_": data.classes,
            "n_features_in_": data.X.shape[1],
            "feature_names_in_": data.feature_names,
            "block_names_": data.columns.names,
            "block_indices_": data.columns.indices,
            "net_": fit.net,
            "network_": network,
            "device_": device,
            "block_weights_": block_weights,
            "probability_temperature_": temperature,
            "class_offsets_": class_offsets,
            "rejection_threshold_": fit.rejection_threshold,
            "history_": history,
            "n_epochs_": len(history),
            "best_epoch_": len(earlier_history) + fit.net.best_epoch_,
            "_settings": fit.settings,
        }
        others = {name: value for name, value in vars(self).items() if name not in fitted}
        self.__dict__ = {**others, **{name: value for name, value in fitted.items() if value is not None}}

    def __getstate__(self):
        return pack(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(unpack(state))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
