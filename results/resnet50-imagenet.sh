#!/usr/bin/env bash
# The runs on ResNet-50/ImageNet, in order; each goes on where it was stopped. SIGMABENCH_DATA names
# the data root.
set -euo pipefail
workload=resnet50-imagenet
report=results/report/$workload
formats=FP32,INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1,DNN_FP32,DNN_INT8

# δ, on training images that calibrate too: the validation images there are.
for delta in 0.03 0.05 0.07 0.1; do
  sigmabench run $workload --delta $delta --split validation --limit 256 --mc 10 --seeds 1 \
    --batch 1 --seconds 0.1 --formats FP32,INT8,INT8_SIGMA1,DNN_FP32 --results results/choices
done

# Test data, scored once; speed at batch 32 from one pass.
sigmabench run $workload --formats $formats --mc 50 --batch 1
sigmabench run $workload --formats $formats --mc 1 --batch 32
sigmabench report $workload --out $report

# Corruptions of 4 types at 5 severities, on 100 of the photographs: under an hour.
sigmabench shift $workload --profile quick --limit 100 --mc 10 --formats $formats --out $report
