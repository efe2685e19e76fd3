"""A data set on a Ray cluster: `python with_ray.py MANIFEST RESULTS SHARDS [ADDRESS]`; two workers here without an address."""

import subprocess
import sys

import ray


# For one GPU a shard: `num_gpus=1`, and `--device cuda` below.
@ray.remote(num_cpus=1, max_retries=3, retry_exceptions=True)
def shard(index: int, count: int, manifest: str, results: str) -> str:
    command = ["splatport", "run", "--manifest", manifest, "--out", results, "--stride", "8", "--shard", f"{index}/{count}"]
    done = subprocess.run(command, capture_output=True, text=True)
    # 3 says that some photos failed, which the report has; Ray runs a shard again after any other error.
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr)
    return done.stdout


if __name__ == "__main__":
    manifest, results, count, *address = sys.argv[1:]
    ray.init(address=address[0]) if address else ray.init(num_cpus=2, include_dashboard=False)
    for told in ray.get([shard.remote(index, int(count), manifest, results) for index in range(int(count))]):
        print(told)
