"""An instance that computes nothing: it says where it runs, and what it is told to say."""

import json
import os
import sys

for line in sys.stdin:
    asked = json.loads(line)
    if "load" in asked:
        job = asked["load"]
        if job["seed"] == 13 and job["threads"] == 1:
            print("no memory", file=sys.stderr)
            sys.exit(9)
        told = {"isa": "fake", "cores": sorted(os.sched_getaffinity(0))}
        if job["seed"] == 14:
            told["cores"] = [99]
    else:
        begin, end = asked["window"]
        told = {"queries": (end - begin) / 1e7, "latency_ns": [10_000_000] * 4 + [30_000_000]}
    print(json.dumps(told), flush=True)
