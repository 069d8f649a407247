"""Batches on a Dask cluster, through prefect-dask: an existing one by its scheduler's address, or one made here."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

from prefect.futures import PrefectFuture

from flows.batch.cluster import ClusterExecutor, check_resources
from flows.batch.executor import EpisodeTask, Outcome
from flows.batch.local import cores
from flows.batch.supervise import WORK
from flows.errors import FlowError


class DaskExecutor(ClusterExecutor):
    """Episodes as Prefect tasks on Dask workers."""

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
            address: of the scheduler, as in "tcp://10.0.0.5:8786"; None = a cluster of processes on this machine.
            workers: processes of the cluster made here.
            threads: for the libraries of each episode's process; None = 1, or this machine's cores shared out.
            resources: what an episode needs of a worker, as workers state it: `dask worker ... --resources GPU=1`.
            work: see `flows.batch.local.LocalExecutor`.

        Raises:
            FlowError: prefect-dask is not installed, the scheduler does not answer, or no worker has the resources.
            UsageError: an amount that is not positive.
        """
        try:
            from prefect_dask import DaskTaskRunner
        except ImportError:
            raise FlowError('--runner dask needs prefect-dask: pip install "urdfit[dask]"') from None
        self._resources = check_resources(resources)
        threads = threads or (1 if address else max(1, cores() // workers))
        options: dict[str, Any] = {"address": address}
        if address is None:
            options = {
                "cluster_kwargs": {
                    "n_workers": workers,
                    "threads_per_worker": 1,
                    "host": "127.0.0.1",
                    "dashboard_address": None,
                    "resources": self._resources or None,
                }
            }
        super().__init__(DaskTaskRunner(**options), threads, work)
        logging.getLogger("distributed").setLevel(logging.WARNING)
        try:
            capacity = self._capacity()
        except Exception as error:
            self.close()
            raise FlowError(f"--address {address}: no Dask scheduler answers there ({error})") from None
        if not capacity:
            self.close()
            needs = ", ".join(f"{name}={amount:g}" for name, amount in self._resources.items())
            raise FlowError(f"the Dask cluster has no worker{f' with {needs}' if needs else ''}; start some first")
        self.slots = 2 * capacity

    def _capacity(self) -> int:
        """How many episodes the workers can do at once."""
        client: Any = self._runner.client  # type: ignore[attr-defined]
        total = 0
        for worker in client.scheduler_info(n_workers=-1)["workers"].values():
            has = worker["resources"]
            fits = [has.get(name, 0) // amount for name, amount in self._resources.items()]
            total += int(min([worker["nthreads"], *fits]))
        return total

    def _send(self, task: EpisodeTask) -> PrefectFuture[Outcome]:
        import dask

        with dask.annotate(resources=self._resources) if self._resources else nullcontext():
            return super()._send(task)
