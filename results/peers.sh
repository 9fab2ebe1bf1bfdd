#!/usr/bin/env bash
# The comparisons with other implementations, on a machine that does nothing else; docs/peers.md says
# how their environments are built. SIGMABENCH_DATA names the data root.
set -euo pipefail
for workload in lenet5-mnist resnet20-cifar10; do
  sigmabench peers $workload
done
# 64 images, T = 10: passes of the slowest take 3.4 s.
sigmabench peers resnet50-imagenet --limit 64 --mc 10
