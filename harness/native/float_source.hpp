// Normal weights straight into the layout a float kernel reads.
//
// A posterior lies in the order of its draws, which depends on the tensor's shape alone: 32 weights
// a block, 16 output channels by two input channels, or 32 output channels where a group has one
// input. That is what float kernels' layouts are made of: a block fills two cache lines in float32,
// one in bfloat16. So all layouts share one copy of mean and std, and the draws depend on none.
#pragma once

#include <memory>
#include <vector>

#include "normal.hpp"
#include "weight_source.hpp"

namespace sigmabench {

// The path of the normals that goes with a sampler's: the widest that is no wider. The sampler's
// avx512 needs no VAES, which the normals' does.
NormalPath normal_path(SamplerPath path, bool (*has)(NormalPath) = supported);

// Mean and std of one tensor, float32 or bfloat16, padded with zeros to whole blocks.
class NormalPosterior {
 public:
    // mean and std in logical order (O, I, KH, KW); std null: not sampled. `ordinal` is the
    // tensor's, counter word 2.
    NormalPosterior(const Geometry& geometry, const float* mean, const float* std, Type type,
                    std::uint32_t ordinal);

    const NormalOrder& order() const { return order_; }
    Type type() const { return type_; }
    bool sampled() const { return sampled_; }
    std::size_t mean_bytes() const { return mean_.size(); }
    std::size_t std_bytes() const { return std_.size(); }
    const std::uint8_t* mean() const { return mean_.data(); }

    // `count` blocks from `block` on; their halves (float32), or they (bfloat16, out[0] alone), go
    // to out, the next block's `step` values further.
    template <class Value>
    void draw(NormalPath path, const KeySchedule& keys, std::uint32_t mc, std::uint32_t block,
              std::uint32_t count, Value* const (&out)[2], const std::ptrdiff_t (&step)[2]) const;
    // All of it, in its own order.
    void draw(NormalPath path, const KeySchedule& keys, std::uint32_t mc, void* out) const;

 private:
    NormalOrder order_;
    Type type_;
    std::uint32_t ordinal_;
    bool sampled_;
    AlignedBuffer<std::uint8_t> mean_, std_;
};

class FloatSource final : public WeightSource {
 public:
    FloatSource(std::shared_ptr<const NormalPosterior> posterior, const ConvKernel& kernel);

    bool sampled() const override { return posterior_->sampled(); }
    const std::int8_t* fixed() const override { return fixed_.data(); }
    std::size_t bytes() const override { return bytes_; }
    std::size_t scratch_bytes() const override { return scratch_bytes_; }
    WeightPath path() const override { return path_; }
    std::size_t mean_bytes() const override;
    std::size_t sigma_bytes() const override { return posterior_->std_bytes(); }
    std::size_t sampled_bytes() const override;
    void sample(SamplerPath path, const AliasTables& tables, const KeySchedule& keys,
                std::uint32_t mc, std::int8_t* scratch, std::int8_t* out) const override;

    bool fits(const ConvKernel& kernel) const override { return kernel.layout_key() == key_; }
    std::size_t index_bytes() const override;
    std::unique_ptr<Share> share(std::size_t part, std::size_t parts) const override;
    // A kernel's buffer as float32 in logical order (O, I, KH, KW).
    std::vector<float> logical(const std::int8_t* buffer) const;

 private:
    // Consecutive blocks whose lines lie at a constant distance. A line the layout has not: -1.
    struct Lines {
        std::uint32_t block, count;
        std::int64_t line[2], step[2];
    };

    friend class LinesShare;
    bool find_lines(const Origin& origin);
    void add_block(std::uint32_t block, std::int64_t first, std::int64_t second);
    template <class Value>
    void draw(NormalPath path, const KeySchedule& keys, std::uint32_t mc, std::int8_t* scratch,
              std::int8_t* out) const;
    // Blocks [begin, end) of `lines_`.
    template <class Value>
    void draw_lines(NormalPath path, const KeySchedule& keys, std::uint32_t mc, std::size_t begin,
                    std::size_t end, Value* out) const;
    template <class Value>
    void clear_blank(Value* out) const;  // the lines that hold padding alone
    template <class Visit>
    void for_each_packed(Visit visit) const;

    std::shared_ptr<const NormalPosterior> posterior_;
    std::size_t width_, per_line_, bytes_, scratch_bytes_ = 0;
    WeightPath path_ = WeightPath::gather;
    std::string key_;
    std::vector<Lines> lines_;         // path == direct
    std::vector<std::int64_t> blank_;  // lines that hold padding alone
    Origin origin_;                    // path == gather; padding names the zeros behind the draws
    AlignedBuffer<std::int8_t> fixed_;
};

}  // namespace sigmabench
