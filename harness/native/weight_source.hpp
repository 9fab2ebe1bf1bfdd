// Where a layer's weights come from in every pass: a kernel's buffer is filled, or stays as it is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conv.hpp"

namespace sigmabench {

// What one of several threads draws of a tensor.
class Share {
 public:
    virtual ~Share() = default;
    // Returns how many weights it drew.
    virtual std::uint64_t sample(SamplerPath path, const AliasTables& tables,
                                 const KeySchedule& keys, std::uint32_t mc,
                                 std::int8_t* out) const = 0;
};

class WeightSource {
 public:
    virtual ~WeightSource() = default;
    // Whether the weights are drawn in every pass; if not, fixed() is what the kernel reads.
    virtual bool sampled() const = 0;
    virtual const std::int8_t* fixed() const = 0;
    virtual std::size_t bytes() const = 0;          // of the kernel's buffer
    virtual std::size_t scratch_bytes() const = 0;  // of the thread that draws
    virtual WeightPath path() const = 0;
    // Whether it fills this kernel's buffer.
    virtual bool fits(const ConvKernel& kernel) const = 0;
    // Memory of this layout, the posterior aside: a packed mean, or what draws are placed by.
    virtual std::size_t index_bytes() const = 0;

    // Bytes read from memory in a pass, and written and read between the draws and the kernel.
    virtual std::size_t mean_bytes() const = 0;
    virtual std::size_t sigma_bytes() const = 0;
    virtual std::size_t sampled_bytes() const = 0;

    // Both buffers begin on a cache line.
    virtual void sample(SamplerPath path, const AliasTables& tables, const KeySchedule& keys,
                        std::uint32_t mc, std::int8_t* scratch, std::int8_t* out) const = 0;
    // One of `parts` shares that together draw what `sample` does; null where it is not divided.
    virtual std::unique_ptr<Share> share(std::size_t part, std::size_t parts) const = 0;
};

}  // namespace sigmabench
