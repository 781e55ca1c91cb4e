"""The nearest point of a decision boundary in L∞: the fast adaptive boundary attack on one field."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nls.levelset import as_column

# Overshoot of a step, share of the way kept after a crossing, and the most that a step is drawn towards the
# image: the attack's own values (Croce and Hein, 2020, Section 2).
_OVERSHOOT, _KEPT, _MOST_BIAS = 1.05, 0.9, 0.1


@dataclass(frozen=True)
class NearestPoints:
    """The nearest points found beyond the boundary.

    Attributes:
        points: where the field is negative, as near to the image as was found, ``(n, *shape)``; the image itself
            where no such point was found.
        distances: from the image, L∞, ``(n,)``; infinite where none was found.
    """

    points: Float[Tensor, "n *shape"]
    distances: Float[Tensor, " n"]

    @property
    def found(self) -> Bool[Tensor, " n"]:
        """Where there is a point beyond the boundary."""
        return self.distances.isfinite()


def nearest_beyond(
    field: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n *shape"],
    start: Float[Tensor, "n *shape"],
    *,
    steps: int,
) -> NearestPoints:
    """Search the nearest point in [0, 1] where a field that is positive at the image is negative.

    FAB (Croce and Hein, *Minimally distorted adversarial examples with a fast adaptive boundary attack*, 2020) in L∞
    for a single field: every step goes to the linearised boundary's nearest point of the box, drawn a little towards
    the point of it that is nearest to the image; after a crossing the iterate goes back a tenth of the way. A step
    takes one gradient and one value.

    Args:
        field: values ``(n,)`` of points, sample by sample; without graphs for its parameters.
        images: where the field is positive, in [0, 1].
        start: first iterates, in [0, 1].
        steps: of the search.
    """
    points, best = start.detach().clamp(0, 1), images.clone()
    distances = torch.full(images.shape[:1], torch.inf, device=images.device, dtype=images.dtype)
    for _ in range(steps):
        with torch.enable_grad():
            here = points.detach().requires_grad_(True)
            values = field(here)
            (gradient,) = torch.autograd.grad(values.sum(), here)
        values = values.detach()
        from_image = values + (gradient * (images - points)).flatten(1).sum(dim=1)
        step = step_to_plane(points, gradient, values)
        step_from_image = step_to_plane(images, gradient, from_image)
        length, image_length = (_length(one) for one in (step, step_from_image))
        bias = (length / (length + image_length).clamp_min(1e-12)).clamp_max(_MOST_BIAS)
        bias = as_column(bias, images)
        points = torch.lerp(points + _OVERSHOOT * step, images + _OVERSHOOT * step_from_image, bias).clamp(
            0, 1
        )
        with torch.no_grad():
            beyond = field(points) < 0
        distance = _length(points - images)
        nearer = beyond & (distance < distances)
        best = torch.where(as_column(nearer, points), points, best)
        distances = torch.where(nearer, distance, distances)
        points = torch.where(as_column(beyond, points), torch.lerp(images, points, _KEPT), points)
    return NearestPoints(best, distances)


def step_to_plane(
    points: Float[Tensor, "n *shape"], gradient: Float[Tensor, "n *shape"], values: Float[Tensor, " n"]
) -> Float[Tensor, "n *shape"]:
    """Return the L∞-least step after which ``values + gradient · step = 0`` and the point lies in [0, 1].

    Every coordinate moves by ``min(t, room)`` in the direction that lowers ``|values|``, where ``room`` is the way
    to the side of the box. What this gains grows with t, piecewise linearly, so t is found by sorting the rooms.
    Where the plane does not meet the box, every coordinate goes to its side.
    """
    flat, slope = points.flatten(1), gradient.flatten(1)
    direction = -(slope * values.sign()[:, None]).sign()
    room = torch.where(direction > 0, 1 - flat, torch.where(direction < 0, flat, 0.0)).clamp_min(0)
    weight = slope.abs()
    rooms, order = room.sort(dim=1)
    weights = weight.gather(1, order)
    spent = (weights * rooms).cumsum(dim=1)
    moving = weights.flip(1).cumsum(dim=1).flip(1)
    # What is gained when t is the k-th room: those with less room are at their side, the others have moved by t.
    gained = spent - weights * rooms + moving * rooms
    wanted = values.abs()[:, None]
    piece = torch.searchsorted(gained, wanted).clamp_max(rooms.shape[1] - 1)
    before = (spent - weights * rooms).gather(1, piece)
    size = (wanted - before) / moving.gather(1, piece).clamp_min(torch.finfo(flat.dtype).tiny)
    size = torch.where(wanted > gained[:, -1:], torch.inf, size)
    return (direction * torch.minimum(size, room)).reshape(points.shape)


def _length(steps: Tensor) -> Tensor:
    return steps.flatten(1).abs().amax(dim=1)
