"""What is said where an optional library is missing."""

import math
import sys

import pytest

from skdual.extras import import_extra


def test_what_is_there_is_imported():
    assert import_extra("math", extra="plotting", caller="EmbeddingDisplay.plot") is math


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("captum.attr", "inspection", 'captum; install it with pip install "skdual[inspection]".'),
        ("pandas", None, "pandas; install it with pip install pandas."),
    ],
)
def test_what_is_missing_is_named_with_its_caller_and_the_extra(monkeypatch, module, extra, command):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        import_extra(module, extra=extra, caller="attributions")
    assert str(caught.value) == f"attributions needs {command}"
