"""AutoAttack's members written plainly from their papers, example by example where that can make a difference.

Croce and Hein (2020), Algorithm 1 (APGD) and Eq. 7 (targeted DLR loss); Croce and Hein (2020), FAB, Algorithm 1;
Andriushchenko et al. (2020), Square, Algorithms 1 to 3. Constants are those of AutoAttack's standard version. Each
function returns where the model withstands the attack; random numbers are drawn in the order of the authors' release.
"""

from itertools import pairwise

import torch
from torch import nn

ORDER = {"linf": torch.inf, "l2": 2}


def length(offset, norm):
    """Return the norm of every row's offset, shaped to multiply images."""
    return torch.linalg.vector_norm(offset.flatten(1), ORDER[norm], dim=1).view(-1, 1, 1, 1)


def into_ball(points, images, eps, norm):
    offset = points - images
    if norm == "linf":
        return (images + offset.clamp(-eps, eps)).clamp(0, 1)
    return (images + offset * (eps / length(offset, norm).clamp_min(1e-12)).clamp_max(1)).clamp(0, 1)


def random_start(images, eps, norm):
    drawn = 2 * torch.rand(images.shape) - 1 if norm == "linf" else torch.randn(images.shape)
    return (images + eps * drawn / length(drawn, norm)).clamp(0, 1)


def targeted_dlr(logits, label, target):
    ordered = logits.sort(dim=1).values
    spread = ordered[:, -1] - (ordered[:, -3] + ordered[:, -4]) / 2
    return (logits[:, target] - logits[:, label]) / (spread + 1e-12)


def apgd_withstood(model, image, label, start, loss_of, eps, norm, steps):
    """Algorithm 1 on one example; stop at the first point that is classified wrongly."""

    def look(point):
        point = point.clone().requires_grad_(True)
        logits = model(point)
        loss = loss_of(logits)
        (gradient,) = torch.autograd.grad(loss.sum(), point)
        return float(loss.detach()), gradient, int(logits.argmax()) != label

    window, shortest, shorter = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    step, point, before = 2 * eps, start, start
    best, gradient, wrong = look(point)
    best_point, best_gradient, best_at_check = point, gradient, best
    # The release counts the first loss as a success if it is above 0.
    losses, halved, since = [0.0], True, 0
    for number in range(steps):
        if wrong:
            return False
        direction = gradient.sign() if norm == "linf" else gradient / (length(gradient, norm) + 1e-12)
        ahead = into_ball(point + step * direction, image, eps, norm)
        if number:
            ahead = into_ball(point + 0.75 * (ahead - point) + 0.25 * (point - before), image, eps, norm)
        before, point = point, ahead
        loss, gradient, wrong = look(point)
        losses.append(loss)
        if loss > best:
            best, best_point, best_gradient = loss, point, gradient
        since += 1
        if since == window:
            rises = sum(later > earlier for earlier, later in pairwise(losses[-window - 1 :]))
            halved = rises <= 0.75 * window or (not halved and best_at_check >= best)
            best_at_check = best
            if halved:
                step, point, gradient = step / 2, best_point, best_gradient
            since, window = 0, max(window - shorter, shortest)
    return not wrong


def apgd(model, images, labels, eps, norm, steps, seed, targets=()):
    """Return what withstands APGD on the cross-entropy, or on the DLR loss of each likely target."""
    torch.manual_seed(seed)
    left = model(images).argmax(dim=1) == labels
    likeliest = model(images).sort(dim=1).indices
    for rank in targets or (None,):
        rows = torch.nonzero(left)[:, 0].tolist()
        if not rows:
            break
        for row, start in zip(rows, random_start(images[rows], eps, norm), strict=True):
            label = int(labels[row])

            def loss_of(logits, row=row, label=label, rank=rank):
                if rank is None:
                    return nn.functional.cross_entropy(logits, torch.tensor([label]))
                return targeted_dlr(logits, label, int(likeliest[row, -rank]))

            left[row] = apgd_withstood(
                model, images[row : row + 1], label, start[None], loss_of, eps, norm, steps
            )
    return left


def to_plane(points, normals, offsets, norm):
    """Return the nearest points of the box [0, 1] on planes ``w · x = b``, by bisection of the multiplier."""
    places, w = points.double().flatten(1), normals.double().flatten(1)
    side = torch.where((w * places).sum(dim=1) >= offsets, 1.0, -1.0).double()[:, None]
    direction = -side * (w.sign() if norm == "linf" else w)

    def moved(multiplier):
        return (places + multiplier * direction).clamp(0, 1)

    low = torch.zeros_like(side)
    high = torch.ones_like(side) if norm == "linf" else 2 / w.abs().clamp_min(1e-8).amin(dim=1, keepdim=True)
    for _ in range(100):
        middle = (low + high) / 2
        beyond = side * ((w * moved(middle)).sum(dim=1) - offsets)[:, None] < 0
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return moved(high).float().view_as(points)


def fab(model, images, labels, eps, norm, steps, targets):
    """Return what withstands targeted FAB: no adversarial point within ``eps`` of the image."""
    left = model(images).argmax(dim=1) == labels
    likeliest = model(images).sort(dim=1).indices
    for rank in targets:
        rows = torch.nonzero(left)[:, 0]
        if not len(rows):
            break
        x, y, target = images[rows], labels[rows], likeliest[rows, -rank]
        each = torch.arange(len(rows))
        point, nearest = x.clone(), torch.full((len(rows), 1, 1, 1), torch.inf)
        for _ in range(steps):
            variable = point.clone().requires_grad_(True)
            logits = model(variable)
            values = logits[each, target] - logits[each, y]
            (w,) = torch.autograd.grad(values.sum(), variable)
            b = (w * point).flatten(1).double().sum(dim=1) - values.detach().double()
            here, origin = (to_plane(place, w, b, norm) - place for place in (point, x))
            far, near = (length(offset, norm).clamp_min(1e-8) for offset in (here, origin))
            pull = (far / (far + near)).clamp(0, 0.1)
            point = ((point + 1.05 * here) * (1 - pull) + (x + 1.05 * origin) * pull).clamp(0, 1)
            wrong = (model(point).argmax(dim=1) != y).view(-1, 1, 1, 1)
            nearest = torch.where(wrong, torch.minimum(nearest, length(point - x, norm)), nearest)
            point = torch.where(wrong, x + 0.9 * (point - x), point)
        left[rows] = nearest.flatten() > eps
    return left


# From which query on a smaller share of the pixels is changed at once (Square's schedule for 10,000 queries).
SHARES = ((0, 1), (11, 2), (51, 4), (201, 8), (501, 16), (1001, 32), (2001, 64), (4001, 128))


def sign_of(shape):
    return (2 * torch.rand(shape) - 1).sign()


def square(model, images, labels, eps, norm, queries, seed):
    """Return what withstands Square with the margin as its loss."""
    torch.manual_seed(seed)
    correct = model(images).argmax(dim=1) == labels
    x, y = images[correct], labels[correct]
    channels, side = x.shape[1], x.shape[2]

    def margins(points, answers):
        logits = model(points)
        others = logits.scatter(1, answers[:, None], -torch.inf).amax(dim=1)
        return logits.gather(1, answers[:, None])[:, 0] - others

    if norm == "linf":
        best = (x + eps * sign_of([len(x), channels, 1, side])).clamp(0, 1)
    else:
        tile, pattern = side // 5, torch.zeros_like(x)
        first = (side - 5 * tile) // 2
        for row in range(side // tile):
            for column in range(side // tile):
                place = (..., *(slice(first + tile * k, first + tile * (k + 1)) for k in (row, column)))
                pattern[place] += bump(tile) * sign_of([len(x), channels, 1, 1])
        best = (x + eps * pattern / length(pattern, norm)).clamp(0, 1)
    least = margins(best, y)
    for query in range(queries):
        rows = torch.nonzero(least > 0)[:, 0]
        if not len(rows):
            break
        share = 0.8 / next(factor for begin, factor in reversed(SHARES) if query >= begin)
        if norm == "linf":
            size = max(round((share * side**2) ** 0.5), 1)
            place = window(side, size)
            change = torch.zeros_like(x[:1])
            change[place] = 2 * eps * sign_of([channels, 1, 1])
            tried = into_ball(best[rows] + change, x[rows], eps, norm)
        else:
            size = max(round((share * side**2) ** 0.5), 3)
            tried = moved_mass(best[rows], x[rows], eps, size + (size % 2 == 0))
        found = margins(tried, y[rows])
        better = (found < least[rows]) | (found <= 0)
        best[rows[better]], least[rows[better]] = tried[better], found[better]
    left = correct.clone()
    left[correct] = least > 0
    return left


def window(side, size):
    """Draw a square window of an image."""
    row, column = (int((side - size) * torch.rand(1)) for _ in range(2))
    return ..., slice(row, row + size), slice(column, column + size)


def bump(size):
    """Return two opposite bumps beside or above one another, of length 1 in all."""

    def half(rows, columns):
        heights = torch.zeros(rows, columns)
        top, left = rows // 2, columns // 2
        for ring in range(max(rows // 2, columns // 2) + 1):
            rows_of = slice(max(top - ring, 0), min(top + ring + 1, rows))
            columns_of = slice(max(left - ring, 0), min(left + ring + 1, columns))
            heights[rows_of, columns_of] += 1 / (ring + 1) ** 2
        return heights / heights.norm()

    both = torch.cat([half(size // 2, size), -half(size - size // 2, size)])
    both /= both.norm()
    return both.T if torch.rand([1]) > 0.5 else both


def moved_mass(best, x, eps, size):
    """Square in L2: empty one window, and give its mass and what is left of ``eps`` to another one."""
    channels, delta = x.shape[1], best - x
    to, emptied = window(x.shape[2], size), window(x.shape[2], size)
    both = torch.zeros_like(delta)
    both[to], both[emptied] = 1, 1
    spare = (eps**2 - length(delta, "l2") ** 2).clamp_min(0) / channels
    mass = (spare + length(delta * both, "l2") ** 2).sqrt()
    new = bump(size) * sign_of([len(x), channels, 1, 1])
    old = delta[to]
    new = new + old / (1e-12 + old.flatten(2).norm(dim=2)[..., None, None])
    new = new / (1e-12 + new.flatten(2).norm(dim=2)[..., None, None]) * mass
    delta[emptied] = 0
    delta[to] = new
    return (x + eps * delta / (length(delta, "l2") + 1e-12)).clamp(0, 1)
