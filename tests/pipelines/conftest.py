"""What the pipeline tests share."""

import diffusers.utils.logging
import pytest


@pytest.fixture
def logged(caplog):
    """The records of warnings, those of diffusers too, which it keeps to itself otherwise."""
    diffusers.utils.logging.enable_propagation()
    yield caplog
    diffusers.utils.logging.disable_propagation()
