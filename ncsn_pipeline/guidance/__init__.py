"""A score, given something: transforms of score functions, `score -> score`.

classifier_free    given a class
added              given any function whose gradient is known
"""

from collections.abc import Callable

from ncsn_pipeline.densities import NoisyScoreFn

from .added import added
from .classifier_free import classifier_free

Given = Callable[[NoisyScoreFn], NoisyScoreFn]

__all__ = ["Given", "added", "classifier_free"]
