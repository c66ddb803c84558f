"""The Langevin step, shared by everything that samples.

    x + alpha s + sqrt(2 alpha) z

It is written once, in the scheduler's file, which must stand alone where it is loaded as code from the Hub.
"""

from ncsn_pipeline.sampling.scheduling_annealed_langevin import langevin_step

__all__ = ["langevin_step"]
