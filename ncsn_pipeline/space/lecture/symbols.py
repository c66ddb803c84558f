"""The symbols of the claims' equations, each with what it stands for; an equation's own are found in its LaTeX."""

import re

# Pattern in LaTeX, what is shown, what it means.  Longer symbols stand before those that they contain.
SYMBOLS = (
    (r"\\operatorname\{tr\}\s*\\partial_x s", "tr ∂<sub>x</sub>s", "the sum of the score's derivatives along the axes"),
    (r"(?<!tr\})(?<!tr\} )\\partial_x s", "∂<sub>x</sub>s", "the matrix of the score's derivatives"),
    (r"\\mathcal N\(0, \\sigma\^2 I\)", "N(0, σ² I)", "normal noise of standard deviation σ, added by ∗"),
    (r"\\nabla(_x)?(?! E)", "∇", "the derivatives with respect to x, an arrow"),
    (r"s_\\theta", "s<sub>θ</sub>", "the learned score: a network with the weights θ"),
    (r"s\^\*", "s*", "the true score, ∇<sub>x</sub> log p(x)"),
    (r"(?<![a-zA-Z\\])s(?![a-zA-Z_^])", "s", "a score: an arrow at every point, in 1 / data unit"),
    (r"p_\\sigma|p_\{\\sigma_i\}", "p<sub>σ</sub>", "the density of the data with noise of standard deviation σ added"),
    (r"p_0|p_T", "p<sub>0</sub>, p<sub>T</sub>", "the density without noise, and with the most"),
    (r"x_T", "x<sub>T</sub>", "where the point x ends as σ grows"),
    (r"(?<![a-zA-Z\\])p(?![a-zA-Z_])", "p", "the density of the data"),
    (r"\\tilde x", "x̃", "a point with noise added, x + σ z"),
    (r"d\(x\)", "d(x)", "the distance from x to the nearest data, in data units"),
    (r"\\sigma_\\text\{data\}", "σ<sub>data</sub>", "the standard deviation of the data"),
    (r"\\sigma_j", "σ<sub>j</sub>", "the noise level that the network is told"),
    (r"O\(\\sigma\^6\)", "O(σ⁶)", "a remainder that falls as fast as σ⁶"),
    (r"\\Delta", "Δ", "the sum of the second derivatives along the axes"),
    (r"\\sigma_i|\\sigma_1|\\sigma_L", "σ<sub>1</sub> … σ<sub>L</sub>", "the noise levels, from the largest down"),
    (r"\\frac\{dx\}\{d\\sigma\}|\\; d\\sigma", "dx / dσ", "how a point moves as σ changes"),
    (r"(?<!_)(?<!\\frac\{d)\\sigma(?![_a-z])", "σ", "the noise level: standard deviation of the noise, in data units"),
    (r"\\alpha(_i)?", "α", "the step size, in squared data units"),
    (r"\\epsilon", "ε", "the step size at the smallest noise level"),
    (r"\\lambda_i", "λ<sub>i</sub>", "the weight of a level in the loss"),
    (r"\\nabla E", "E", "an energy: its negative gradient is a score"),
    (r"\\mathbb E(_v|_\{p_\\sigma\})?", "𝔼", "the mean over samples and what is drawn at random"),
    (r"v\^\\top|, v(?![a-z])", "v", "a random direction"),
    (r"(?<![a-zA-Z\\])z(?![a-zA-Z])", "z", "normal noise of standard deviation 1"),
    (r"(?<![a-zA-Z_])L(?![a-zA-Z])|\\sum_i", "L", "the number of noise levels"),
    (r"(?<![a-zA-Z])J(?![a-zA-Z])", "J", "the Fisher divergence: half the mean squared error of a score"),
    (r"(?<![a-zA-Z])D(?![a-zA-Z])", "D", "the number of dimensions"),
    (r"\\oint|\\cdot dx", "∮ · dx", "the sum along a closed loop"),
    (r"(?<![a-zA-Z\\_d])x(?![a-zA-Z_])", "x", "a point, or an image, in data units"),
)


def symbols_of(latex: str) -> list[tuple[str, str]]:
    """The symbols of an equation, as HTML, and what each stands for."""
    return [(shown, words) for pattern, shown, words in SYMBOLS if re.search(pattern, latex)]
