#include "float_source.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace sigmabench {
namespace {

template <class Value>
void run(NormalPath path, const KeySchedule& keys, const NormalRun<Value>& run) {
    switch (path) {
#if defined(__x86_64__)
        case NormalPath::avx512:
            return draw_avx512(keys, run);
        case NormalPath::avx2:
            return draw_avx2(keys, run);
#endif
        default:
            return draw_portable(keys, run);
    }
}

}  // namespace

NormalPath normal_path(SamplerPath path, bool (*has)(NormalPath)) {
    const bool wide = path == SamplerPath::avx512_vbmi || path == SamplerPath::avx512;
    if (wide && has(NormalPath::avx512)) return NormalPath::avx512;
    if (path != SamplerPath::portable && has(NormalPath::avx2)) return NormalPath::avx2;
    return NormalPath::portable;
}

NormalPosterior::NormalPosterior(const Geometry& geometry, const float* mean, const float* std,
                                 Type type, std::uint32_t ordinal)
    : order_{geometry, type == Type::bf16},
      type_(type),
      ordinal_(ordinal),
      sampled_(std != nullptr) {
    const std::size_t bytes = static_cast<std::size_t>(order_.size()) * type_bytes(type);
    mean_ = AlignedBuffer<std::uint8_t>(bytes);
    if (sampled_) std_ = AlignedBuffer<std::uint8_t>(bytes);
    const auto put = [&](AlignedBuffer<std::uint8_t>& to, std::int64_t at, float value) {
        if (type == Type::bf16) {
            reinterpret_cast<std::uint16_t*>(to.data())[at] = bfloat16_bits(value);
        } else {
            reinterpret_cast<float*>(to.data())[at] = value;
        }
    };
    std::size_t k = 0;
    order_.for_each([&](std::int64_t number) {
        put(mean_, number, mean[k]);
        if (sampled_) put(std_, number, std[k]);
        ++k;
    });
}

template <class Value>
void NormalPosterior::draw(NormalPath path, const KeySchedule& keys, std::uint32_t mc,
                           std::uint32_t block, std::uint32_t count, Value* const (&out)[2],
                           const std::ptrdiff_t (&step)[2]) const {
    const std::size_t at = std::size_t{block} * kNormals;
    run<Value>(path, keys,
               {reinterpret_cast<const Value*>(mean_.data()) + at,
                reinterpret_cast<const Value*>(std_.data()) + at,
                block,
                count,
                mc,
                ordinal_,
                {out[0], out[1]},
                {step[0], step[1]}});
}

void NormalPosterior::draw(NormalPath path, const KeySchedule& keys, std::uint32_t mc,
                           void* out) const {
    const auto blocks = static_cast<std::uint32_t>(order_.blocks());
    const std::ptrdiff_t step[2] = {kNormals, kNormals};
    if (type_ == Type::bf16) {
        std::uint16_t* const to[2] = {static_cast<std::uint16_t*>(out), nullptr};
        draw(path, keys, mc, 0, blocks, to, step);
    } else {
        float* const to[2] = {static_cast<float*>(out), static_cast<float*>(out) + kNormals / 2};
        draw(path, keys, mc, 0, blocks, to, step);
    }
}

FloatSource::FloatSource(std::shared_ptr<const NormalPosterior> posterior, const ConvKernel& kernel)
    : posterior_(std::move(posterior)),
      width_(type_bytes(posterior_->type())),
      per_line_(kLine / width_),
      key_(kernel.layout_key()) {
    WeightLayout layout = kernel.layout();
    bytes_ = layout.bytes;
    if (find_lines(layout.packed)) {
        path_ = WeightPath::direct;
    } else {
        lines_.clear();
        blank_.clear();
        origin_ = std::move(layout.packed);
        for (std::int32_t& index : origin_) {
            if (index < 0) index = static_cast<std::int32_t>(posterior_->order().size());
        }
        scratch_bytes_ = posterior_->mean_bytes() + kLine;
    }
    if (sampled()) return;
    fixed_ = AlignedBuffer<std::int8_t>(bytes_);
    const auto* mean = reinterpret_cast<const std::int8_t*>(posterior_->mean());
    for_each_packed([&](std::size_t at, std::size_t number) {
        std::copy_n(mean + number * width_, width_, fixed_.data() + at * width_);
    });
}

// Whether every line of the kernel's buffer is a line of the posterior's order, padding aside.
bool FloatSource::find_lines(const Origin& origin) {
    const NormalOrder& order = posterior_->order();
    const auto n = static_cast<std::int64_t>(per_line_);
    if (origin.size() % per_line_ != 0 || bytes_ != origin.size() * width_) return false;
    std::vector<bool> real(static_cast<std::size_t>(order.size()), false);
    order.for_each([&](std::int64_t number) { real[static_cast<std::size_t>(number)] = true; });
    std::vector<std::int64_t> found(static_cast<std::size_t>(order.size() / n), -1);
    for (std::size_t at = 0; at < origin.size(); at += per_line_) {
        std::int64_t first = -1;
        for (std::int64_t k = 0; k < n && first < 0; ++k) {
            const std::int64_t number = origin[at + static_cast<std::size_t>(k)];
            if (number >= 0) first = number - k;
            if (number >= 0 && (first < 0 || first % n != 0)) return false;
        }
        if (first < 0) {
            blank_.push_back(static_cast<std::int64_t>(at) / n);
            continue;
        }
        for (std::int64_t k = 0; k < n; ++k) {
            const std::int64_t number = origin[at + static_cast<std::size_t>(k)];
            const bool blank = number < 0 && !real[static_cast<std::size_t>(first + k)];
            if (number != first + k && !blank) return false;
        }
        found[static_cast<std::size_t>(first / n)] = static_cast<std::int64_t>(at) / n;
    }
    const std::size_t halves = kNormals / per_line_;
    for (std::size_t block = 0; block < found.size() / halves; ++block) {
        add_block(static_cast<std::uint32_t>(block), found[block * halves],
                  halves == 2 ? found[block * halves + 1] : -1);
    }
    return true;
}

void FloatSource::add_block(std::uint32_t block, std::int64_t first, std::int64_t second) {
    const std::int64_t line[2] = {first, second};
    if (!lines_.empty()) {
        Lines& last = lines_.back();
        bool joins = true;
        std::int64_t step[2];
        for (int half = 0; half < 2; ++half) {
            step[half] = last.count > 1 ? last.step[half] : line[half] - last.line[half];
            const bool both = (last.line[half] < 0) == (line[half] < 0);
            joins = joins && both && line[half] == last.line[half] + step[half] * last.count;
        }
        if (joins) {
            std::copy(step, step + 2, last.step);
            ++last.count;
            return;
        }
    }
    lines_.push_back({block, 1, {first, second}, {0, 0}});
}

// visit(element of the kernel's buffer, number of the weight), padding of blocks included.
template <class Visit>
void FloatSource::for_each_packed(Visit visit) const {
    const std::size_t halves = kNormals / per_line_;
    for (const Lines& run : lines_) {
        for (std::size_t k = 0; k < run.count * halves; ++k) {
            const std::size_t block = k / halves, half = k % halves;
            if (run.line[half] < 0) continue;
            const auto line = static_cast<std::size_t>(
                run.line[half] + static_cast<std::int64_t>(block) * run.step[half]);
            for (std::size_t l = 0; l < per_line_; ++l) {
                visit(line * per_line_ + l, (run.block + block) * kNormals + half * per_line_ + l);
            }
        }
    }
    const auto end = static_cast<std::size_t>(posterior_->order().size());
    for (std::size_t at = 0; at < origin_.size(); ++at) {
        const auto number = static_cast<std::size_t>(origin_[at]);
        if (number < end) visit(at, number);
    }
}

std::size_t FloatSource::mean_bytes() const {
    return sampled() ? posterior_->mean_bytes() : bytes_;
}

std::size_t FloatSource::sampled_bytes() const {
    if (!sampled()) return 0;
    const std::size_t gathered = origin_.size() * (width_ + sizeof(Origin::value_type));
    return 2 * bytes_ + (path_ == WeightPath::direct ? 0 : posterior_->mean_bytes() + gathered);
}

std::size_t FloatSource::index_bytes() const {
    return fixed_.size() + lines_.capacity() * sizeof(Lines) +
           blank_.capacity() * sizeof(std::int64_t) + origin_.capacity() * sizeof(std::int32_t);
}

class LinesShare final : public Share {
 public:
    LinesShare(const FloatSource& source, std::size_t part, std::size_t parts)
        : source_(source), first_(part == 0) {
        std::size_t blocks = 0;
        for (const auto& lines : source.lines_) blocks += lines.count;
        begin_ = blocks * part / parts;
        end_ = blocks * (part + 1) / parts;
        const auto weights =
            static_cast<std::size_t>(source.posterior_->order().geometry.weights());
        count_ = weights * (part + 1) / parts - weights * part / parts;
    }
    std::uint64_t sample(SamplerPath path, const AliasTables&, const KeySchedule& keys,
                         std::uint32_t mc, std::int8_t* out) const override {
        if (source_.posterior_->type() == Type::bf16) {
            draw(normal_path(path), keys, mc, reinterpret_cast<std::uint16_t*>(out));
        } else {
            draw(normal_path(path), keys, mc, reinterpret_cast<float*>(out));
        }
        return count_;
    }

 private:
    template <class Value>
    void draw(NormalPath path, const KeySchedule& keys, std::uint32_t mc, Value* out) const {
        source_.draw_lines(path, keys, mc, begin_, end_, out);
        if (first_) source_.clear_blank(out);
    }

    const FloatSource& source_;
    bool first_;
    std::size_t begin_, end_, count_;
};

std::unique_ptr<Share> FloatSource::share(std::size_t part, std::size_t parts) const {
    if (!sampled() || path_ != WeightPath::direct) return nullptr;
    return std::make_unique<LinesShare>(*this, part, parts);
}

void FloatSource::sample(SamplerPath path, const AliasTables&, const KeySchedule& keys,
                         std::uint32_t mc, std::int8_t* scratch, std::int8_t* out) const {
    if (posterior_->type() == Type::bf16) {
        draw<std::uint16_t>(normal_path(path), keys, mc, scratch, out);
    } else {
        draw<float>(normal_path(path), keys, mc, scratch, out);
    }
}

template <class Value>
void FloatSource::draw_lines(NormalPath path, const KeySchedule& keys, std::uint32_t mc,
                             std::size_t begin, std::size_t end, Value* out) const {
    alignas(kLine) Value nowhere[kLine / sizeof(Value)];
    const auto width = static_cast<std::ptrdiff_t>(per_line_);
    std::size_t at = 0;
    for (const Lines& lines : lines_) {
        const std::size_t from = std::max(begin, at), to = std::min(end, at + lines.count);
        const auto skipped = static_cast<std::ptrdiff_t>(from - at);
        at += lines.count;
        if (from >= to) continue;
        Value* line[2];
        std::ptrdiff_t step[2];
        for (int half = 0; half < 2; ++half) {
            step[half] = lines.step[half] * width;
            line[half] = lines.line[half] < 0
                             ? nowhere
                             : out + lines.line[half] * width + skipped * step[half];
        }
        posterior_->draw<Value>(path, keys, mc, lines.block + static_cast<std::uint32_t>(skipped),
                                static_cast<std::uint32_t>(to - from), line, step);
    }
}

template <class Value>
void FloatSource::clear_blank(Value* out) const {
    const auto width = static_cast<std::ptrdiff_t>(per_line_);
    for (const std::int64_t blank : blank_) std::memset(out + blank * width, 0, kLine);
}

template <class Value>
void FloatSource::draw(NormalPath path, const KeySchedule& keys, std::uint32_t mc,
                       std::int8_t* scratch, std::int8_t* out) const {
    auto* to = reinterpret_cast<Value*>(out);
    if (path_ == WeightPath::direct) {
        draw_lines(path, keys, mc, 0, std::numeric_limits<std::size_t>::max(), to);
        clear_blank(to);
        return;
    }
    posterior_->draw(path, keys, mc, scratch);
    auto* drawn = reinterpret_cast<Value*>(scratch);
    drawn[posterior_->order().size()] = 0;
    for (std::size_t k = 0; k < origin_.size(); ++k) to[k] = drawn[origin_[k]];
}

std::vector<float> FloatSource::logical(const std::int8_t* buffer) const {
    const NormalOrder& order = posterior_->order();
    std::vector<float> numbered(static_cast<std::size_t>(order.size())), values;
    for_each_packed([&](std::size_t at, std::size_t number) {
        if (posterior_->type() == Type::bf16) {
            numbered[number] = from_bfloat16(reinterpret_cast<const std::uint16_t*>(buffer)[at]);
        } else {
            numbered[number] = reinterpret_cast<const float*>(buffer)[at];
        }
    });
    order.for_each(
        [&](std::int64_t number) { values.push_back(numbered[static_cast<std::size_t>(number)]); });
    return values;
}

}  // namespace sigmabench
