#!/usr/bin/env bash
# The runs on colorectal histology, in order; each goes on where it was stopped. SIGMABENCH_DATA
# names the data root.
set -euo pipefail
workload=histology-colorectal
report=results/report/$workload
formats=FP32,INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1,DNN_FP32,DNN_INT8

# Test data, scored once.
for split in test held-out-slides; do
  sigmabench run $workload --formats $formats --split $split --mc 50
done
sigmabench report $workload --out $report
sigmabench selective $workload --out $report # its sheets of tiles are not committed
