"""Priors and measurements whose posterior is known, a Heun sampler, and how far samples are off, in standard errors."""

import re
from itertools import pairwise

import torch

from ncsn_pipeline import GaussianMixture, exact_score_function
from ncsn_pipeline.guidance.operators import MatrixOperator
from ncsn_pipeline.sampling import follow, last_sample, posterior_start


class KnownPosterior:
    """A mixture of Gaussians measured by y = M x + noise: again a mixture, with weights, means and covariances.

    Args:
        density: the prior.
        matrix: M, shape (m, d).
        noise_std: sigma_y >= 0.
        y: the measurement, shape (m,).
    """

    def __init__(self, density, matrix, noise_std, y):
        self.density, self.matrix, self.noise_std, self.y = density, matrix, noise_std, y
        self.score = exact_score_function(density)
        self.operator = MatrixOperator(matrix, torch.zeros_like(y), (matrix.shape[1],))
        covariances, noise = density.covariances, noise_std**2 * torch.eye(len(y), dtype=y.dtype)
        s = matrix @ covariances @ matrix.mT + noise
        gain = covariances @ matrix.mT @ torch.linalg.inv(s)
        r = y - density.means @ matrix.mT
        self.means = density.means + (gain @ r[:, :, None])[:, :, 0]
        self.covariances = covariances - gain @ matrix @ covariances
        logs = -0.5 * (torch.einsum("ki,kij,kj->k", r, torch.linalg.inv(s), r) + torch.logdet(s))
        self.weights = (density.weights.log() + logs).softmax(0)

    def sample(self, n, generator):
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        factors = torch.linalg.cholesky(self.covariances)[component]
        z = torch.randn(n, self.means.shape[1], 1, generator=generator, dtype=self.means.dtype)
        return self.means[component] + (factors @ z)[:, :, 0]

    def deviations(self, x):
        """The largest error of a mean and of a covariance entry of samples `x (n, d)`, in standard errors."""
        (mean,), (cov,) = self.means, self.covariances
        var = cov.diagonal()
        of_mean = (x.mean(0) - mean).abs() / (var / len(x)).sqrt()
        of_covariance = (torch.cov(x.mT) - cov).abs() / ((torch.outer(var, var) + cov**2) / len(x)).sqrt()
        return of_mean.max().item(), of_covariance.max().item()

    def bias(self, x):
        """The largest error of a mean in posterior deviations, and of a deviation as a ratio minus 1."""
        var = self.covariances[0].diagonal()
        of_mean = (x.mean(0) - self.means[0]).abs() / var.sqrt()
        return of_mean.max().item(), (x.std(0) / var.sqrt() - 1).abs().max().item()


def gaussian(matrix, noise_std, low=0.1, seed=0):
    """A Gaussian prior with deviations from 1 to `low` along random axes, and a measurement of a draw from it."""
    generator = torch.Generator().manual_seed(seed)
    m, d = matrix.shape
    axes = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
    deviations = torch.logspace(0, torch.tensor(float(low)).log10().item(), d, dtype=torch.float64)
    covariance = (axes * deviations**2) @ axes.mT
    mean = torch.randn(1, d, generator=generator, dtype=torch.float64)
    density = GaussianMixture(mean, ((covariance + covariance.mT) / 2)[None])
    truth = density.sample(1, generator=generator)[0]
    y = matrix @ truth + noise_std * torch.randn(m, generator=generator, dtype=torch.float64)
    return KnownPosterior(density, matrix, noise_std, y)


def random_matrix(m, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, d, generator=generator, dtype=torch.float64) / d**0.5


def blur_matrix(d, deviation=1.0):
    """A line of d values, blurred by a Gaussian."""
    places = torch.arange(d, dtype=torch.float64)
    kernel = torch.exp(-((places[:, None] - places) ** 2) / (2 * deviation**2))
    return kernel / kernel.sum(1, keepdim=True)


class HeunSteps:
    """Heun's method for the probability flow dx / d sigma = -sigma s, from each level to the next; last a denoising."""

    def __init__(self, levels):
        self.sigmas = [level for pair in pairwise(levels) for level in pair] + [levels[-1]]

    def step(self, i, x, score, generator=None):
        sigma = self.sigmas[i]
        if i == len(self.sigmas) - 1:
            return x + sigma**2 * score
        if i % 2 == 0:
            self.x, self.slope = x, -sigma * score
            return x + (self.sigmas[i + 1] - sigma) * self.slope
        return self.x + (sigma - self.sigmas[i - 1]) / 2 * (self.slope - sigma * score)


def run(score, steps, noise, generator=None, start=True):
    """The last samples of a run from unit normal noise."""
    first = steps.sigmas[0]
    x = posterior_start(score, noise, first) if start else first * noise
    return last_sample(follow(score, x, steps, generator))


def stated(docstring):
    """The rows of figures in a docstring's table: name -> numbers."""
    rows = re.findall(r"^    (\S.*?)  +(\d\.\d\d(?:[, ]+\d\.\d\d)+)", docstring, re.M)
    return {name: [float(number) for number in re.split(r"[, ]+", numbers)] for name, numbers in rows}
