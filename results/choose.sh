#!/usr/bin/env bash
# The runs that the defaults of post-training quantization were chosen by: LeNet-5/MNIST, validation
# split. Read them with `sigmabench report lenet5-mnist --results
# results/choices`.
set -euo pipefail
run() {
  sigmabench run lenet5-mnist --split validation --results results/choices --mc 50 --batch 32 \
    --seconds 0.2 --formats INT8,INT8_SIGMA4,INT8_SIGMA2,INT8_SIGMA1 "$@" > /dev/null
}
for range in headroom paper; do
  for granularity in channel tensor; do
    for offset in float integer; do
      run --range "$range" --granularity "$granularity" --sigma-offset "$offset"
    done
  done
done
for observer in minmax percentile mse; do
  for calibrate in mean sampled; do
    run --observer "$observer" --calibrate "$calibrate"
  done
done
