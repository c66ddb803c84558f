"""What a card cites: the papers of the method, by what the model uses of them."""

from .facts import Facts

NCSN = """@inproceedings{song2019generative,
  title     = {Generative Modeling by Estimating Gradients of the Data Distribution},
  author    = {Yang Song and Stefano Ermon},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}"""
NCSNV2 = """@inproceedings{song2020improved,
  title     = {Improved Techniques for Training Score-Based Generative Models},
  author    = {Yang Song and Stefano Ermon},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}
}"""
CONSISTENT = """@inproceedings{jolicoeur2021adversarial,
  title     = {Adversarial Score Matching and Improved Sampling for Image Generation},
  author    = {Alexia Jolicoeur-Martineau and R{\\'e}mi Pich{\\'e}-Taillefer and
               R{\\'e}mi Tachet des Combes and Ioannis Mitliagkas},
  booktitle = {International Conference on Learning Representations},
  year      = {2021}
}"""
EDM = """@inproceedings{karras2022elucidating,
  title     = {Elucidating the Design Space of Diffusion-Based Generative Models},
  author    = {Tero Karras and Miika Aittala and Timo Aila and Samuli Laine},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2022}
}"""

MATCHING = """@inproceedings{yin2024onestep,
  title     = {One-step Diffusion with Distribution Matching Distillation},
  author    = {Tianwei Yin and Micha{\\"e}l Gharbi and Richard Zhang and Eli Shechtman and
               Fr{\\'e}do Durand and William T. Freeman and Taesung Park},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2024}
}"""

IDENTITY = """@inproceedings{zhou2024score,
  title     = {Score identity Distillation: Exponentially Fast Distillation of Pretrained Diffusion Models for
               One-Step Generation},
  author    = {Mingyuan Zhou and Huangjie Zheng and Zhendong Wang and Mingzhang Yin and Hai Huang},
  booktitle = {International Conference on Machine Learning},
  year      = {2024}
}"""


def citations_for(facts: Facts) -> list[str]:
    """BibTeX entries: the method, its noise levels, the sampler, the weighting and the distillation, the data."""
    entries = [NCSN, NCSNV2]
    if facts.scheduler[0].startswith("Consistent"):
        entries.append(CONSISTENT)
    if facts.settings.get("loss_weight") == "edm":
        entries.append(EDM)
    if facts.trained_sigmas:
        entries.append(MATCHING)
    if facts.settings.get("identity_steps"):
        entries.append(IDENTITY)
    return entries + list(facts.written.get("citations", []))
