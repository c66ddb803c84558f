"""A pipeline of a small network, whose weights are drawn."""

import torch

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet


def pipeline_in_colour(kind):
    """One of that class with three classes of images, in colour, from -1 to 1."""
    torch.manual_seed(7)
    network = ScoreUNet(
        sample_size=8, in_channels=3, block_out_channels=(8,), num_class_embeds=3, sigma_data=0.4, sigma_max=5.0
    )
    torch.nn.init.normal_(network.conv_out.weight, std=0.05)
    scheduler = ConsistentAnnealedScheduler(6, sigma_max=5.0)
    pipeline = kind.from_pipe(NCSNPipeline(network, scheduler, data_min=-1.0, data_max=1.0))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
