"""Batches on a Ray cluster, through prefect-ray: an existing one by its address, or one made here."""

from __future__ import annotations

import os
from typing import Any

from prefect.futures import PrefectFuture

from flows.batch.cluster import ClusterExecutor, check_resources
from flows.batch.executor import EpisodeTask, Outcome
from flows.batch.local import cores
from flows.batch.supervise import WORK
from flows.errors import FlowError

GPU = "GPU"  # Ray schedules these itself and tells the worker which; other names are tags that nodes are started with


class RayExecutor(ClusterExecutor):
    """Episodes as Prefect tasks on Ray workers."""

    def __init__(
        self,
        address: str | None = None,
        workers: int = 1,
        threads: int | None = None,
        resources: dict[str, float] | None = None,
        work: str = WORK,
    ) -> None:
        """
        Args:
            address: "ray://HOST:10001" or "HOST:6379"; None = a cluster on this machine.
            workers: episodes at a time on the cluster made here.
            threads: cores of an episode, for Ray's book-keeping and for its libraries; None = as for `DaskExecutor`.
            resources: what an episode needs: GPU=1, or a tag that nodes have: `ray start --resources '{"tag": 1}'`.
            work: see `flows.batch.local.LocalExecutor`.

        Raises:
            FlowError: prefect-ray is not installed, the cluster does not answer, or nothing in it has the resources.
            UsageError: an amount that is not positive.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports its use to its makers
        if address is None:  # else a cluster made here listens on all addresses of the machine, not only on loopback
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        try:
            import ray
            from prefect_ray import RayTaskRunner
        except ImportError:
            raise FlowError('--runner ray needs prefect-ray: pip install "urdfit[ray]"') from None
        threads = threads or (1 if address else max(1, cores() // workers))
        wanted = check_resources(resources)
        # a lost episode comes back as KILLED, and the batch decides about another attempt
        self._options: dict[str, Any] = {"num_cpus": threads, "max_retries": 0}
        tags = {name: amount for name, amount in wanted.items() if name != GPU}
        if GPU in wanted:
            self._options["num_gpus"] = wanted[GPU]
        if tags:
            self._options["resources"] = tags
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            options |= {"num_cpus": workers * threads, "include_dashboard": False}
            options["resources"] = {name: amount * workers for name, amount in tags.items()}
        try:
            super().__init__(RayTaskRunner(address=address, init_kwargs=options), threads, work)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FlowError(f"--address {address}: no Ray cluster answers there ({error})") from None
        has = ray.cluster_resources()
        capacity = int(min(has.get(name, 0) // amount for name, amount in ({"CPU": threads} | wanted).items()))
        if not capacity:
            self.close()
            needs = ", ".join(f"{name}={amount:g}" for name, amount in ({"CPU": threads} | wanted).items())
            raise FlowError(f"the Ray cluster has no {needs}; start nodes that do")
        self.slots = 2 * capacity

    def _send(self, task: EpisodeTask) -> PrefectFuture[Outcome]:
        from prefect_ray.context import remote_options

        with remote_options(**self._options):
            return super()._send(task)
