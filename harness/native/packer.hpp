// From a layer's posterior to the buffer its kernel reads.
#pragma once

#include <memory>

#include "weight_source.hpp"

namespace sigmabench {

class Packer final : public WeightSource {
 public:
    // A store without sigma is not drawn: its mean is packed once.
    Packer(std::shared_ptr<const Store> store, std::uint32_t ordinal, const ConvKernel& kernel);

    bool sampled() const override { return store_->bits > 0; }
    const std::int8_t* fixed() const override { return fixed_.data(); }
    std::size_t bytes() const override { return layout_.bytes; }
    std::size_t scratch_bytes() const override { return scratch_bytes_; }
    WeightPath path() const override { return layout_.path; }
    bool fits(const ConvKernel& kernel) const override { return kernel.layout_key() == key_; }

    // Bytes read from memory in a pass: mean and packed sigma.
    std::size_t mean_bytes() const override {
        return sampled() ? store_->mean.size() : layout_.bytes;
    }
    std::size_t sigma_bytes() const override { return store_->sigma.size(); }
    // Written and read in a pass between the draws and the kernel, 0 where nothing is sampled.
    std::size_t sampled_bytes() const override;

    void sample(SamplerPath path, const AliasTables& tables, const KeySchedule& keys,
                std::uint32_t mc, std::int8_t* scratch, std::int8_t* out) const override;
    std::unique_ptr<Share> share(std::size_t part, std::size_t parts) const override;
    std::size_t index_bytes() const override;

    // For each byte of the kernel's buffer, trailing extras aside, the weight it holds in logical
    // order, or -1 for padding, which the kernel multiplies and which hence must be 0.
    std::vector<std::int32_t> weight_of_byte() const;
    // Weights in canonical order into a buffer; `scratch` may hold them.
    void pack(const std::int8_t* canonical, std::int8_t* scratch, std::int8_t* out) const;

 private:
    void finish(std::int8_t* scratch, std::int8_t* out) const;
    template <class Visit>
    void for_each_packed(Visit visit) const;

    std::shared_ptr<const Store> store_;
    WeightLayout layout_;
    std::string key_;
    std::size_t elements_;  // of the kernel's buffer, without its trailing extras
    Stream stream_;         // direct: into the kernel's buffer; else into canonical order
    // Of scratch: canonical order, then where a kernel's layout is made by reordering, the plain
    // tensor and the scratch of that.
    std::size_t canonical_bytes_ = 0, plain_bytes_ = 0, scratch_bytes_ = 0;
    AlignedBuffer<std::int8_t> fixed_;
};

}  // namespace sigmabench
