"""A score, given something: transforms of score functions, `score -> score`.

classifier_free              given a class
added                        given any function whose gradient is known
posterior                    given a measurement y = A(x) + noise, by one of
annealed, dps, pigdm, mmps   the methods, one a file
measurements                 operators to take: mask, average_pooling, gaussian_blur, grey, fourier_mask,
                             random_projections
operators, krylov            what the methods need of an operator, and how their equations are solved
"""

from collections.abc import Callable

from ncsn_pipeline.densities import NoisyScoreFn

from .added import added
from .classifier_free import classifier_free
from .posterior import posterior

Given = Callable[[NoisyScoreFn], NoisyScoreFn]

__all__ = ["Given", "added", "classifier_free", "posterior"]
