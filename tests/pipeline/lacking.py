"""What a test can't do without."""

import os

import pytest


def lacking(why):
    """Skip the test; `make test-faults`, which is to try everything, lets it fail instead."""
    (pytest.fail if os.environ.get("FAULTS_STRICT") else pytest.skip)(why)
