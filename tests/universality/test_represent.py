"""The network is zero on the hypersurface, has the solid's signs elsewhere, and is zero nowhere else."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from nls.errors import UserError
from nls.geometry.exact import Arrangement
from nls.geometry.winding import winding_number
from nls.universality import (
    SHAPES,
    ReLUNetwork,
    SparseLinear,
    check,
    evaluate,
    extract,
    find_defect,
    from_mesh,
    from_polygons,
    half_space,
    represent,
    shape,
    slab,
    tree,
    wedge,
)
from nls.universality.tree import Split, partition
from nls.universality.zeros import find_walls, zero_set


@functools.cache
def double(name):
    return represent(shape(name))


@functools.cache
def walls(name):
    return find_walls(partition(shape(name)))


def assert_zeros_are_the_surface(numbers):
    assert numbers["zero_differences"] == 0
    assert numbers["exact_components"] == numbers["components"]
    assert numbers["exact_euler_number"] == numbers["euler_number"]
    assert numbers["zero_error"] < 1e-14
    assert numbers["wall_error_distance"] < 1e-13


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_exact(name):
    surface = shape(name)
    assert find_defect(surface) is None
    resolutions = (40, 56) if len(surface.facets) < 400 else (48,)
    numbers = check(double(name), surface, 3000, resolutions, walls=walls(name))
    assert max(numbers["vertex_error"], numbers["edge_error"], numbers["facet_error"]) < 1e-14
    # Points closer than rounding may fall on either side.
    assert numbers["sign_error_distance"] < 1e-13
    assert_zeros_are_the_surface(numbers)
    for resolution in resolutions:
        assert numbers[f"extracted_components_{resolution}"] == numbers["components"]
        assert numbers[f"extracted_euler_number_{resolution}"] == numbers["euler_number"]


def test_a_decimated_body_is_exact():
    pytest.importorskip("anny")
    surface = shape("body-500")
    assert len(surface.facets) == 500
    assert find_defect(surface) is None
    network = represent(surface)
    numbers = check(network, surface, points=4000, resolutions=())
    assert numbers["facet_error"] < 1e-14
    assert numbers["sign_error_distance"] < 1e-13
    assert_zeros_are_the_surface(numbers)
    assert network.neurons < 4000
    assert network.depth < 60


@pytest.mark.parametrize("name", ["polygon_with_holes", "body_with_cavity", "linked_components"])
def test_the_complement_of_a_solid_is_exact(name):
    surface = shape(name).complement()
    numbers = check(represent(surface), surface, points=2000, resolutions=())
    assert numbers["sign_error_distance"] < 1e-13
    assert_zeros_are_the_surface(numbers)


@pytest.mark.parametrize("name", ["polygon_with_holes", "torus", "linked_components"])
def test_float32_is_right_to_its_rounding(name):
    surface = shape(name)
    single = represent(surface, torch.float32)
    numbers = check(single, surface, points=4000, resolutions=(), walls=walls(name))
    assert max(numbers["vertex_error"], numbers["edge_error"], numbers["facet_error"]) < 1e-6
    assert numbers["sign_error_distance"] < 1e-6
    points = torch.randn(1000, surface.dimension)
    assert torch.allclose(
        evaluate(single, points).double(), evaluate(double(name), points.double()), atol=3e-6
    )


def test_float32_far_from_the_origin():
    surface = shape("l_block")
    moved = from_mesh(trimesh.Trimesh(surface.vertices + 4096.0, np.array(surface.facets), process=False))
    numbers = check(represent(moved, torch.float32), moved, points=2000, resolutions=())
    assert numbers["vertex_error"] < 1e-6
    assert numbers["sign_error_distance"] < 1e-6


def test_other_types_are_refused():
    with pytest.raises(UserError, match="float32 or float64"):
        represent(shape("square"), torch.float16)


def test_the_network_is_linear_layers_and_relu_only():
    network = represent(shape("l_block"))
    assert isinstance(network, ReLUNetwork)
    assert all(
        type(module) is (SparseLinear if i % 2 == 0 else torch.nn.ReLU) for i, module in enumerate(network)
    )
    assert type(network).forward is torch.nn.Sequential.forward
    assert network.neurons == sum(module.out_features for module in network.layers[:-1])


def test_dense_layers_and_gradients_are_the_same():
    surface = shape("l_block")
    network = represent(surface)
    dense = network.dense()
    assert all(type(module) in (torch.nn.Linear, torch.nn.ReLU) for module in dense)
    points = torch.randn(200, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(points).sum(), points)
    (expected,) = torch.autograd.grad(dense(points).sum(), points)
    torch.testing.assert_close(network(points), dense(points))
    torch.testing.assert_close(gradient, expected)


def test_the_slope_is_one_on_facets_and_nowhere_more():
    surface = shape("torus")
    network = double("torus")
    facets = surface.vertices[np.array(surface.facets)]
    normals = np.cross(facets[:, 1] - facets[:, 0], facets[:, 2] - facets[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    for factor in (1e-5, -1e-5):
        points = torch.from_numpy(facets.mean(axis=1) + factor * normals).requires_grad_()
        (gradient,) = torch.autograd.grad(network(points).sum(), points)
        np.testing.assert_allclose(gradient.numpy(), -normals, atol=1e-9)
    points = torch.randn(3000, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(points).sum(), points)
    assert gradient.norm(dim=1).max() <= 1 + 1e-9


def test_dividing_planes_are_no_zeros_of_their_own():
    surface = shape("torus")
    network, divided = double("torus"), partition(surface)
    planes, nodes = [], [divided.root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Split):
            planes.append(divided.arrangement.plane(node.plane))
            nodes += [node.positive, node.negative]
        elif node.rest is not None:
            nodes.append(node.rest)
    assert len(planes) > 50
    generator = np.random.default_rng(0)
    facets = surface.vertices[np.array(surface.facets)]
    points = generator.uniform(-1.5, 1.5, (4000, 3))
    for number in (1, 2, 3):
        part = slice((number - 1) * 1300, number * 1300)
        chosen = np.array(planes)[generator.integers(len(planes), size=(1300, number))]
        residual = np.einsum("nkd,nd->nk", chosen[..., :3], points[part]) + chosen[..., 3]
        points[part] -= np.einsum("ndk,nk->nd", np.linalg.pinv(chosen[..., :3], rcond=1e-3), residual)
    # Points on the surface itself are zeros, and right to be.
    inside = winding_number(points, facets) > 0.5
    values = evaluate(network, torch.from_numpy(points)).numpy()
    wrong = points[(values > 0) != inside]
    nearest = [
        np.linalg.norm(
            trimesh.triangles.closest_point(facets, np.tile(p, (len(facets), 1))) - p, axis=1
        ).min()
        for p in wrong
    ]
    assert max(nearest, default=0) < 1e-12
    assert len(wrong) < 400


def fan(heights):
    """A solid with a vertex at the origin where as many roof facets meet as there are heights."""
    count = len(heights)
    angle = 2 * np.pi * np.arange(count) / count
    rim = np.column_stack([np.cos(angle), np.sin(angle), heights])
    base = np.column_stack([np.cos(angle), np.sin(angle), np.full(count, -2.0)])
    vertices = np.concatenate([[[0, 0, 0]], rim, base, [[0, 0, -2.0]]])
    faces = []
    for i in range(count):
        j = (i + 1) % count
        a, b, c, d = 1 + i, 1 + j, 1 + count + i, 1 + count + j
        faces += [(0, a, b), (a, c, d), (a, d, b), (2 * count + 1, d, c)]
    return from_mesh(trimesh.Trimesh(vertices, faces, process=False))


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=3, max_size=9))
def test_many_planes_through_one_vertex(heights):
    surface = fan(heights)
    assert find_defect(surface) is None
    network = represent(surface)
    numbers = check(network, surface, points=1000, resolutions=())
    assert max(numbers["vertex_error"], numbers["edge_error"], numbers["facet_error"]) < 1e-14
    assert numbers["sign_error_distance"] < 1e-12
    # About the vertex itself, at every scale.
    generator = np.random.default_rng(0)
    points = generator.normal(size=(600, 3)) * 10.0 ** -generator.integers(0, 9, size=(600, 1))
    inside = winding_number(points, surface.vertices[np.array(surface.facets)]) > 0.5
    values = evaluate(network, torch.from_numpy(points)).numpy()
    assert (((values > 0) == inside) | (np.abs(values) < 1e-14)).all()


@given(st.lists(st.floats(0.2, 2.0), min_size=3, max_size=24), st.floats(0, 6.3))
def test_star_shaped_polygons(radii, turn):
    angle = turn + 2 * np.pi * np.arange(len(radii)) / len(radii)
    surface = from_polygons([np.array(radii)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])])
    numbers = check(represent(surface), surface, points=1000, resolutions=())
    assert numbers["edge_error"] < 1e-14
    assert numbers["sign_error_distance"] < 1e-12


def test_a_facet_split_into_almost_coplanar_triangles_makes_no_zero_of_its_plane():
    # A turned block: rounding makes the triangles of each side differ by an epsilon.
    surface = shape("l_block")
    turn = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])[:3, :3]
    fine = trimesh.Trimesh(surface.vertices @ turn.T, np.array(surface.facets), process=False).subdivide()
    numbers = check(represent(from_mesh(fine)), from_mesh(fine), points=8000, resolutions=())
    assert numbers["sign_error_distance"] < 1e-12


NORMALS = {2: np.array([0.3, -0.7]), 3: np.array([0.3, -0.7, 1.9])}


@pytest.mark.parametrize("dimension", [2, 3])
def test_unbounded_hypersurfaces(dimension):
    normal = NORMALS[dimension]
    first, second = np.eye(dimension)[0], np.arange(1.0, dimension + 1)
    points = np.random.default_rng(0).normal(size=(3000, dimension)) * 10.0
    heights = points @ normal
    # The wedge is where a point is a positive sum of both directions, up to the edge's direction.
    basis = np.column_stack([first, second, *([np.cross(first, second)] if dimension == 3 else [])])
    shares = np.linalg.solve(basis, (points - 0.5).T)[:2]
    corner = wedge(np.full(dimension, 0.5), first, second)
    for surface, inside in (
        (half_space(normal, 0.4), heights < 0.4),
        (slab(normal, -1.0, 2.0), (heights > -1.0) & (heights < 2.0)),
        (slab(normal, -1.0, 2.0).complement(), (heights < -1.0) | (heights > 2.0)),
        (corner, shares.min(axis=0) > 0),
        (corner.complement(), shares.min(axis=0) < 0),
    ):
        values = evaluate(represent(surface), torch.from_numpy(points)).numpy()
        assert ((values > 0) == inside).all()
    # Exactly affine, at any distance: nothing is cut off.
    flat = evaluate(represent(half_space(normal, 0.4)), torch.from_numpy(1e6 * points)).numpy()
    np.testing.assert_allclose(flat, (0.4 - 1e6 * heights) / np.linalg.norm(normal), rtol=1e-9)


def test_an_unbounded_roof_of_five_facets():
    # A trough with a step: neither convex nor the complement of something convex.
    points = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [2, 1, 1], [-1, 1, 0], [1, 2, 0]], dtype=float)
    surface = type(shape("square"))(points, ((5, 3), (3, 2), (2, 1), (1, 0), (0, 4)))
    x = np.random.default_rng(0).uniform(-3, 5, (4000, 2))
    below = np.select(
        [x[:, 0] < 0, x[:, 0] < 1, x[:, 0] < 2],
        [x[:, 1] < -x[:, 0], x[:, 1] < 0, x[:, 1] < 1],
        x[:, 1] < 2 * x[:, 0] - 3,
    )
    values = evaluate(represent(surface), torch.from_numpy(x)).numpy()
    assert ((values > 0) == below).all()


def test_wrong_arguments_of_unbounded_hypersurfaces():
    with pytest.raises(UserError, match="not zero"):
        half_space(np.zeros(3), 1.0)
    with pytest.raises(UserError, match="low < high"):
        slab(np.ones(2), 1.0, 1.0)
    with pytest.raises(UserError, match="parallel"):
        wedge(np.zeros(2), np.ones(2), 2 * np.ones(2))


def mirrored(node):
    """The tree with the two sides of its first dividing plane exchanged."""
    if isinstance(node, Split):
        return replace(node, positive=node.negative, negative=node.positive)
    return replace(node, rest=mirrored(node.rest))


def test_zeros_of_a_wrong_partition_differ():
    surface = shape("polygon_with_holes")
    divided = partition(surface)
    assert zero_set(find_walls(divided), surface).differences == 0
    assert zero_set(find_walls(replace(divided, root=mirrored(divided.root))), surface).differences > 0
    assert zero_set(find_walls(divided), surface.complement()).differences > 0


def test_exact_zeros_face_outwards():
    corners = find_walls(partition(shape("l_block"))).corners
    assert np.linalg.det(corners).sum() / 6 == pytest.approx(3.0)


@pytest.mark.parametrize("name", ["cube", "square"])
def test_a_grid_that_is_too_coarse_to_see_the_surface_extracts_nothing(name):
    numbers = check(double(name), shape(name), 1000, (2,), walls=walls(name))
    assert (numbers["extracted_components_2"], numbers["extracted_euler_number_2"]) == (0, 0)


def test_extracted_faces_look_outwards():
    vertices, faces = extract(double("l_block"), shape("l_block"), 32)
    assert trimesh.Trimesh(vertices, faces, process=False).volume == pytest.approx(3.0, rel=0.01)


def test_convex_solids_take_one_balanced_minimum():
    network = represent(from_mesh(trimesh.creation.icosphere(subdivisions=2)))
    assert network.depth == 1 + 9
    assert network.neurons < 2 * 320


def test_signs_are_asked_for_in_blocks_and_not_of_all_planes_at_all_points(monkeypatch):
    asked = []
    signs = Arrangement.signs

    def watched(space, planes, points):
        asked.append(len(planes) * len(points))
        return signs(space, planes, points)

    monkeypatch.setattr(Arrangement, "signs", watched)
    monkeypatch.setattr(tree, "_BLOCK", 1 << 12)
    # Every plane of a ball bounds it, so each is compared with every vertex: 320 planes with 162.
    partition(from_mesh(trimesh.creation.icosphere(subdivisions=2)))
    assert sum(asked) == 320 * 162
    assert max(asked) <= 1 << 12
    # On a torus most planes have vertices on both sides among the first few.
    asked.clear()
    partition(shape("torus"))
    assert max(asked) < 400 * 200 / 2


def test_unused_planes_are_forgotten():
    arrangement = partition(shape("torus")).arrangement
    # 200 planes of faces, and one for each dividing node: not the sixty that are weighed at each.
    assert arrangement.plane_count < 800


def test_blocks_of_points_have_the_values_of_single_points():
    network = double("body_with_cavity")
    points = torch.randn(4099, 3, dtype=torch.float64)
    together = evaluate(network, points)
    assert together.shape == (4099,)
    torch.testing.assert_close(
        together[::512], torch.cat([evaluate(network, p[None]) for p in points[::512]])
    )
    assert evaluate(network, points[:0]).shape == (0,)


def test_the_wider_a_network_the_fewer_points_it_is_given_at_once():
    network = represent(from_mesh(trimesh.creation.icosphere(subdivisions=2)), torch.float32)
    width = max(layer.out_features for layer in network.layers)
    asked = []
    network.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    evaluate(network, torch.randn(2500, 3))
    assert sum(asked) == 2500
    assert max(asked) * width <= 1 << 18
    # A network of many thousand units a layer still gets enough points for its weights to be worth reading.
    wide = torch.nn.Linear(3, 1 << 15)
    wide.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    asked.clear()
    evaluate(wide, torch.randn(100, 3))
    assert asked == [16] * 6 + [4]
