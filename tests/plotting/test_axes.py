"""What every display says of axes that are none."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skdual.plotting import AttributionDisplay, EmbeddingDisplay, ProjectionErrorDisplay, TrainingCurveDisplay

COLUMNS = pd.MultiIndex.from_tuples([("rna", "CD3E"), ("protein", "CD3")], names=["block", "feature"])
DISPLAYS = [
    AttributionDisplay(pd.DataFrame([[0.1, -0.4]], columns=COLUMNS)),
    EmbeddingDisplay(np.array([[0.0, 1.0], [1.0, 0.0]]), ["rest", "walk"]),
    ProjectionErrorDisplay([0.1], [0.4]),
    TrainingCurveDisplay([{"train_loss": 2.1}, {"train_loss": 1.4}]),
]


@pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: type(display).__name__)
def test_what_is_no_axes_is_refused(display):
    figure, pair = plt.subplots(1, 2)
    for wrong, name in ((pair, "ndarray"), (figure, "Figure"), ("ax", "str")):
        with pytest.raises(TypeError, match=f"ax must be matplotlib Axes, got {name}"):
            display.plot(ax=wrong)
    pair[0].remove()
    with pytest.raises(ValueError, match="ax was removed from its figure"):
        display.plot(ax=pair[0])
    assert not pair[1].has_data()
