"""How fast Theorem 1's networks are built and evaluated, and how they grow with the number of faces.

    python benchmarks/universality.py [--threads 2] [--faces 125 250 500 1000 2000]

Prints, for a human body decimated to each number of faces: the seconds to check the mesh and to build the network,
its size, and the seconds for a million points by sparse layers and, as a ratio to that, by dense ``torch.nn.Linear``
layers; then the exponents of growth.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from nls.universality import evaluate, find_defect, represent, shape

MILLION = 1_000_000


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--faces", type=int, nargs="+", default=[125, 250, 500, 1000, 2000])
    parser.add_argument(
        "--points", type=int, default=200_000, help="evaluated; seconds are scaled to a million"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    print(
        "faces  check s  build s  neurons  layers  weights   sparse64 s/M  sparse32 s/M  dense64 x  dense32 x"
    )
    for faces in arguments.faces:
        surface = shape(f"body-{faces}")
        check = timed(lambda surface=surface: find_defect(surface))
        start = time.perf_counter()
        network = represent(surface)
        build = time.perf_counter() - start
        low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
        points = np.random.default_rng(0).uniform(low, high, (arguments.points, 3))
        seconds, ratios = [], []
        for dtype in (torch.float64, torch.float32):
            network = network.to(dtype)
            batch = torch.from_numpy(points).to(dtype)
            evaluate(network, batch[:5000])
            sparse = timed(lambda net=network, batch=batch: evaluate(net, batch)) / len(batch)
            dense, few = network.dense(), batch[:20_000]
            ratios.append(timed(lambda net=dense, few=few: evaluate(net, few)) / len(few) / sparse)
            seconds.append(sparse * MILLION)
        rows.append((faces, network.neurons, build))
        print(
            f"{faces:5d}  {check:7.2f}  {build:7.2f}  {network.neurons:7d}  {network.depth:6d}  {network.nonzeros:7d}"
            f"   {seconds[0]:12.1f}  {seconds[1]:12.1f}  {ratios[0]:9.1f}  {ratios[1]:9.1f}",
            flush=True,
        )
    faces, neurons, build = np.log(np.array(rows, dtype=float)).T
    print(f"neurons grow with faces to the power {np.polyfit(faces, neurons, 1)[0]:.2f}")
    print(f"build time grows with faces to the power {np.polyfit(faces, build, 1)[0]:.2f}")


if __name__ == "__main__":
    main()
