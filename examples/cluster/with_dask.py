"""A data set on a Dask cluster: `python with_dask.py MANIFEST RESULTS SHARDS [SCHEDULER]`; two workers here without a scheduler."""

import subprocess
import sys

from dask.distributed import Client, as_completed


def shard(index: int, count: int, manifest: str, results: str) -> str:
    command = ["splatport", "run", "--manifest", manifest, "--out", results, "--stride", "8", "--shard", f"{index}/{count}"]
    done = subprocess.run(command, capture_output=True, text=True)
    # 3 says that some photos failed, which the report has; Dask runs a shard again after any other error.
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr)
    return done.stdout


if __name__ == "__main__":
    manifest, results, count, *scheduler = sys.argv[1:]
    client = Client(*scheduler) if scheduler else Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    tasks = [client.submit(shard, index, int(count), manifest, results, retries=3, pure=False) for index in range(int(count))]
    for task in as_completed(tasks):
        print(task.result())
