"""How long a training step would take on many GPUs: closed forms of what it sends, with assumptions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .traffic import FLOAT, Collective, moved_share

# A float32 similarity is read or written so often: product, temperature, softmax, loss and their ways back.
PASSES = 12


@dataclass(frozen=True)
class Link:
    """Between two processes: seconds before the first byte arrives, and bytes per second after that."""

    latency: float
    bandwidth: float

    def seconds(self, found: Iterable[Collective], world: int) -> float:
        """Time of these collectives on a ring of ``world``, one after the other.

        >>> Link(1.0, 4.0).seconds([Collective("all_reduce", 8, 2)], 2)  # 2 · (1 + 8 / 4)
        6.0
        """
        return sum(
            calls * (self.latency + size * moved_share(kind, world) / self.bandwidth)
            for kind, size, calls in found
        )


def fit_link(samples: Sequence[tuple[float, float]]) -> Link:
    """Link that explains seconds by moved bytes, least squares of the relative errors.

    Args:
        samples: Moved bytes and seconds of two collectives or more, of different sizes.

    >>> link = fit_link([(0, 2.0), (10, 7.0), (20, 12.0)])
    >>> round(link.latency, 6), round(link.bandwidth, 6)
    (2.0, 2.0)
    """
    # Σ (a + b · x − 1)² with the sample's 1/t and bytes/t as coefficients of a and b: two normal equations.
    rows = [(1 / seconds, moved / seconds) for moved, seconds in samples]
    aa, ab, bb = (sum(r[i] * r[j] for r in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = (sum(r[i] for r in rows) for i in (0, 1))
    determinant = aa * bb - ab * ab
    per_byte = (aa * b - ab * a) / determinant
    return Link((bb * a - ab * b) / determinant, 1 / per_byte)


class Similarities(NamedTuple):
    """``count`` matrices of this process's ``rows`` and ``columns`` of every process; D is ``dim``."""

    count: int
    rows: int
    columns: int
    dim: int


@dataclass(frozen=True)
class Cluster:
    """Nodes of GPUs; the defaults are assumptions on H100-class nodes, no measurements.

    Args:
        gpus_per_node: GPUs that NVLink connects.
        node_bandwidth: Bytes per second that a GPU sends within its node (80 % of NVLink's 450 GB/s).
        network_bandwidth: Bytes per second that a GPU sends to other nodes (80 % of 400 Gb/s).
        launch: Seconds that any collective takes to start.
        node_hop: Seconds from GPU to GPU within a node, besides the bytes.
        network_hop: The same between nodes.
        backward: Share of a step that is its backward pass, behind which gradients travel.
        memory_bandwidth: Bytes per second of a GPU's memory, which bounds the work on similarities.
        flops: Float32 operations per second in matrix products.
    """

    gpus_per_node: int = 8
    node_bandwidth: float = 360e9
    network_bandwidth: float = 40e9
    launch: float = 10e-6
    node_hop: float = 3e-6
    network_hop: float = 5e-6
    backward: float = 2 / 3
    memory_bandwidth: float = 2.5e12
    flops: float = 40e12

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        for field, value in vars(self).items():
            if field == "backward":
                if not 0 <= value <= 1:
                    raise ValueError(f"backward must be from 0 to 1, got {value}")
            elif value < 0 or value == 0 and field not in ("launch", "node_hop", "network_hop"):
                raise ValueError(f"{field} must be above 0, got {value}")

    def shape(self, world: int) -> tuple[int, int]:
        """GPUs in a node, and nodes.

        Raises:
            ValueError: The GPUs do not fill their nodes.
        """
        inside = min(world, self.gpus_per_node)
        if world < 1 or world % inside:
            raise ValueError(
                f"{world} GPUs do not fill nodes of {self.gpus_per_node}: give a number below that or a "
                "multiple of it."
            )
        return inside, world // inside

    def seconds(self, collective: Collective, world: int) -> float:
        """Time of one call on ``world`` GPUs, the nodes first among themselves.

        An all-reduce is a reduce-scatter in each node, an all-reduce of every part across nodes (ring or
        tree, the faster one) and an all-gather in each node; an all-gather and a broadcast go across nodes
        and then into them. But for the ring, hops are logarithms of the numbers.
        """
        kind, size, _ = collective
        inside, nodes = self.shape(world)
        if world == 1:
            return 0.0
        local = size * moved_share(kind, inside) / self.node_bandwidth
        hops = math.ceil(math.log2(inside)) * self.node_hop
        far_hops = math.ceil(math.log2(nodes)) * self.network_hop
        # A GPU exchanges with its like in the other nodes: its part of the whole.
        part = size / inside
        if kind == "all_reduce":
            ring = part * moved_share(kind, nodes) / self.network_bandwidth
            ring += 2 * (nodes - 1) * self.network_hop
            tree = 2 * (part / self.network_bandwidth + far_hops) if nodes > 1 else 0.0
            return self.launch + local + 2 * hops + min(ring, tree)
        return (
            self.launch + local + hops + part * moved_share(kind, nodes) / self.network_bandwidth + far_hops
        )

    def total(self, found: Iterable[Collective], world: int) -> float:
        """Time of collectives one after the other."""
        return sum(c.calls * self.seconds(c, world) for c in found)

    def similarity_seconds(self, found: Similarities, processes: int) -> float:
        """Time of the columns of so many processes.

        Each matrix costs the larger of 6 · rows · columns · D operations (forward, and twice as many back)
        and 12 passes over its float32 entries in memory.

        >>> Cluster(flops=6.0, memory_bandwidth=1e9).similarity_seconds(Similarities(1, 2, 3, 4), 5)
        120.0
        """
        entries = found.rows * found.columns * processes
        in_products = 6 * entries * found.dim / self.flops
        return found.count * max(in_products, PASSES * FLOAT * entries / self.memory_bandwidth)


@dataclass(frozen=True)
class Projection:
    """Seconds of a step on ``world`` GPUs, each with the same batch as a GPU alone."""

    world: int
    alone: float
    similarities: float
    gradients: float
    gradients_exposed: float
    losses: float
    norms: float

    @property
    def exposed(self) -> float:
        """Communication for which the step waits."""
        return self.gradients_exposed + self.losses + self.norms

    @property
    def step(self) -> float:
        """The whole step."""
        return self.alone + self.similarities + self.exposed

    @property
    def efficiency(self) -> float:
        """Weak scaling: a GPU alone over the step."""
        return self.alone / self.step


def project(
    cluster: Cluster,
    world: int,
    *,
    alone: float,
    gradients: Sequence[Collective],
    losses: Sequence[Collective],
    norms: Sequence[Collective],
    similarities: Similarities,
) -> Projection:
    """Time of a step on ``world`` GPUs.

    Gradients travel behind the backward pass, except for the last bucket, which is ready when it is over;
    collectives of losses and batch norms stand in the way of what follows.

    Args:
        cluster: The machine.
        world: Number of GPUs.
        alone: Seconds of a step on one GPU.
        gradients: Buckets, in the order in which they are ready.
        losses: Collectives of the loss on ``world`` processes.
        norms: Those of synchronised batch norms.
        similarities: The matrices of the loss that grow with ``world``.
    """
    total = cluster.total(gradients, world)
    last = cluster.total(gradients[-1:], world)
    return Projection(
        world=world,
        alone=alone,
        similarities=cluster.similarity_seconds(similarities, world - 1),
        gradients=total,
        gradients_exposed=max(total - cluster.backward * alone, last),
        losses=cluster.total(losses, world),
        norms=cluster.total(norms, world),
    )
