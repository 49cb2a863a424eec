"""The examples in public docstrings give what they say."""

import doctest

import pytest

import skdual.datasets.htad
import skdual.estimator
import skdual.inputs.columns


@pytest.mark.parametrize("module", [skdual.datasets.htad, skdual.estimator, skdual.inputs.columns])
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
