"""The rows that tests of this folder store."""

from stored_rows import matrix  # noqa: F401 - a fixture
