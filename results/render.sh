#!/usr/bin/env bash
# Everything that is rendered from records, from the records alone: tables, figures and pages of
# results/report, and what became of verdicts (results/JUDGED-AGAIN.md). Nothing is measured. Profiles,
# which compute anew, are not rendered here, and sheets of histology's tiles are not committed. SIGMABENCH_DATA names the data root; $1 is the folder of sets from outside that
# results/resnet20-cifar10.sh takes: records name their sets by content.
set -euo pipefail
outside=${1:?name the folder that holds photographs and histology.npz}
report=results/report
formats=FP32,INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1,DNN_FP32,DNN_INT8

for workload in lenet5-mnist resnet20-cifar10 resnet50-imagenet histology-colorectal; do
  sigmabench report $workload --out $report/$workload > /dev/null
done
sigmabench shift resnet20-cifar10 --ood "svhn,cifar100,mnist,$outside/photographs,$outside/histology.npz" \
  --range headroom,paper --policy never --out $report/resnet20-cifar10 > /dev/null
sigmabench ablation resnet20-cifar10 --threads 2 --policy never --out $report/resnet20-cifar10 > /dev/null
sigmabench weights resnet20-cifar10 --policy never --out $report/resnet20-cifar10 > /dev/null
sigmabench shift resnet50-imagenet --profile quick --limit 100 --mc 10 --formats $formats \
  --policy never --out $report/resnet50-imagenet > /dev/null
sigmabench selective histology-colorectal --policy never --out $report/histology-colorectal > /dev/null
python -m results.again
