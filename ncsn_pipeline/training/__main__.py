"""`accelerate launch -m ncsn_pipeline.training --config mnist`."""

from .train import main

main()
