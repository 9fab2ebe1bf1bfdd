#!/usr/bin/env bash
# The runs on ResNet-20/CIFAR-10, in order; each goes on where it was stopped. SIGMABENCH_DATA names the data root; $1 is a folder of sets from outside the
# distribution: `photographs`, a folder of pictures, and `histology.npz`.
set -euo pipefail
outside=${1:?name the folder that holds photographs and histology.npz}
workload=resnet20-cifar10
report=results/report/$workload
sets="svhn,cifar100,mnist,$outside/photographs,$outside/histology.npz"

# Validation data: every choice of quantization alone.
sigmabench ablation $workload --out $report
sigmabench weights $workload --range headroom,paper --out $report

# Test data, scored once.
sigmabench run $workload \
  --formats FP32,INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1,DNN_FP32,DNN_INT8
sigmabench report $workload --out $report
sigmabench shift $workload --ood "$sets"
sigmabench shift $workload --ood "$sets" --range paper --formats INT8,INT8_SIGMA1
sigmabench shift $workload --ood "$sets" --range headroom,paper --policy never --out $report
