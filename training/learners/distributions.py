"""Action distributions: conversion of network outputs to allocations, log-probabilities and their gradients.

Densities of continuous actions refer to the coordinates in which actions are sampled. The coordinates are log ratios to
the last weight for the softmax-Gaussian (logistic normal of Aitchison & Shen 1980), the inverse hyperbolic tangent for
the box, and the weights themselves for Dirichlet. Learning uses only ratios of two policies, which are equal in any
coordinates. The density is always that of the executed action, reconstructed from its value.

What can go wrong. An action on the edge has no finite density: so drawn weights are raised to about LEAST, and
positions stay LEAST inside the box. The action before raising has another density: so only the raised action is
evaluated. Tests check that log-probabilities stay finite for extreme outputs, and compare densities with torch and with
numerical integrals, and draws with densities.
"""

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor

from quantd.training.learners.network_plan import Simplex
from quantd.training.market.terms import Kind
from quantd.training.networks.onnx_nodes import Readout

LEAST = 1e-6
"""Approximate minimum of continuous weights; positions are at most 1 less this, so that logarithms are finite."""

LOG_2PI = math.log(2.0 * math.pi)

Pull = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""(gradient by log_prob float[R], gradient by each row's entropy) -> (gradient by actor, gradient by spread)."""


class Evaluation(NamedTuple):
    """Log-probability and entropy of R actions under R outputs of an actor, with the derivatives of both."""

    log_prob: Tensor
    """float[R], nats."""
    entropy: Tensor
    """float[R], nats."""
    pull: Pull
    """Maps the gradient of a loss by log_prob, float[R], and by the entropy of a row, a number, to the gradients by the
    P outputs of the actor, float[R, P], and by the S numbers of spread, float[S]."""


class Discrete:
    """Distribution of discrete actions: one of A allocations, by softmax; actions are indices int64[B].

    Axes: B environments.
    """

    readout: Final = "softmax"
    spread: Final = 0

    def __init__(self, choices: int) -> None:
        self.outputs: Final = choices

    def sample(self, actor: Tensor, spread: Tensor, random: torch.Generator) -> Tensor:
        """Return int64[B], one draw for each row of `actor`, the logits float[B, A]. `spread` is not used.

        Axes: B environments, A allocations.
        """
        # of exponential clocks with rates p, clock a rings first with probability p_a: where p / Exp(1) is largest
        clocks = torch.empty_like(actor).exponential_(generator=random)
        return torch.softmax(actor, -1).div_(clocks).argmax(-1)

    def mode(self, actor: Tensor) -> Tensor:
        """Return int64[B], the allocation with the largest logit of each row; the first of equal ones.

        Axes: B environments.
        """
        return actor.argmax(-1)

    def coordinates(self, action: Tensor) -> Tensor:
        """Return int64[B, 1]: the index of the allocation is its coordinate.

        Axes: B environments.
        """
        return action.unsqueeze(-1)

    def judge(self, actor: Tensor, spread: Tensor, coordinates: Tensor) -> Evaluation:
        """Return log-probability and entropy of `coordinates` int64[R, 1] under the logits float[R, A].

        `pull` of the result takes a loss's gradients with respect to log-probability and entropy, and returns those
        with respect to the logits and `spread` (empty here). Axes: R rows, A allocations.
        """
        logs = torch.log_softmax(actor, -1)
        chances = logs.exp()
        entropy = -(chances * logs).sum(-1)

        def pull(d_log_prob: Tensor, d_entropy: float) -> tuple[Tensor, Tensor]:
            # d log p_a / d z = [a] - p;  dH / dz = -p (log p + H)
            slope = (logs + entropy.unsqueeze(-1)).mul_(d_entropy).add_(d_log_prob.unsqueeze(-1)).mul_(chances).neg_()
            return slope.scatter_add_(-1, coordinates, d_log_prob.unsqueeze(-1)), spread

        return Evaluation(logs.gather(-1, coordinates).squeeze(-1), entropy, pull)


class Gaussian:
    """A Gaussian of independent coordinates with separate spreads, transformed by softmax or tanh.

    Softmax gives K + 1 weights, of which the last is the reference; tanh gives K positions. `mode` is the transformed
    mean, which is the median of every coordinate.
    """

    def __init__(self, coordinates: int, link: Literal["softmax_gaussian", "tanh"]) -> None:
        self.readout: Final[Readout] = link
        self.outputs: Final = coordinates
        self.spread: Final = coordinates

    def sample(self, actor: Tensor, spread: Tensor, random: torch.Generator) -> Tensor:
        """Return one draw per row: weights float[B, K + 1] or positions float[B, K], kept away from the edge by LEAST.

        The draw is Gaussian with means `actor` float[B, K] and log standard deviations `spread` float[K], then
        transformed by softmax or tanh. Axes: B environments, K coordinates of an action.
        """
        noise = torch.empty_like(actor).normal_(generator=random)
        action = self.mode(torch.addcmul(actor, noise, spread.exp()))
        if self.readout == "tanh":
            return action.clamp_(LEAST - 1.0, 1.0 - LEAST)
        return _inside(action)

    def mode(self, actor: Tensor) -> Tensor:
        """Return the transformed means float[..., K]: weights float[..., K + 1], or positions float[..., K].

        Axes: K coordinates of an action.
        """
        if self.readout == "tanh":
            return torch.tanh(actor)
        return torch.softmax(torch.cat([actor, actor.new_zeros((*actor.shape[:-1], 1))], -1), -1)

    def coordinates(self, action: Tensor) -> Tensor:
        """Return the coordinates float[..., K] of an action, the inverse of softmax or tanh.

        The coordinates are the log ratios of the weights to the last weight, or the inverse hyperbolic tangents of
        positions. Axes: K coordinates of an action.
        """
        if self.readout == "tanh":
            return torch.atanh(action)
        logs = action.log()
        return logs[..., :-1] - logs[..., -1:]

    def judge(self, actor: Tensor, spread: Tensor, coordinates: Tensor) -> Evaluation:
        """Return log-density and entropy of `coordinates` float[R, K] under the Gaussian.

        Density and entropy refer to the coordinates before the transformation by softmax or tanh. `actor` is the mean
        float[R, K], `spread` the log standard deviation float[K]. `pull` of the result takes a loss's gradients with
        respect to log-density and entropy, and returns those with respect to `actor` and `spread`. Axes: R rows, K
        coordinates of an action.
        """
        sharpness = torch.exp(-spread)
        z = (coordinates - actor).mul_(sharpness)
        squares = z * z
        width = spread.sum()
        log_prob = squares.sum(-1).mul_(-0.5).sub_(width + 0.5 * LOG_2PI * self.outputs)
        entropy = (width + 0.5 * (1.0 + LOG_2PI) * self.outputs).expand(log_prob.shape)

        def pull(d_log_prob: Tensor, d_entropy: float) -> tuple[Tensor, Tensor]:
            by_row = d_log_prob.unsqueeze(-1)
            d_spread = (squares - 1.0).mul_(by_row).sum(0).add_(d_entropy * len(log_prob))
            return z.mul_(by_row).mul_(sharpness), d_spread

        return Evaluation(log_prob, entropy, pull)


class Dirichlet:
    """Dirichlet on A weights. Concentrations are above 1, for a single interior mode (as Chou et al. 2017 for Beta)."""

    readout: Final = "dirichlet"
    spread: Final = 0

    def __init__(self, assets: int) -> None:
        self.outputs: Final = assets

    def sample(self, actor: Tensor, spread: Tensor, random: torch.Generator) -> Tensor:
        """Return weights float[B, A], one draw for each row of `actor` float[B, A], which determines the
        concentrations.

        The weights are gamma draws over their sum, kept away from the edge by LEAST. `spread` is not used. Axes: B
        environments, A weights.
        """
        gammas = torch._standard_gamma(_concentration(actor), generator=random)
        return _inside(gammas / gammas.sum(-1, keepdim=True))

    def mode(self, actor: Tensor) -> Tensor:
        """Return the mode, weights float[..., A]: each concentration less 1, scaled so that they add up to 1.

        Axes: A weights.
        """
        excess = torch.nn.functional.softplus(actor)
        return excess / excess.sum(-1, keepdim=True)

    def coordinates(self, action: Tensor) -> Tensor:
        """Return float[..., A], the logarithms of the weights.

        Axes: A weights.
        """
        return action.log()

    def judge(self, actor: Tensor, spread: Tensor, coordinates: Tensor) -> Evaluation:
        """Return log-density and entropy of the weights whose logarithms are `coordinates` float[R, A].

        The distribution is Dirichlet's. `pull` of the result takes a loss's gradients with respect to log-density and
        entropy, and returns those with respect to `actor` and `spread` (empty here). Axes: R rows, A weights.
        """
        alpha = _concentration(actor)
        total = alpha.sum(-1)
        digamma, digamma_total = torch.digamma(alpha), torch.digamma(total)
        log_beta = torch.lgamma(alpha).sum(-1) - torch.lgamma(total)
        log_prob = ((alpha - 1.0) * coordinates).sum(-1) - log_beta
        entropy = log_beta + (total - self.outputs) * digamma_total - ((alpha - 1.0) * digamma).sum(-1)

        def pull(d_log_prob: Tensor, d_entropy: float) -> tuple[Tensor, Tensor]:
            by_log_prob = coordinates - digamma + digamma_total.unsqueeze(-1)
            curve = (total - self.outputs) * torch.polygamma(1, total)
            by_entropy = curve.unsqueeze(-1) - (alpha - 1.0) * torch.polygamma(1, alpha)
            slope = by_log_prob * d_log_prob.unsqueeze(-1) + by_entropy * d_entropy
            return slope * torch.sigmoid(actor), spread  # sigmoid is the derivative of softplus in `_concentration`

        return Evaluation(log_prob, entropy, pull)


Family = Discrete | Gaussian | Dirichlet
"""A stateless distribution of actions, parametrised by P = `outputs` numbers per observation and S = `spread` others.

`sample` draws actions in executable form, and `mode` returns the deterministic ones. `coordinates` of executed actions
are the input of `judge`, computed once for all its calls.
"""


def family(kind: Kind, action_size: int, simplex: Simplex = "softmax_gaussian") -> Family:
    """Return the distribution for a kind of action; `simplex` names the distribution where actions are weights."""
    match kind:
        case "discrete":
            return Discrete(action_size)
        case "box":
            return Gaussian(action_size, "tanh")
        case "simplex":
            return Dirichlet(action_size) if simplex == "dirichlet" else Gaussian(action_size - 1, "softmax_gaussian")


def uniform(box: bool, rows: int, size: int, random: torch.Generator) -> Tensor:
    """Draw actions float[rows, size] uniformly: positions of a box, or weights of a simplex."""
    drawn = torch.rand((rows, size), generator=random, device=random.device)
    if box:
        return drawn * 2.0 - 1.0
    clocks = -torch.log1p(-drawn)  # exponential draws over their sum are uniform on the simplex
    return clocks / clocks.sum(-1, keepdim=True)


def _concentration(actor: Tensor) -> Tensor:
    return torch.nn.functional.softplus(actor) + 1.0


def _inside(weights: Tensor) -> Tensor:
    """Raise each weight to at least about LEAST, because no density is finite on the boundary of the simplex."""
    weights = weights.clamp_(min=LEAST)
    return weights.div_(weights.sum(-1, keepdim=True))
