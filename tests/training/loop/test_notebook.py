"""What a fit shows in a real notebook, with the kernel and the widgets of Jupyter."""

import html
import json
import re
import sys

import nbclient
import nbformat
import pytest

DATA = """
import numpy as np
from skdual import DualBranchClassifier

rng = np.random.default_rng(0)
y = rng.integers(0, 2, 80)
X = rng.normal(size=(80, 6)) + y[:, None]
"""
FIT = "model = DualBranchClassifier(3, n_members=1, max_epochs=4, verbose=1, random_state=0).fit(X, y)"
LOSSES = "[format(epoch['train_loss'], '.3f') for epoch in model.history_]"
VIEW, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Runs cells in a kernel of this Python, whose files all go to ``tmp_path``, and gives the notebook."""
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "env": {"OMP_NUM_THREADS": "1"},  # threads only wait for each other in so small a fit
        "display_name": "This Python",
        "language": "python",
    }
    (tmp_path / "kernels" / "this").mkdir(parents=True)
    (tmp_path / "kernels" / "this" / "kernel.json").write_text(json.dumps(kernel))

    def execute(*sources):
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
        return nbclient.NotebookClient(notebook, kernel_name="this", timeout=120).execute()

    return execute


def losses(cell):
    [output] = cell.outputs
    return re.findall(r"\d+\.\d{3}", output.data["text/plain"])


def test_a_notebook_shows_one_bar_that_ends_complete(execute):
    notebook = execute(DATA, FIT, LOSSES)
    data, fit, last = notebook.cells
    assert data.outputs == []
    [output] = fit.outputs  # and no line, table or warning beside it
    assert output.output_type == "display_data"
    widgets = {name: widget["state"] for name, widget in notebook.metadata.widgets[STATE]["state"].items()}
    box = widgets[output.data[VIEW]["model_id"]]
    left, bar, right = (widgets[child.removeprefix("IPY_MODEL_")] for child in box["children"])
    assert [widget["_model_name"] for widget in widgets.values()].count("FloatProgressModel") == 1
    assert (bar["value"], bar["max"], bar["bar_style"]) == (4, 4, "success")
    assert left["value"] == "100%"
    text = " ".join(html.unescape(right["value"]).split())  # its spaces are of another kind
    assert re.fullmatch(r"4/4 \[\d\d:\d\d<00:00\], loss \d+\.\d{3}", text), text
    assert text.endswith(losses(last)[-1])


def test_a_notebook_without_widgets_gets_lines_and_no_warning(execute):
    _, fit, last = execute("import sys; sys.modules['ipywidgets'] = None" + DATA, FIT, LOSSES).cells
    assert {(output.output_type, output.name) for output in fit.outputs} == {("stream", "stderr")}
    lines = "".join(output.text for output in fit.outputs).splitlines()
    shown = [re.fullmatch(r"epoch (\d)/4 \[\d\d:\d\d<\d\d:\d\d\] loss (\S+)", line) for line in lines]
    assert all(shown), lines
    assert [(match[1], match[2]) for match in shown] == list(zip("1234", losses(last), strict=True))
