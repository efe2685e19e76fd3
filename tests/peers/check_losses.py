"""Compares the losses that solve with other libraries, in f64 on the same density and points.

Argument: the file that `cargo run --example peers` wrote. POT and SciPy are needed; geomloss, which needs torch, is asked where it is
installed. Each line: what is compared, with what, largest difference over largest value, and the difference allowed.

A library's numbers are the optimum's to 1e-9. Ours are those of `f32` potentials of a plan that misses the points by the reported
residual: potentials, hence gradients, are off by about epsilon times that, and by rounding of costs up to their largest.
"""

import importlib.util
import json
import sys

import numpy as np
import ot
from scipy.optimize import minimize
from scipy.special import logsumexp

given = json.load(open(sys.argv[1]))
stride, columns, rows = given["stride"], given["columns"], given["rows"]
centres = (np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2) + 0.5) * stride
points, z = np.array(given["points"]), np.array(given["density"])
n, mass = len(points), z.sum()
some = z > 0
squares = ((centres[:, None] - points[None]) ** 2).sum(-1)
longer = stride * max(columns, rows)
wrong = []


def compare(loss, what, peer, got, want, allowed):
    """`allowed` is a share of the largest value."""
    got, want = np.atleast_1d(got), np.atleast_1d(want)
    off = np.abs(got - want).max() / np.abs(want).max()
    print(f"{loss:<24} {what:<10} {peer:<12} {off:.1e} of {allowed:.1e}")
    if not off <= allowed:
        wrong.append(f"{loss}: {what} against {peer}")


def ours(name):
    return {key: np.array(value) for key, value in given["losses"][name].items()}


def by_density(slope):
    """From the slope by the shares to that by the density."""
    return (slope - slope @ z / mass) / mass


def rounding(loss, cost, epsilon):
    """What residual and `f32` let potentials differ by."""
    return epsilon * float(loss["residual"]) + 32 * 2.0**-24 * cost.max()


def balanced(epsilon):
    """POT's potentials and plan of shares, and what the optimum of KL(P | a b') and of sum P ln P is."""
    a, b = z[some] / mass, np.full(n, 1 / n)
    plan, log = ot.bregman.sinkhorn_log(
        a, b, squares[some], epsilon, numItermax=100_000, stopThr=1e-12, log=True, warn=False
    )
    f, g = epsilon * (log["log_u"] - np.log(a)), epsilon * (log["log_v"] - np.log(b))
    return a, b, f, g, plan


def count_and_variation(pixels):
    """DM-Count's other two terms and their slope, with the annotations at `pixels`."""
    dots, cells = np.zeros(len(z)), (pixels // stride).astype(int)
    inside = ((cells >= 0) & (cells < [columns, rows])).all(1)
    np.add.at(dots, cells[inside, 1] * columns + cells[inside, 0], 1)
    apart = z / (mass + 1e-6) - dots / (n + 1e-6)
    sides = np.sign(apart)
    slopes = np.sign(mass - n) + 0.01 * n * (sides - sides @ z / (mass + 1e-6)) / (mass + 1e-6)
    return abs(mass - n) + 0.01 * n * np.abs(apart).sum(), slopes


def check_balanced():
    epsilon = 1000.0
    a, b, f, g, plan = balanced(epsilon)
    cost, dual = (plan * squares[some]).sum(), a @ f + b @ g
    # Empty cells have the best potential against the points'.
    everywhere = -epsilon * logsumexp(np.log(b) + (g - squares) / epsilon, axis=1)
    shannon = dual + epsilon * (a @ np.log(a) + b @ np.log(b))
    logs = epsilon * np.log(np.maximum(z / mass, 1e-16))
    rest, slopes = count_and_variation(points)
    for name, weight, value, slope, others, by_others in [
        ("sinkhorn balanced", 1.0, dual, everywhere, 0.0, 0.0),
        ("dm-count exact", 0.1, dual, everywhere, rest, slopes),
        ("dm-count exact shannon", 0.1, shannon, everywhere + logs, rest, slopes),
    ]:
        loss = ours(name)
        off = rounding(loss, squares, epsilon)
        compare(name, "value", "POT", loss["value"], weight * value + others, 2 * off / abs(value))
        compare(name, "cost", "POT", loss["cost"], cost, 2 * squares.max() * float(loss["residual"]) / cost + off / epsilon)
        want = weight * by_density(slope) + by_others
        compare(name, "gradient", "POT", loss["gradient"], want, 4 * weight * off / mass / np.abs(want).max() + 1e-5)
        shift = (loss["annotations"] - g).mean()
        compare(name, "potentials", "POT", loss["annotations"] - shift, g, 4 * off / np.abs(g).max())
    if importlib.util.find_spec("geomloss"):
        import geomloss
        import torch

        x, y = (torch.tensor(v) for v in (centres[some], points))
        # geomloss's cost is half the square, its epsilon blur^2.
        sinkhorn = geomloss.SamplesLoss(
            "sinkhorn", p=2, blur=(epsilon / 2) ** 0.5, scaling=0.99, debias=False, potentials=True, backend="tensorized"
        )
        f, g = (2 * v.numpy().ravel() for v in sinkhorn(torch.tensor(a), x, torch.tensor(b), y))
        loss, theirs = ours("sinkhorn balanced"), a @ f + b @ g
        # It makes one round with the last epsilon, so potentials are those of the one before, 0.99^-2 times as large; the optimum
        # grows with epsilon by the plan's divergence, which is ln n at most.
        allowed = (0.0203 * epsilon * np.log(n) + 2 * rounding(loss, squares, epsilon)) / abs(theirs)
        compare("sinkhorn balanced", "value", "geomloss", loss["value"], theirs, allowed)


def divergence(p, q):
    return np.where(p > 0, p * np.log(np.where(p > 0, p / q, 1)), 0).sum() - p.sum() + q.sum()


def check_relaxed(name, cost, epsilon, rho, over):
    """`over` divides the product that the entropy is measured against."""
    loss = ours(name)
    a, b = z[some], np.ones(n)
    plan = ot.unbalanced.sinkhorn_unbalanced(
        a, b, cost[some], epsilon, rho, reg_type="kl", c=np.outer(a, b) / over, numItermax=100_000, stopThr=1e-14,
    )
    rows, received = plan.sum(1), plan.sum(0)
    value = (plan * cost[some]).sum() + rho * (divergence(rows, a) + divergence(received, b))
    value += epsilon * divergence(plan, np.outer(a, b) / over)
    # What potentials are, read off the plan: `P1 = z exp(-f / rho)`.
    left = rows / a
    slope = rho * (1 - left) - epsilon * (left - n / over)
    off = float(loss["residual"]) + rounding(loss, cost, epsilon) / epsilon
    compare(name, "value", "POT", loss["value"], value, 2 * off)
    compare(name, "gradient", "POT", loss["gradient"][some], slope, 4 * off)
    compare(name, "received", "POT", loss["received"], received, 4 * off)
    if over == 1 and importlib.util.find_spec("geomloss"):
        import geomloss
        import torch

        relaxed = geomloss.SamplesLoss(
            "sinkhorn", p=1, blur=epsilon, reach=rho, scaling=0.99, debias=False, potentials=True, backend="tensorized"
        )
        f, _ = relaxed(torch.tensor(a), torch.tensor(centres[some] / longer), torch.tensor(b), torch.tensor(points / longer))
        theirs = rho * (1 - np.exp(-f.numpy().ravel() / rho)) - epsilon * (np.exp(-f.numpy().ravel() / rho) - n)
        # Epsilon falls by a hundredth a round, of which half brings potentials closer by (1 + epsilon / rho)^-2: they lag behind by
        # so many rounds' change, and change with epsilon by less than the logarithms of how many there are to choose from.
        lag = 0.01 / (0.5 * (1 - (1 + epsilon / rho) ** -2)) * epsilon * np.log(n * len(a))
        allowed = left.max() * (1 + epsilon / rho) * lag / np.abs(theirs).max() + 4 * off
        compare(name, "gradient", "geomloss", loss["gradient"][some], theirs, allowed)


def check_semi_dual():
    name, cost, epsilon, rho = "unbalanced semi-dual", np.sqrt(squares) / longer, 0.01, 0.5
    loss = ours(name)

    def negative(beta):
        exponents = (beta - cost) / epsilon
        alpha = -epsilon * logsumexp(exponents, axis=1)
        left = z * np.exp(-alpha / rho)
        shares = np.exp(exponents + alpha[:, None] / epsilon)
        value = rho * (z - left).sum() + rho * (1 - np.exp(-beta / rho)).sum()
        return -value, left @ shares - np.exp(-beta / rho)

    best = minimize(negative, np.zeros(n), jac=True, method="L-BFGS-B", options={"maxiter": 20_000, "ftol": 1e-15, "gtol": 1e-10})
    alpha = -epsilon * logsumexp((best.x - cost) / epsilon, axis=1)
    off = float(loss["residual"]) + rounding(loss, cost, epsilon) / epsilon
    compare(name, "value", "L-BFGS", loss["value"], -best.fun, 2 * off)
    compare(name, "gradient", "L-BFGS", loss["gradient"], rho * (1 - np.exp(-alpha / rho)), 4 * off)
    compare(name, "potentials", "L-BFGS", loss["annotations"], best.x, 4 * off * rho / np.abs(best.x).max())


def check_published():
    """The published loop, in f64."""
    name, epsilon = "dm-count reference", 10.0
    loss = ours(name)
    kernel, b = np.exp(-squares.T / epsilon), z / (mass + 1e-6)
    u = np.full(n, 1 / n)
    for _ in range(100):
        v = b / (kernel.T @ u + 1e-16)
        u = 1 / n / (kernel @ v + 1e-16)
    beta = epsilon * np.log(v + 1e-16)
    norm = mass**2 + 1e-8
    slope = beta * mass / norm - z @ beta / norm
    value, slopes = count_and_variation(np.minimum(np.round(points), np.array([columns, rows]) * stride - 1))
    want = 0.1 * slope + slopes
    # Every half of a round may add the rounding of the largest cost that the floor of 1e-16 does not hide.
    off = 201 * 32 * 2.0**-24 * (37 * epsilon + np.abs(beta).max())
    compare(name, "value", "its loop", loss["value"], value, 1e-5)
    compare(name, "gradient", "its loop", loss["gradient"], want, 0.2 * off / mass / np.abs(want).max())


def check_generalized():
    """The published rounds, in f64, and their loss."""
    name, last, rho, tau = "generalized reference", 0.01, 0.5, 0.1
    loss = ours(name)
    places, at = (centres + stride / 2) / longer, points / longer
    distances = np.sqrt(((places[:, None] - at[None]) ** 2).sum(-1))
    cost = np.exp(distances / (0.5 + 0.1 * (places[:, None, 1] + at[None, :, 1]))) - 1
    with np.errstate(divide="ignore"):
        logs = np.log(z)
    everything = np.concatenate([places, at])
    diameter = np.linalg.norm(everything.max(0) - everything.min(0))
    epsilons = [diameter]
    while epsilons[-1] * (0.5 if len(epsilons) > 1 else 1) > last:
        epsilons.append(epsilons[-1] * (0.5 if len(epsilons) > 1 else 1))

    def best(f, g, epsilon):
        damping = epsilon / (1 + epsilon / rho)
        by_cell = -damping * logsumexp((g - cost) / epsilon, axis=1)
        return by_cell, -damping * logsumexp(logs[:, None] + (f[:, None] - cost) / epsilon, axis=0)

    f, g = best(np.zeros(len(z)), np.zeros(n), diameter)
    for epsilon in epsilons + [last]:
        to_f, to_g = best(f, g, epsilon)
        f, g = (f + to_f) / 2, (g + to_g) / 2
    f, g = best(f, g, last)
    k = np.exp((f[:, None] + g - cost) / last)
    plan = z[:, None] * k + 1e-20
    rows, missed = z * k.sum(1), z @ k - 1
    price = lambda p: (rho + last / 2) * (1 - np.exp(-p / rho))
    value = z @ price(f) + price(g).sum() + tau * (((rows - z) ** 2).sum() + np.abs(missed).sum())
    value += last * (plan * np.log(plan)).mean()
    slope = price(f) + tau * (2 * (z - rows) + k @ np.sign(missed)) + last * (k * (np.log(plan) + 1)).sum(1) / k.size
    # A half of a round adds the rounding of the largest cost that mass is carried at; there are two a round.
    reach = cost[plan > 1e-6].max()
    off = 2 * (len(epsilons) + 3) * 32 * 2.0**-24 * (reach + np.abs(g).max()) / last
    compare(name, "value", "its loop", loss["value"], value, off)
    compare(name, "gradient", "its loop", loss["gradient"], slope, 4 * off)


check_balanced()
check_relaxed("sinkhorn relaxed", squares / longer**2, 0.01, 0.5, n)
check_relaxed("unbalanced product", np.sqrt(squares) / longer, 0.01, 0.5, 1)
check_semi_dual()
check_published()
check_generalized()
if wrong:
    sys.exit("not the same: " + "; ".join(wrong))
