"""Tripline from outside, as people and machines meet it: real processes, real HTTP, real training."""

from __future__ import annotations

import os

import pytest

# These tests start servers of their own, in the embedded shape, whatever the shape of the test run.
embedded_alone = pytest.mark.skipif(
    os.environ.get("TRIPLINE_TEST_SHAPE") == "production",
    reason="starts the embedded server itself: runs once, with the embedded shape",
)
production_alone = pytest.mark.skipif(
    os.environ.get("TRIPLINE_TEST_SHAPE") != "production",
    reason="needs PostgreSQL and Valkey: runs once, with the production shape",
)
