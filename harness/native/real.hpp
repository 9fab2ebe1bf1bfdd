// What a float pass does besides convolutions: bring the input into NHWC and its type, and pool.
#pragma once

#include "elementwise.hpp"

namespace sigmabench {

// Float32 NCHW to float32 or bfloat16 (rounded to nearest, ties to even) NHWC. Gives the largest
// `magnitude` of the rows.
std::int32_t convert_input(const float* x, Rows rows, const Image& image, Type type, void* out);

// NHWC to NHWC, float32 or bfloat16. Averages are sums in float32, divided once. `scratch` as in
// `pool`.
void pool_real(const void* x, Rows rows, const PoolSpec& spec, std::int32_t* scratch, void* out);

}  // namespace sigmabench
