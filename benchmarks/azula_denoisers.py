"""Our networks in azula's samplers and guidance, azula's denoisers in our pipelines: the real library, not its shape.

    pip install --no-deps --target FOLDER azula einops
    PYTHONPATH=FOLDER python -m benchmarks.azula_denoisers [--output benchmarks/results]

The shipped digits: one of each class by azula's samplers, along the network's own noise levels and as a variance
preserving process, read by the shipped classifier; then azula's moment matching (`MMPSDenoiser`) on a digit known by
78 random projections.  And a Gaussian N(0.3, 0.2²) of azula with each of its schedules as our network: the largest
error of sigma s against the formula, for sigma from 0.01 to 100.
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import torch
from azula.denoise import GaussianDenoiser
from azula.guidance import MMPSDenoiser
from azula.linalg.covariance import IsotropicCovariance
from azula.noise import CosineSchedule, DecaySchedule, RectifiedSchedule, VESchedule, VPSchedule
from azula.sample import DDIMSampler, DDPMSampler, HeunSampler, Sampler

from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.guidance.measurements import random_projections
from ncsn_pipeline.interop import AzulaDenoiser, AzulaNetwork
from ncsn_pipeline.shipped import folder_or_shipped
from ncsn_pipeline.space.runs.reading import read, reader_for

NOISE_STD = 0.05
SCHEDULES = (VPSchedule, VESchedule, CosineSchedule, RectifiedSchedule, DecaySchedule)


def draw(pipe: NCSNPipeline, sampler: Sampler) -> torch.Tensor:
    """One image of each class, `(10, 1, 28, 28)` in [0, 1]; the start knows mean and variance of the digits."""
    torch.manual_seed(0)
    start = sampler.init((10, 1, 28, 28), mean=0.13, var=0.095)
    return pipe.units.to_given(sampler(start, class_labels=torch.arange(10)))


def score_error(network: AzulaNetwork) -> float:
    """The largest |sigma (s - (0.3 - x) / (0.2² + sigma²))| over sigma from 0.01 to 100, x drawn there."""
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for sigma in (0.01, 0.1, 1.0, 10.0, 100.0):
        x = 0.3 + (0.2**2 + sigma**2) ** 0.5 * torch.randn(100, 1, 4, 4, generator=generator)
        found = network(x, torch.tensor(sigma))[0]
        worst = max(worst, float((found - (0.3 - x) / (0.2**2 + sigma**2)).abs().max()) * sigma)
    return worst


def table() -> str:
    """All of it as Markdown."""
    folder = folder_or_shipped("mnist")
    pipe = NCSNPipeline.from_pretrained(folder)
    reader = reader_for(folder, 1)
    own, preserving = AzulaDenoiser(pipe.unet), AzulaDenoiser(pipe.unet, VPSchedule(sigma_min=0.01))
    rows = {
        "Heun, the network's own levels, 18 steps": HeunSampler(own, steps=18, silent=True),
        "DDIM, the same, 50 steps": DDIMSampler(own, steps=50, silent=True),
        "DDPM, variance preserving from t = 0.6, 50 steps": DDPMSampler(preserving, start=0.6, steps=50, silent=True),
    }
    lines = [
        "# azula's samplers, guidance and denoisers with this package's networks",
        "",
        f"`python -m benchmarks.azula_denoisers`, azula {version('azula')}, torch {torch.__version__}.",
        "",
        "| azula's sampler around the shipped digits | read as asked |",
        "|---|---|",
    ]
    for name, sampler in rows.items():
        images = draw(pipe, sampler).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        right = sum(found == asked for asked, found in enumerate(read(reader, images)))
        lines.append(f"| {name} | {right} of 10 |")
    torch.manual_seed(1)
    measure = random_projections(78, 784)
    truth = draw(pipe, rows["Heun, the network's own levels, 18 steps"])[2:3]
    y = measure(truth) + NOISE_STD * torch.randn(1, 78)
    guided = MMPSDenoiser(own, y, measure, IsotropicCovariance(torch.tensor(NOISE_STD**2)), iterations=4)
    samples = pipe.units.to_given(DDIMSampler(guided, eta=1.0, steps=50, silent=True)(12.0 * torch.randn(8, 1, 28, 28)))
    fidelity = float(((y - measure(samples)) / NOISE_STD).square().mean())
    psnr = float(-10 * (samples.mean(0) - truth[0]).square().mean().log10())
    lines += [
        "",
        f"azula's MMPSDenoiser on 78 projections: |y - Ax|² / (m sigma_y²) = {fidelity:.2f}, the mean of 8 samples at "
        f"{psnr:.1f} dB.",
        "",
        "| azula's schedule of a Gaussian denoiser, as our network | largest error of sigma s |",
        "|---|---|",
    ]
    for schedule in SCHEDULES:
        denoiser = GaussianDenoiser(torch.full((1, 4, 4), 0.3), IsotropicCovariance(torch.tensor(0.2**2)), schedule())
        lines.append(f"| {schedule.__name__} | {score_error(AzulaNetwork(denoiser, 4, 1)):.1e} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures, prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measured = table()
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "azula.md").write_text(measured, encoding="utf-8")
    print(measured)


if __name__ == "__main__":
    main()
