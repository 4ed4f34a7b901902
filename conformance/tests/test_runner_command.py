"""The runner on a Dask cluster, and the command on one, interrupted, or left by its framework."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from arrconv_conformance.adapters import Unavailable
from arrconv_conformance.runner import Runner, Target, _check_workers, dask_executor
from varied_adapter import CRASHES, LOSES, SMALL, Heard, cases, ends, new_run, one_by_one, processes, write

import arrconv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as found:
        yield found


def test_the_loss_of_a_dask_worker_does_not_show_in_the_record(tmp_path: Path, cluster: Any) -> None:
    path = write(tmp_path, LOSES)
    run, heard = new_run(), Heard()
    with dask_executor(cluster.scheduler_address) as executor:
        assert Runner(executor, heard).run({Target(path): run}, cases())
    assert ends(int((tmp_path / "lost").read_text()))  # the child of the worker that was killed
    assert (run, heard.checks) == one_by_one(path, cases())


def test_dask_workers_without_this_arrconv_are_refused() -> None:
    class Client:
        def get_versions(self, packages: list[str]) -> dict[str, Any]:
            return {"workers": {"tcp://far:7": {"packages": dict.fromkeys(packages, self.version)}}}

    client = Client()
    client.version = arrconv.__version__
    _check_workers(client)
    for version, words in (("0.0.9", "has arrconv 0.0.9"), (None, "has no arrconv")):
        client.version = version
        with pytest.raises(
            Unavailable, match=f"the Dask worker tcp://far:7 {words}, and here is {arrconv.__version__}"
        ):
            _check_workers(client)


def _hear_interrupts() -> None:
    """Tests may run in the background, where a shell lets processes ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def conform(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from arrconv.cli import main; main()", "conform", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, preexec_fn=_hear_interrupts
    )


def test_the_command_gives_the_same_report_with_dask(tmp_path: Path, cluster: Any) -> None:
    path, found = write(tmp_path, "\nconv = arrconv.conv\ndel conv_backward\n"), []
    for where in (["--dask", cluster.scheduler_address], ["--jobs", "2"]):
        done = conform(path, "--cases", "3", "--json", str(tmp_path / "found.json"), *where)
        assert done.stderr == ""
        found.append((done.returncode, done.stdout, json.loads((tmp_path / "found.json").read_text())))
    assert found[0] == found[1]
    assert found[0][0] == 0
    assert found[0][2]["frameworks"][0]["checks"] > 10


def test_an_address_without_a_scheduler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "300ms")
    done = conform(write(tmp_path), "--cases", "1", "--dask", "tcp://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("conform: ")
    assert len(done.stdout.splitlines()) == 1


def test_an_interrupted_command_reports_what_was_done(tmp_path: Path) -> None:
    text = """
calls = 0
before = conv

def conv(x, w, bias, **options):
    global calls
    calls += 1
    if calls == 40:
        while not (folder / "checks.jsonl").stat().st_size:  # until there is something to report
            pass
        os.kill(os.getppid(), signal.SIGINT)
        ctypes.PyDLL(None).pause()
    return before(x, w, bias, **options)
"""
    path = write(tmp_path, text)
    done = conform(path, "--cases", "20", "--jobs", "1", "--limit", "300", "--jsonl", str(tmp_path / "checks.jsonl"))
    assert (done.returncode, done.stderr) == (130, "")
    assert done.stdout.startswith("interrupted; this is what was done until then:\n")
    [count] = re.findall(r"(?m)^(\d+) checks until the run was broken off: deviations without .*: mine$", done.stdout)
    lines = [json.loads(line) for line in (tmp_path / "checks.jsonl").read_text().splitlines()]
    assert int(count) == sum(line["outcome"] != "unsupported" for line in lines) > 0
    assert all(ends(process) for process in processes(tmp_path))


def test_a_command_whose_framework_is_lost_reports_what_was_done(tmp_path: Path) -> None:
    text = "\nif (folder / 'crashed').exists():\n    raise OSError('the device is gone')\n"
    path = write(tmp_path, text, crashes=f"first('crashed'); {CRASHES}", hangs="pass")
    done = conform(path, "--case", SMALL.removesuffix(" data=integers"), "--jobs", "1")
    assert (done.returncode, done.stderr) == (2, "")
    assert "OSError: the device is gone); this is what was done until then:" in done.stdout
    assert f"arrconv conform {path} --case '{SMALL.replace(' data', ' dtype=uint8 data')}'" in done.stdout
    assert done.stdout.rstrip().endswith("checks until the run was broken off: deviations without an explanation: mine")
