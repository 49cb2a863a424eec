import joblib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.plotting import TrainingCurveDisplay, learning_verdict

TERMS = ["train_loss", "classification_loss", "contrastive_loss", "orthogonality_loss"]


def test_training_curve_display_holds_and_draws_every_term(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert list(display.axes_) == TERMS
    for term in TERMS:
        watched = "valid_loss" if term == "train_loss" else f"valid_{term}"
        training = [row[term] for row in fitted.history_]
        validation = [row[watched] for row in fitted.history_]
        np.testing.assert_array_equal(display.training_losses[term], training)
        np.testing.assert_array_equal(display.validation_losses[term], validation)
        drawn = [line.get_xydata() for line in display.lines_[term]]
        np.testing.assert_array_equal(drawn[0], np.column_stack([[1, 2, 3, 4], training]))
        np.testing.assert_array_equal(drawn[1], np.column_stack([[1, 2, 3, 4], validation]))
        assert set(display.lines_[term]) < set(display.axes_[term].lines)
    assert display.axes_["train_loss"].get_title(loc="left") == str(learning_verdict(fitted.history_))


def test_the_best_epoch_is_marked(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    losses = [row["valid_classification_loss"] for row in fitted.history_]
    assert display.lowest_validation_epoch == losses.index(min(losses)) + 1
    for panel in display.axes_.values():
        assert set(panel.lines[-1].get_xdata()) == {display.lowest_validation_epoch}
    labels = [text.get_text() for text in display.axes_["train_loss"].get_legend().get_texts()]
    assert labels == ["training", "validation", f"lowest validation loss (epoch {display.lowest_validation_epoch})"]


def test_the_best_epoch_is_that_of_early_stopping_also_when_loaded(two_blocks, quick, tmp_path):
    X, y = two_blocks
    stopped = {**quick, "max_epochs": 30, "patience": 2, "learning_rate": 0.02}
    model = DualBranchClassifier(**stopped, early_stopping=True).fit(X, y)
    assert model.best_epoch_ < model.n_epochs_
    assert TrainingCurveDisplay(model.history_).lowest_validation_epoch == model.best_epoch_
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    assert TrainingCurveDisplay.from_estimator(loaded).lowest_validation_epoch == model.best_epoch_


def test_epochs_of_a_warm_start_go_on_from_those_before(two_blocks, quick):
    X, y = two_blocks
    model = DualBranchClassifier(**quick, warm_start=True).fit(X, y)
    model.set_params(orthogonality_weight=0).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    display = TrainingCurveDisplay.from_estimator(model)
    assert display.epochs.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert np.isfinite(display.training_losses["orthogonality_loss"]).tolist() == [True] * 4 + [False] * 4
    assert np.isfinite(display.validation_losses["classification_loss"]).tolist() == [False] * 4 + [True] * 4
    losses = [row["valid_classification_loss"] for row in model.history_[4:]]
    assert display.lowest_validation_epoch == 5 + int(np.argmin(losses))


def test_without_validation_rows_there_is_no_verdict(two_blocks, quick):
    model = DualBranchClassifier(**{**quick, "contrastive": None, "head": "linear"}).fit(*two_blocks)
    display = TrainingCurveDisplay.from_estimator(model)
    assert list(display.axes_) == ["train_loss", "classification_loss"]
    assert display.validation_losses == {}
    assert display.lowest_validation_epoch is None
    assert display.verdict.label == "no verdict"
    assert "no validation rows" in display.axes_["train_loss"].get_title(loc="left")
    assert all(len(panel.lines) == 1 for panel in display.axes_.values())


def test_three_terms_leave_no_empty_panel(two_blocks, quick):
    model = DualBranchClassifier(**{**quick, "contrastive": None}).fit(*two_blocks)
    display = TrainingCurveDisplay.from_estimator(model)
    assert len(display.axes_) == 3
    assert display.figure_.axes == [display.ax_, *display.axes_.values()]


def test_what_callbacks_record_is_no_training_loss(fitted):
    history = [{"neg_log_loss": -1.0, "valid_other_loss": 3.0, **row} for row in fitted.history_]
    display = TrainingCurveDisplay(history)
    assert list(display.training_losses) == list(display.validation_losses) == TERMS


def test_the_history_of_the_net_has_the_weighted_sum_only(fitted):
    display = TrainingCurveDisplay(fitted.net_.history)
    assert list(display.training_losses) == ["train_loss"]
    assert display.verdict.label == "no verdict"


@pytest.mark.parametrize("history", [None, np.zeros((2, 2)), [1.0, 0.5], "train_loss"], ids=str)
def test_a_history_is_a_list_of_dicts(history):
    with pytest.raises(TypeError, match="history must be a list of dict"):
        TrainingCurveDisplay(history)
    with pytest.raises(ValueError, match="must have the losses of every epoch"):
        TrainingCurveDisplay([{"valid_loss": 1.0}])


@pytest.mark.parametrize("loss", [np.nan, np.inf, None, "1.0"], ids=str)
def test_losses_are_finite_numbers(loss):
    history = [{"train_loss": 1.0, "contrastive_loss": 2.0}, {"train_loss": 1.0, "contrastive_loss": loss}]
    with pytest.raises(ValueError, match="history must have finite numbers; epoch 2 has contrastive_loss="):
        TrainingCurveDisplay(history)


# of axes that are on no grid
@pytest.mark.filterwarnings("ignore:There are no gridspecs:UserWarning", "ignore:This figure includes Axes:UserWarning")
@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
@pytest.mark.parametrize("on_a_grid", [True, False])
def test_panels_stay_within_given_axes(fitted, layout, on_a_grid):
    figure = plt.figure(figsize=(12, 8), layout=layout)
    ax = figure.subplots(1, 2)[1] if on_a_grid else figure.add_axes([0.5, 0.2, 0.4, 0.6])
    display = TrainingCurveDisplay.from_estimator(fitted, ax=ax)
    figure.canvas.draw()
    assert display.ax_ is ax
    assert display.figure_ is figure
    left = ax.get_position().x0
    assert left > 0.4
    assert all(panel.get_position().x0 > left - 0.01 for panel in display.axes_.values())
    boxes = [panel.get_tightbbox() for panel in display.axes_.values()]
    for i, box in enumerate(boxes[1:]):  # the first has the verdict as its title, which may reach over the second
        assert not any(box.overlaps(other) for other in boxes[1:][:i])


def test_axes_that_hold_panels_are_not_drawn_over(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    panels = list(display.figure_.axes)
    with pytest.raises(ValueError, match="ax holds panels already"):
        display.plot(ax=display.ax_)
    assert display.figure_.axes == panels


def test_a_pipeline_is_drawn_by_its_last_step(fitted, two_blocks, quick):
    X, y = two_blocks
    pipeline = make_pipeline(StandardScaler(), make_pipeline(DualBranchClassifier(**quick))).fit(X, y)
    display = TrainingCurveDisplay.from_estimator(pipeline)
    assert display.history == pipeline[-1][-1].history_


def test_training_curve_display_refuses_wrong_arguments(fitted, two_blocks):
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(clone(fitted))
    with pytest.raises(TypeError, match="DualBranchClassifier or a Pipeline that ends in one, got LogisticRegression"):
        TrainingCurveDisplay.from_estimator(make_pipeline(StandardScaler(), LogisticRegression()))
    with pytest.raises(ValueError, match="history must have at least one epoch"):
        TrainingCurveDisplay([])


@pytest.mark.parametrize("history", [[{}], [{"learning_rate": 0.1}]])
def test_a_history_without_losses_is_refused(history):
    with pytest.raises(ValueError, match="history must have the losses of every epoch"):
        TrainingCurveDisplay(history)
