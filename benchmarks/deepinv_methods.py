"""deepinv's DPS, DDRM and DiffPIR with our network, on the measurements of `benchmarks.measurements`, into its results.

In an environment of its own, since deepinv needs torchvision and that another torch:

    pip install torch==2.14.1 torchvision==0.29.1 deepinv==0.5.0 diffusers datasets
    PYTHONPATH=. python -m benchmarks.deepinv_methods DATA [--model mnist] [--pictures 50] [--output FOLDER]

At equal total evaluations: for each picture a method has as many evaluations of the network as our default takes for
its eight samples, 816, a backward pass counted as one.  DDRM and DiffPIR take them as 102 steps of eight samples, DPS,
whose steps are two, as 51.  Their settings (`METHODS`) were chosen by `--search` on five other pictures.  DDRM, which
needs a singular value decomposition of A, is given one for all four tasks.
"""

from collections.abc import Callable
from typing import Any

import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import DecomposablePhysics, GaussianNoise
from deepinv.sampling import DDRM, DPS, DiffPIR
from torch import Tensor, nn

from benchmarks.posterior_records import calibration, mean_and_error
from benchmarks.posterior_tasks import NOISE_STD, SAMPLES, TUNED_ON, Comparison, Draw, flags
from ncsn_pipeline import NCSNPipeline
from ncsn_pipeline.guidance.operators import MatrixOperator, as_operator
from ncsn_pipeline.interop import DeepinvDenoiser
from ncsn_pipeline.shipped import folder_or_shipped

EVALUATIONS = 816  # of each picture
SHAPE = (1, 28, 28)
LEAST_SIGMA = 0.01


class Counted(nn.Module):
    """A denoiser that counts its evaluations, each backward pass as one.

    Where it is asked for more noise than the network was trained on, the noise is scaled down: D hardly depends on x
    there.
    """

    def __init__(self, denoiser: DeepinvDenoiser) -> None:
        super().__init__()
        self.denoiser, self.evaluations = denoiser, 0
        self.most = denoiser.network.config.sigma_max / denoiser.units.scale

    def forward(self, x: Tensor, sigma: float | Tensor, **conditions: Any) -> Tensor:
        """D, as :class:`DeepinvDenoiser` has it."""
        self.evaluations += 1
        sigma = torch.as_tensor(sigma).to(x)
        capped = sigma.clamp(max=self.most)
        denoised = self.denoiser(x * (capped / sigma), capped, **conditions)
        if denoised.requires_grad:
            denoised.register_hook(self._count)
        return denoised

    def _count(self, gradient: Tensor) -> None:
        self.evaluations += 1


def physics(operator: Callable[[Tensor], Tensor], y: Tensor) -> DecomposablePhysics:
    """A as deepinv has it, by its singular values: all 784 of them, those beyond the rows of A 0.

    Args:
        operator: A.
        y: measurements, shape `(N, *M)`.
    """
    matrix = as_operator(operator, SHAPE)
    if not isinstance(matrix, MatrixOperator):
        raise ValueError("The operator must be linear.")
    u, s, v = (part.float() for part in torch.linalg.svd(matrix.matrix.double()))
    values = torch.zeros(1, len(v))
    values[0, : len(s)] = s

    def padded(r: Tensor) -> Tensor:
        return torch.cat([r, r.new_zeros(len(r), len(v) - r.shape[1])], dim=1)

    return DecomposablePhysics(
        U=lambda r: (r[:, : len(u)].to(u) @ u.mT).reshape(-1, *y.shape[1:]),
        U_adjoint=lambda r: padded(r.flatten(1).to(u) @ u),
        V=lambda r: (r.to(v) @ v).reshape(-1, *SHAPE),
        V_adjoint=lambda x: x.flatten(1).to(v) @ v.mT,
        mask=values,
        img_size=SHAPE,
        noise_model=GaussianNoise(NOISE_STD),
    )


def ddrm(denoiser: nn.Module, steps: int, eta: float, told: float) -> nn.Module:
    """Its noise levels, linear from 1, end at the least that the network was trained on, not at 0.

    The noise that deepinv's DDRM draws has half the variance of the level that it tells the denoiser; `told`, 1 or
    sqrt(1/2), multiplies that level.
    """
    levels = torch.linspace(1.0, LEAST_SIGMA, steps).tolist()
    return DDRM(lambda x, level: denoiser(x, told * level), sigmas=levels, eta=eta)


def diffpir(denoiser: nn.Module, steps: int, lambda_: float, zeta: float) -> nn.Module:
    """As many iterations as steps."""
    return DiffPIR(denoiser, L2(), sigma=NOISE_STD, max_iter=steps, zeta=zeta, lambda_=lambda_)


def dps(denoiser: nn.Module, steps: int, weight: float) -> nn.Module:
    """A step takes two evaluations; the last of its times is none."""
    return DPS(denoiser, num_steps=steps // 2 + 1, weight=weight)


MAKERS: dict[str, Callable[..., nn.Module]] = {"DDRM": ddrm, "DiffPIR": diffpir, "DPS": dps}


# What `--search` tries, one setting after the other; the first of each is where it begins.
TRIED: dict[str, dict[str, tuple]] = {
    "DDRM": {"told": (1.0, 0.707), "eta": (0.85, 1.0)},
    "DiffPIR": {"lambda_": (7.0, 1.0, 0.1), "zeta": (1.0, 0.3)},
    "DPS": {"weight": (100.0, 30.0, 300.0, 1000.0)},
}
# What it found, by task; of DiffPIR on half, lambda_ 0.1 was not tried.
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "DDRM": {
        "blur": {"told": 1.0, "eta": 0.85},
        "4x": {"told": 1.0, "eta": 0.85},
        "half": {"told": 0.707, "eta": 0.85},
        "random": {"told": 0.707, "eta": 0.85},
    },
    "DiffPIR": {
        "blur": {"lambda_": 1.0, "zeta": 1.0},
        "4x": {"lambda_": 0.1, "zeta": 1.0},
        "half": {"lambda_": 1.0, "zeta": 0.3},
        "random": {"lambda_": 0.1, "zeta": 1.0},
    },
    "DPS": {
        "blur": {"weight": 300.0},
        "4x": {"weight": 300.0},
        "half": {"weight": 100.0},
        "random": {"weight": 300.0},
    },
}


def draw_by(
    comparison: Comparison,
    denoiser: Counted,
    name: str,
    task: str,
    settings: dict[str, Any],
    samples: int = SAMPLES,
    evaluations: int = EVALUATIONS,
) -> Draw:
    """A method of deepinv on one task, `samples` of which share the evaluations."""
    model = MAKERS[name](denoiser, evaluations // samples, **settings)
    operator = physics(comparison.tasks[task].operator, comparison.tasks[task].y)

    def draw(y: Tensor, seed: int) -> tuple[Tensor, int]:
        torch.manual_seed(seed)
        denoiser.evaluations = 0
        found = model(y.repeat_interleave(samples, 0), operator).float()
        return found.unflatten(0, (len(y), samples)), denoiser.evaluations

    return draw


def search(comparison: Comparison, denoiser: Counted, name: str, task: str) -> dict[str, Any]:
    """The settings with the best mean on the pictures kept for this; each try is printed.

    One setting after the other, with two samples of a quarter of the evaluations.
    """

    def psnr(settings: dict[str, Any]) -> float:
        draw = draw_by(comparison, denoiser, name, task, settings, 2, EVALUATIONS // 4)
        found = comparison.on(task, draw, TUNED_ON)
        records = found["records"]
        means = {key: round(mean_and_error(records[key])[0], 2) for key in ("psnr", "recognised", "fidelity")}
        means["calibration"] = round(calibration(records)[0], 2)
        print(f"{task} {name} {settings}, {found['evaluations']} each: {means}", flush=True)
        return mean_and_error(records["psnr"])[0] if torch.tensor(records["psnr"]).isfinite().all() else -torch.inf

    best = {key: options[0] for key, options in TRIED[name].items()}
    least = psnr(best)
    for key, options in TRIED[name].items():
        for option in options[1:]:
            settings = best | {key: option}
            if (found := psnr(settings)) > least:
                best, least = settings, found
    return best


def main() -> None:
    """Measures, and saves after every five pictures; or searches, and prints the settings that were found."""
    parser = flags(__doc__, MAKERS)
    parser.add_argument("--search", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = folder_or_shipped(arguments.model)
    pipe = NCSNPipeline.from_pretrained(folder)
    denoiser = Counted(DeepinvDenoiser(pipe)).requires_grad_(False)
    comparison = Comparison(arguments.data, folder, arguments.output, arguments.rows)
    for name in arguments.methods:
        for task in arguments.tasks or comparison.tasks:
            if arguments.search:
                print(f"{task} {name}: {search(comparison, denoiser, name, task)}", flush=True)
                continue
            draw = draw_by(comparison, denoiser, name, task, METHODS[name][task])
            settings = {**METHODS[name][task], "samples": SAMPLES}
            comparison.extend(task, f"deepinv {name}", settings, draw, arguments.pictures)
            print(f"{task} {name}: stored", flush=True)
    if not arguments.search:
        comparison.draw_figure()


if __name__ == "__main__":
    main()
