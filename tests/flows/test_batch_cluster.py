"""Batches on a cluster: Dask and Ray, on a local one of several processes."""

import os
from pathlib import Path

import pytest

pytest.importorskip("prefect")

from batch_cases import make_batch, make_folder
from batch_work import WORK

from flows.batch.batch import carry_out
from flows.batch.executor import DONE, FAILED, KILLED, TIMEOUT, EpisodeTask, Limits, Settings
from flows.errors import FlowError, UsageError

HERE = Path(__file__).parent


def make(kind, monkeypatch, work="cluster_work:by_name", **options):
    """An executor whose workers do what a function of the tests says."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")
    if kind == "dask":
        pytest.importorskip("prefect_dask", reason="needs the extra `dask`")
        from flows.batch.dask_runner import DaskExecutor as Executor
    else:
        pytest.importorskip("prefect_ray", reason="needs the extra `ray`")
        from flows.batch.ray_runner import RayExecutor as Executor
    return Executor(work=work, **options)


def task(id, seconds=None):
    return EpisodeTask(id, "", None, "panda", "", "", Settings(), "key", Limits(seconds=seconds))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Prefect's embedded server, on files of this test alone."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_every_task_has_one_outcome_and_none_hurts_the_others(kind, server, monkeypatch):
    executor = make(kind, monkeypatch, workers=2, resources={"rack": 1})
    try:
        assert executor.slots == 4
        for id in ["a", "b", "die", "fail", "hang", "c"]:
            executor.submit(task(id, seconds=3 if id == "hang" else None))
        found, late = {}, ["d", "e", "f"]
        for outcome in executor.results():
            assert outcome.id not in found
            found[outcome.id] = outcome
            if late:  # more may come while results are read
                executor.submit(task(late.pop()))
        assert {id: o.status for id, o in found.items()} == dict.fromkeys("abcdef", DONE) | {
            "die": KILLED,
            "fail": FAILED,
            "hang": TIMEOUT,
        }
        assert found["die"].retry and not found["fail"].retry
        processes = {o.worker for o in found.values() if o.status == DONE}
        assert 2 <= len(processes) <= 5  # kept for many episodes; the two that died were replaced
        assert str(os.getpid()) not in processes
    finally:
        executor.close()
        executor.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_batch_on_a_cluster(kind, server, monkeypatch, tmp_path):
    """The whole loop: a lost process is tried again, a bad episode is not, and nothing is done twice."""
    folder, out = make_folder(tmp_path / "videos", "a", "b", "flaky", "bad"), tmp_path / "out"
    told = carry_out(make_batch(folder, out), lambda: make(kind, monkeypatch, WORK, workers=2))
    assert (told.done, told.failed, told.retried, told.left) == (3, 1, 1, 0)
    again = carry_out(make_batch(folder, out), lambda: pytest.fail("there is nothing to do"))
    assert (again.before, again.passed, again.done) == (3, 1, 0)


def test_a_cluster_that_loses_everything_is_given_up():
    """It must not use up the attempts at a whole data set."""
    from flows.batch.cluster import ClusterExecutor

    class Lost:
        task_run_id = 0

        def add_done_callback(self, tell):
            tell(self)

        def result(self, raise_on_failure):
            raise ConnectionError("gone")

    executor = ClusterExecutor.__new__(ClusterExecutor)
    executor._start(2, "")
    executor._send = lambda task: Lost()
    seen = 0
    with pytest.raises(FlowError, match="lost the last 10 episodes"):
        for n in range(20):
            executor.submit(task(f"e{n}"))
            [outcome] = executor.results()
            assert outcome.status == KILLED and outcome.retry
            seen += 1
    assert seen == 10


@pytest.mark.slow
def test_an_existing_dask_cluster_with_tagged_workers(server, monkeypatch):
    """Only the worker with the tag gets episodes; a tag that nobody has is told."""
    distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))
    spec = {
        name: {"cls": distributed.Nanny, "options": {"nthreads": 1, "resources": tags, "host": "127.0.0.1"}}
        for name, tags in {"plain": {}, "gpu": {"GPU": 1}}.items()
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "dashboard": False}}
    with distributed.SpecCluster(workers=spec, scheduler=scheduler) as cluster:
        with pytest.raises(FlowError, match="no worker with TPU=1"):
            make("dask", monkeypatch, address=cluster.scheduler_address, resources={"TPU": 1})
        executor = make("dask", monkeypatch, address=cluster.scheduler_address, resources={"GPU": 1})
        try:
            assert executor.slots == 2
            for n in range(6):
                executor.submit(task(f"e{n}"))
            outcomes = list(executor.results())
            assert len(outcomes) == 6 and len({o.worker for o in outcomes}) == 1
        finally:
            executor.close()


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch):
    pytest.importorskip("prefect_dask", reason="needs the extra `dask`")
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(FlowError, match="no Dask scheduler answers") as caught:
            make("dask", monkeypatch, address="tcp://127.0.0.1:9")
    assert "\n" not in str(caught.value)


def test_resources_are_amounts():
    from flows.batch.cluster import check_resources

    assert check_resources({"GPU": 0.5}) == {"GPU": 0.5} and check_resources(None) == {}
    with pytest.raises(UsageError, match="GPU"):
        check_resources({"GPU": 0.0})
