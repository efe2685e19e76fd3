"""Runs the pods of an indexed Kubernetes job as processes: `python pods.py JOB.yaml MANIFEST RESULTS`."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

job = yaml.safe_load(Path(sys.argv[1]).read_text())
spec = job["spec"]
assert spec["completionMode"] == "Indexed"
container = spec["template"]["spec"]["containers"][0]
variables = {variable["name"]: variable["value"] for variable in container["env"]}
# What Kubernetes does not tell a pod, and the manifest must.
assert variables["JOB_COMPLETIONS"] == str(spec["completions"])
# What the program's exit codes mean to a job: stopped is not failed, and what failed for good is not tried again.
rules = [rule for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
assert all(rule["onExitCodes"]["containerName"] == container["name"] for rule in rules)
actions = {code: rule["action"] for rule in rules for code in rule["onExitCodes"]["values"]}
assert actions == {2: "FailJob", 3: "FailIndex", 4: "Ignore"}, actions
places = {"/data/manifest.jsonl": sys.argv[2], "/data/results": sys.argv[3]}
command = [places.get(word, word) for word in container["command"]]
pods = []
for index in range(spec["completions"]):
    environment = os.environ | variables | {"JOB_COMPLETION_INDEX": str(index)}
    pods.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
codes = [pod.wait() for pod in pods]
assert codes == [0] * len(codes), codes
