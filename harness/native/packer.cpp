#include "packer.hpp"

#include <cstring>

namespace sigmabench {
Packer::Packer(std::shared_ptr<const Store> store, std::uint32_t ordinal, const ConvKernel& kernel)
    : store_(std::move(store)),
      layout_(kernel.layout()),
      key_(kernel.layout_key()),
      elements_(layout_.packed.size()) {
    const std::size_t canonical = store_->mean.size();
    canonical_bytes_ = canonical + kLine;  // the spare line stays 0 and is what padding reads
    scratch_bytes_ = canonical_bytes_;
    const bool direct = layout_.path == WeightPath::direct;
    if (sampled()) {
        stream_ = make_stream(store_, ordinal,
                              direct ? layout_.origin : canonical_origin(store_->geometry));
    } else if (direct) {
        stream_.runs = make_runs(store_->geometry, layout_.origin);
    }
    if (direct) {
        layout_.origin = Origin();  // and its memory
        scratch_bytes_ = 0;
    } else {
        for (std::int32_t& index : layout_.origin) {
            if (index < 0) index = static_cast<std::int32_t>(canonical);
        }
    }
    if (layout_.path == WeightPath::reorder) {
        plain_bytes_ = round_up(layout_.origin.size(), kLine) + kLine;
        scratch_bytes_ += plain_bytes_ + layout_.reorder_scratch_bytes;
    } else {
        layout_.packed = Origin();
    }
    if (!sampled()) {
        AlignedBuffer<std::int8_t> scratch(scratch_bytes_);
        fixed_ = AlignedBuffer<std::int8_t>(layout_.bytes);
        pack(store_->mean.data(), scratch.data(), fixed_.data());
    }
}

void Packer::sample(SamplerPath path, const AliasTables& tables, const KeySchedule& keys,
                    std::uint32_t mc, std::int8_t* scratch, std::int8_t* out) const {
    if (layout_.path == WeightPath::direct) {
        sigmabench::sample(path, stream_, tables, keys, mc, out);
        return;
    }
    sigmabench::sample(path, stream_, tables, keys, mc, scratch);
    finish(scratch, out);
}

// From canonical order, at the beginning of scratch, to the kernel's.
void Packer::finish(std::int8_t* scratch, std::int8_t* out) const {
    const bool reorders = layout_.path == WeightPath::reorder;
    std::int8_t* plain = scratch + canonical_bytes_;
    std::int8_t* to = reorders ? plain : out;
    std::memset(plain - kLine, 0, kLine);
    const std::int32_t* from = layout_.origin.data();
    for (std::size_t at = 0; at < layout_.origin.size(); ++at) to[at] = scratch[from[at]];
    if (reorders) layout_.reorder(plain, out, plain + plain_bytes_);
}

// visit(byte of the kernel's buffer, canonical index) for every weight.
template <class Visit>
void Packer::for_each_packed(Visit visit) const {
    const bool direct = layout_.path == WeightPath::direct;
    for (const Run& run : direct ? stream_.runs : std::vector<Run>()) {
        for (std::size_t at = 0; at < std::size_t{run.count} * kLanes; ++at) {
            const std::size_t k = at / kLanes, lane = at % kLanes;
            if ((run.lanes >> lane & 1) == 0) continue;
            visit((run.chunk + k * run.stride) * kLanes + lane, (run.block + k) * kLanes + lane);
        }
    }
    const Origin& origin = layout_.path == WeightPath::reorder ? layout_.packed : layout_.origin;
    const auto end = static_cast<std::int32_t>(store_->mean.size());
    for (std::size_t at = 0; at < origin.size(); ++at) {
        if (origin[at] < 0 || origin[at] >= end) continue;
        visit(at, static_cast<std::size_t>(origin[at]));
    }
}

std::size_t Packer::sampled_bytes() const {
    if (!sampled()) return 0;
    const std::size_t kernel = 2 * layout_.bytes;
    if (layout_.path == WeightPath::direct) return kernel;
    const std::size_t gathered = layout_.origin.size() * (1 + sizeof layout_.origin[0]);
    const std::size_t plain = layout_.path == WeightPath::reorder ? 2 * layout_.origin.size() : 0;
    return stream_.chunks * kLanes + gathered + plain + kernel;
}

namespace {

class StreamShare final : public Share {
 public:
    explicit StreamShare(Stream stream) : stream_(std::move(stream)) {
        for (const Run& run : stream_.runs) {
            count_ += static_cast<std::uint64_t>(__builtin_popcountll(run.lanes)) * run.count;
        }
    }
    std::uint64_t sample(SamplerPath path, const AliasTables& tables, const KeySchedule& keys,
                         std::uint32_t mc, std::int8_t* out) const override {
        sigmabench::sample(path, stream_, tables, keys, mc, out);
        return count_;
    }

 private:
    Stream stream_;
    std::uint64_t count_ = 0;
};

}  // namespace

std::unique_ptr<Share> Packer::share(std::size_t part, std::size_t parts) const {
    if (!sampled() || layout_.path != WeightPath::direct) return nullptr;
    return std::make_unique<StreamShare>(sigmabench::share(stream_, part, parts));
}

std::size_t Packer::index_bytes() const {
    return fixed_.size() + stream_.runs.capacity() * sizeof(Run) +
           (layout_.origin.capacity() + layout_.packed.capacity()) * sizeof(std::int32_t);
}

std::vector<std::int32_t> Packer::weight_of_byte() const {
    const std::vector<std::int32_t> logical = logical_index(store_->geometry);
    std::vector<std::int32_t> weights(elements_, -1);
    for_each_packed(
        [&](std::size_t at, std::size_t canonical) { weights[at] = logical[canonical]; });
    return weights;
}

void Packer::pack(const std::int8_t* canonical, std::int8_t* scratch, std::int8_t* out) const {
    if (layout_.path == WeightPath::direct) {
        std::memset(out, 0, layout_.bytes);
        for_each_packed([&](std::size_t at, std::size_t from) { out[at] = canonical[from]; });
        return;
    }
    if (scratch != canonical) std::memcpy(scratch, canonical, store_->mean.size());
    finish(scratch, out);
}

}  // namespace sigmabench
