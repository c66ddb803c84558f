"""The About tab: what this is, its equations and limits, and how to use it from Python."""

import json
import os

import gradio as gr

from .lecture.handlers import DEADLINE_SECONDS as EXPERIMENT_SECONDS
from .runs.events import PRIVATE
from .runs.limits import BUDGET, DEADLINE_SECONDS, IMAGES
from .runs.model import SpaceModel
from .widgets.programs import code_view

WHAT = """
## What this is

A **score-based model** is a network that estimates, for every image $x$ and every amount of noise $\\sigma$, in which
direction $x$ becomes more likely. Nothing else is learned: to draw an image, start from noise and follow that direction
while the noise is lowered level by level. This page shows it in the plane (*Playground*), at work on images
(*Generate*, *Repair*), while it is learned (*Learn the score*), and claim by claim, with the experiments that measure
them (*Lecture*).
"""
EQUATIONS = r"""
## The equations

The **score** of the data with added noise of standard deviation $\sigma$, and the network that estimates it:

$$s_\theta(x, \sigma) \approx \nabla_x \log p_\sigma(x), \qquad p_\sigma = p * \mathcal N(0, \sigma^2 I)$$

**Denoising score matching** learns it from clean images $x$ and noise $z$ alone, at every level at once:

$$\mathbb E\; \tfrac12\, \bigl\| s_\theta(x + \sigma z, \sigma) + \tfrac{z}{\sigma} \bigr\|^2\, \lambda(\sigma)$$

The weight $\lambda$ shares out the network's attention among the levels: $\sigma^2$ in the first paper,
$\sigma^2 (\sigma^2 + \sigma_\text{data}^2) / \sigma_\text{data}^2$ in EDM.

**Tweedie's formula** makes a denoiser of it, the mean of all clean images that could have become $x$:

$$\mathbb E[x_0 \mid x] = x + \sigma^2 s_\theta(x, \sigma)$$

**Annealed Langevin dynamics** takes $T$ steps at each level $\sigma_1 > \dots > \sigma_L$, then denoises once:

$$\begin{gathered}x \leftarrow x + \alpha_i\, s_\theta(x, \sigma_i) + \sqrt{2\alpha_i}\, z,
\\ \alpha_i = \epsilon\, \frac{\sigma_i^2}{\sigma_L^2}\end{gathered}$$

**Consistent annealed sampling** takes one step at each level, and adds what noise is missing at the next one:

$$\begin{gathered}x \leftarrow x + \eta\, \sigma_i^2\, s_\theta(x, \sigma_i) + \sigma_{i+1} \beta z,
\\ \beta = \sqrt{1 - \Bigl(\frac{1 - \eta}{\gamma}\Bigr)^2},
\quad \gamma = \frac{\sigma_{i+1}}{\sigma_i}\end{gathered}$$
"""
LIMITS = f"""
## Limits

The model draws what it was trained on and nothing else; some of what it draws is malformed. One run computes at a
time, others wait in a queue. A run of *Generate* or *Repair* may cost {BUDGET:,} network evaluations times images, with
guidance half as many, and ends after {DEADLINE_SECONDS:.0f} s; *Generate* draws at most {IMAGES[1]} images. An
experiment of the *Lecture* ends after {EXPERIMENT_SECONDS:.0f} s. Pictures and files of a run are deleted after about
two hours, what the page never showed of them by the next run after that; what was set and painted is forgotten with
the session that it belongs to, at the latest when a hundred newer ones have begun.

## Sharing a view

What you set is written into the page's address: *Copy link* at the top copies it, and who opens it sees the same tab
with the same settings. The same seed gives the same images.
"""
SOURCES = """
## Sources and licence

The claims follow a lecture of Stanford's CS236. The papers:
[score matching](https://jmlr.org/papers/v6/hyvarinen05a.html) (Hyvärinen 2005),
[denoising score matching](https://doi.org/10.1162/NECO_a_00142) (Vincent 2011),
[sliced score matching](https://arxiv.org/abs/1905.07088) (Song et al. 2019),
[NCSN](https://arxiv.org/abs/1907.05600) (Song & Ermon 2019),
[its improved techniques](https://arxiv.org/abs/2006.09011) (Song & Ermon 2020),
[consistent annealed sampling](https://arxiv.org/abs/2009.05475) (Jolicoeur-Martineau et al. 2021),
[score-based models as stochastic differential equations](https://arxiv.org/abs/2011.13456) (Song et al. 2021),
[EDM](https://arxiv.org/abs/2206.00364) (Karras et al. 2022).

The code is under the Apache License 2.0; a model's own licence is in its card.
"""
CITATION = """@software{ncsn_pipeline,
  title  = {ncsn-pipeline: noise-conditional score networks as a diffusers pipeline},
  author = {{The ncsn-pipeline authors}},
  year   = {2026}
}

@inproceedings{song2019generative,
  title     = {Generative Modeling by Estimating Gradients of the Data Distribution},
  author    = {Yang Song and Stefano Ermon},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}

@inproceedings{song2020improved,
  title     = {Improved Techniques for Training Score-Based Generative Models},
  author    = {Yang Song and Stefano Ermon},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}
}
"""
LATEX = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
LOCAL_ADDRESS = "http://127.0.0.1:7860/"


def client_snippet(address: str) -> str:
    """Images from this page's server, without its page.

    Args:
        address: of the page, or the Space's id.
    """
    return f"""from gradio_client import Client

client = Client({json.dumps(address)})
drawn = client.predict(num_images=10, num_levels=20, seed=1, api_name="/generate")
print(drawn["images"], drawn["seconds"])  # a PNG with all images

mixing = client.predict("mixing", {{"num_steps": 100}}, api_name="/lecture")
for check in mixing["checks"]:
    print(check["name"], check["value"], check["relation"], check["bound"])
"""


def diffusers_snippet(model: str, has_classes: bool, space: str | None = None) -> str:
    """The same model on the reader's own machine, with `diffusers` alone: its code comes with it.

    Args:
        model: a Hub id, or a folder, with `./` before it.
        has_classes: whether one can be asked for.
        space: the id of the Space that holds the folder; by default it is on the reader's machine.
    """
    download, place = "", json.dumps(model)
    classes = 'class_labels="random", ' if has_classes else ""
    arguments = f"batch_size=4, {classes}generator=torch.Generator().manual_seed(1)"
    if space and model.startswith("./"):
        download = "from huggingface_hub import snapshot_download\n"
        place = f'snapshot_download({json.dumps(space)}, repo_type="space") + {json.dumps(model.removeprefix("."))}'
    return f"""import torch
from diffusers import DiffusionPipeline
{download}
folder = {place}
pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
images = pipe({arguments}).images
images[0].save("sample.png")
"""


class AboutTab:
    """Builds the tab inside the current `gr.Blocks`.

    Args:
        model: what the page shows first, for the snippet that loads it.
    """

    def __init__(self, model: SpaceModel) -> None:
        self.space = os.environ.get("SPACE_ID")
        with gr.Column(elem_classes="about"):
            gr.Markdown(WHAT, latex_delimiters=LATEX)
            gr.Markdown(EQUATIONS, latex_delimiters=LATEX, elem_id="about-equations")
            gr.Markdown(
                "## From Python\n\nThis page is a server, and its functions have names; on a wide screen, "
                "the link *Use via API* at the bottom lists them all."
            )
            self.client = code_view(
                client_snippet(self.space or LOCAL_ADDRESS),
                "Through this page, with gradio_client",
                "about-client",
                show_line_numbers=False,
            )
            gr.Markdown(
                "The model runs anywhere, in the folder that holds it or by its id on the Hub. "
                "`trust_remote_code=True` runs the code in that folder; of a repository on the Hub, read it first and "
                "pin its commit by `revision`:"
            )
            self.diffusers = code_view(
                diffusers_snippet(model.address, bool(model.class_names), self.space),
                "On your own machine, with diffusers",
                "about-diffusers",
                show_line_numbers=False,
            )
            gr.Markdown(LIMITS)
            gr.Markdown(SOURCES)
            self.citation = code_view(CITATION, "Citation (BibTeX)", language=None, show_line_numbers=False)

    def connect_page(self, page: gr.Blocks) -> None:
        """The snippet names the address that the visitor has come to."""
        if self.space is None:
            snippet = json.dumps(client_snippet(LOCAL_ADDRESS))
            here = f"{json.dumps(LOCAL_ADDRESS)}, location.origin + location.pathname"
            page.load(None, None, self.client, js=f"() => {snippet}.replace({here})", **PRIVATE)
