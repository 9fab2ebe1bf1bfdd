#include "packer.hpp"

namespace sigmabench {
namespace {

std::uint64_t hash(const Origin& origin) {  // FNV-1a
    std::uint64_t value = 0xCBF29CE484222325ull;
    for (const std::int32_t index : origin) {
        value = (value ^ static_cast<std::uint32_t>(index)) * 0x100000001B3ull;
    }
    return value;
}

}  // namespace

Packer::Packer(const Posterior& posterior, bool sampled, std::uint32_t ordinal,
               WeightLayout layout)
    : geometry_(posterior.geometry),
      sampled_(sampled),
      layout_(std::move(layout)),
      signature_(hash(layout_.packed)),
      elements_(layout_.packed.size()) {
    const auto canonical = static_cast<std::size_t>(geometry_.blocks() * kLanes);
    canonical_bytes_ = canonical + kLine;  // the spare line stays 0 and is what padding reads
    scratch_bytes_ = canonical_bytes_;
    if (layout_.path == WeightPath::direct) runs_ = make_runs(geometry_, layout_.origin);
    if (sampled_) {
        stream_ = make_stream(posterior, ordinal,
                              layout_.path == WeightPath::direct ? layout_.origin
                                                                 : canonical_origin(geometry_));
    }
    if (layout_.path == WeightPath::direct) {
        layout_.origin = {};
    } else {
        for (std::int32_t& index : layout_.origin) {
            if (index < 0) index = static_cast<std::int32_t>(canonical);
        }
    }
    if (layout_.path == WeightPath::reorder) {
        plain_bytes_ = round_up(layout_.origin.size(), kLine) + kLine;
        scratch_bytes_ += plain_bytes_ + layout_.reorder_scratch_bytes;
    } else {
        layout_.packed = {};
    }
    if (!sampled_) {
        AlignedBuffer<std::int8_t> scratch(scratch_bytes_);
        fixed_ = AlignedBuffer<std::int8_t>(layout_.bytes);
        pack(posterior.mean.data(), scratch.data(), fixed_.data());
    }
}

bool Packer::fits(const WeightLayout& layout) const {
    return layout.path == layout_.path && layout.bytes == layout_.bytes &&
           hash(layout.packed) == signature_;
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
    for (const Run& run : runs_) {
        for (std::size_t at = 0; at < std::size_t{run.count} * kLanes; ++at) {
            const std::size_t k = at / kLanes, lane = at % kLanes;
            if ((run.lanes >> lane & 1) == 0) continue;
            visit((run.chunk + k * run.stride) * kLanes + lane, (run.block + k) * kLanes + lane);
        }
    }
    const Origin& origin =
        layout_.path == WeightPath::reorder ? layout_.packed : layout_.origin;
    const auto end = static_cast<std::int32_t>(geometry_.blocks() * kLanes);
    for (std::size_t at = 0; at < origin.size(); ++at) {
        if (origin[at] < 0 || origin[at] >= end) continue;
        visit(at, static_cast<std::size_t>(origin[at]));
    }
}

std::size_t Packer::sampled_bytes() const {
    if (!sampled_) return 0;
    const std::size_t kernel = 2 * layout_.bytes;
    if (layout_.path == WeightPath::direct) return kernel;
    const std::size_t gathered = layout_.origin.size() * (1 + sizeof layout_.origin[0]);
    const std::size_t plain = layout_.path == WeightPath::reorder ? 2 * layout_.origin.size() : 0;
    return stream_.chunks * kLanes + gathered + plain + kernel;
}

std::vector<std::int32_t> Packer::weight_of_byte() const {
    const std::vector<std::int32_t> logical = logical_index(geometry_);
    std::vector<std::int32_t> weights(elements_, -1);
    for_each_packed([&](std::size_t at, std::size_t canonical) {
        weights[at] = logical[canonical];
    });
    return weights;
}

void Packer::pack(const std::int8_t* weights, std::int8_t* scratch, std::int8_t* out) const {
    const std::vector<std::int32_t> logical = logical_index(geometry_);
    if (layout_.path == WeightPath::direct) {
        std::memset(out, 0, layout_.bytes);
        for_each_packed([&](std::size_t at, std::size_t canonical) {
            out[at] = weights[logical[canonical]];
        });
        return;
    }
    for (std::size_t at = 0; at < logical.size(); ++at) {
        scratch[at] = logical[at] < 0 ? std::int8_t{0} : weights[logical[at]];
    }
    finish(scratch, out);
}

}  // namespace sigmabench
