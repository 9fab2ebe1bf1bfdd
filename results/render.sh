#!/usr/bin/env bash
# Everything that is made of records, from the records alone: tables and figures of results/report,
# what became of verdicts (results/JUDGED-AGAIN.md) and the pages (results/*/README.md). Nothing is
# measured. Of each figure the SVG is committed; .gitignore names what is not.
set -euo pipefail
report() {
  sigmabench report "$@" --out "results/report/$1" > /dev/null
}

for workload in lenet5-mnist resnet20-cifar10 resnet50-imagenet histology-colorectal; do
  report $workload
done
for study in shift ablation weights; do
  report resnet20-cifar10 --study $study
done
report resnet50-imagenet --study shift
report histology-colorectal --study selective
python -m results.again
python results/pages
