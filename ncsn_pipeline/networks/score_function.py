"""The one interface that losses, samplers and diagnostics share: `(x, sigma) -> score`."""

from torch import Tensor, nn

from ncsn_pipeline.densities.density import NoisyScoreFn


def as_score_function(network: nn.Module, class_labels: Tensor | None = None) -> NoisyScoreFn:
    """A network as a plain function.

    Args:
        network: `(sample, sigma, class_labels=..., return_dict=True) -> .sample`, the score.
        class_labels: classes to condition on, shape `(B,)`; `None` for a model without classes, or for the null class.

    Returns:
        `(x (B, *D), sigma () or (B,)) -> score (B, *D)`.
    """
    conditioning = {} if class_labels is None else {"class_labels": class_labels}
    return lambda x, sigma: network(x, sigma, return_dict=False, **conditioning)[0]
