#include "sampler.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace sigmabench {
namespace {

std::vector<ChannelConstants> make_constants(const Posterior& posterior) {
    const Geometry& g = posterior.geometry;
    std::vector<ChannelConstants> all(static_cast<std::size_t>(g.groups()));
    for (std::size_t group = 0; group < all.size(); ++group) {
        ChannelConstants& c = all[group];
        std::memset(&c, 0, sizeof c);
        for (int lane = 0; lane < kLanes; ++lane) {
            const std::int64_t o = static_cast<std::int64_t>(group) * g.group_channels() +
                                   (g.inputs > 1 ? lane / 4 : lane);
            if (o >= g.outputs) continue;
            const auto at = static_cast<std::size_t>(o);
            const int half = ChannelConstants::half(lane), place = ChannelConstants::place(lane);
            c.multiplier[half][place] = posterior.multiplier[at];
            c.offset[half][place] = posterior.offset[at];
            c.widen[half][place] = static_cast<std::int16_t>(1 << posterior.shift[at]);
        }
    }
    return all;
}

void store_sigma(std::uint8_t* block, int lane, int bits, std::uint8_t value) {
    for (int bit = 0; bit < bits; ++bit) {
        const int at = lane * bits + bit;
        if ((value >> bit & 1) != 0) block[at / 8] |= static_cast<std::uint8_t>(1 << at % 8);
    }
}

void fill(const Store& store, const Posterior& posterior) {
    const std::vector<std::int32_t> logical = logical_index(posterior.geometry);
    const std::size_t sigma_bytes = 8 * static_cast<std::size_t>(posterior.bits);
    for (std::size_t at = 0; at < logical.size(); ++at) {
        if (logical[at] < 0) continue;
        const auto weight = static_cast<std::size_t>(logical[at]);
        store.mean.data()[at] = posterior.mean[weight];
        if (posterior.bits == 0) continue;
        store_sigma(store.sigma.data() + at / kLanes * sigma_bytes, static_cast<int>(at % kLanes),
                    posterior.bits, posterior.sigma[weight]);
    }
}

}  // namespace

std::vector<Run> make_runs(const Geometry& geometry, const Origin& origin) {
    const auto blocks = static_cast<std::size_t>(geometry.blocks());
    std::vector<std::uint64_t> lanes(blocks, 0);
    std::vector<std::uint32_t> chunk_of(blocks, 0);
    std::vector<Run> runs, padding;
    for (std::size_t chunk = 0; chunk < origin.size() / kLanes; ++chunk) {
        const std::int32_t* indices = origin.data() + chunk * kLanes;
        const std::int32_t any = *std::max_element(indices, indices + kLanes);
        const auto at = static_cast<std::uint32_t>(chunk);
        if (any < 0) {
            Run* last = padding.empty() ? nullptr : &padding.back();
            if (last != nullptr && last->chunk + last->count == at) {
                ++last->count;
            } else {
                padding.push_back({at, 1, 0, 1, 0, 0});
            }
            continue;
        }
        const auto block = static_cast<std::size_t>(any / kLanes);
        chunk_of[block] = at;
        for (int lane = 0; lane < kLanes; ++lane) {
            if (indices[lane] >= 0) lanes[block] |= std::uint64_t{1} << lane;
        }
    }
    for (std::size_t block = 0; block < blocks; ++block) {
        const auto number = static_cast<std::uint32_t>(block);
        const auto group = static_cast<std::uint32_t>(number / geometry.blocks_per_group());
        Run* last = runs.empty() ? nullptr : &runs.back();
        const std::uint32_t chunk = chunk_of[block];
        if (last != nullptr && last->group == group && last->lanes == lanes[block] &&
            last->block + last->count == number && chunk > last->chunk &&
            (last->count == 1 || last->chunk + last->count * last->stride == chunk)) {
            if (last->count == 1) last->stride = chunk - last->chunk;
            ++last->count;
        } else {
            runs.push_back({chunk, 1, number, 1, group, lanes[block]});
        }
    }
    runs.insert(runs.end(), padding.begin(), padding.end());
    return runs;
}

bool blockwise(const Origin& origin) {
    if (origin.size() % kLanes != 0) return false;
    std::vector<std::int32_t> blocks;
    for (std::size_t chunk = 0; chunk < origin.size(); chunk += kLanes) {
        std::int32_t block = -1;
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            const std::int32_t index = origin[chunk + lane];
            if (index < 0) continue;
            if (index % kLanes != static_cast<std::int32_t>(lane)) return false;
            if (block >= 0 && block != index / kLanes) return false;
            block = index / kLanes;
        }
        if (block >= 0) blocks.push_back(block);
    }
    std::sort(blocks.begin(), blocks.end());  // a block split over two chunks is none
    return std::adjacent_find(blocks.begin(), blocks.end()) == blocks.end();
}

std::vector<std::int32_t> logical_index(const Geometry& g) {
    std::vector<std::int32_t> logical(static_cast<std::size_t>(g.blocks() * kLanes), -1);
    std::int32_t next = 0;
    for (std::int64_t o = 0; o < g.outputs; ++o) {
        for (std::int64_t i = 0; i < g.inputs; ++i) {
            for (std::int64_t h = 0; h < g.height; ++h) {
                for (std::int64_t w = 0; w < g.width; ++w) {
                    logical[static_cast<std::size_t>(g.canonical(o, i, h, w))] = next++;
                }
            }
        }
    }
    return logical;
}

Origin canonical_origin(const Geometry& geometry) {
    Origin origin = logical_index(geometry);
    for (std::size_t at = 0; at < origin.size(); ++at) {
        if (origin[at] >= 0) origin[at] = static_cast<std::int32_t>(at);
    }
    return origin;
}

std::vector<std::shared_ptr<const Store>> make_stores(
    const std::vector<const Posterior*>& posteriors) {
    const auto blocks = [](const Posterior* p) {
        return static_cast<std::size_t>(p->geometry.blocks());
    };
    std::size_t total = 0;
    for (const Posterior* p : posteriors) {
        total += blocks(p) * (kLanes + 8 * static_cast<std::size_t>(p->bits)) + 2 * kLine;
    }
    const auto memory = std::make_shared<AlignedBuffer<std::uint8_t>>(total);
    std::uint8_t* free = memory->data();
    const auto take = [&](std::size_t bytes) {
        std::uint8_t* const taken = free;
        free += round_up(bytes, kLine);
        return taken;
    };
    std::vector<std::shared_ptr<const Store>> stores;
    for (const Posterior* p : posteriors) {
        auto store = std::make_shared<Store>();
        store->geometry = p->geometry;
        store->bits = p->bits;
        store->memory = memory;
        const std::size_t mean = blocks(p) * kLanes;
        const std::size_t sigma = blocks(p) * 8 * static_cast<std::size_t>(p->bits);
        store->mean = {reinterpret_cast<std::int8_t*>(take(mean)), mean};
        store->sigma = {take(sigma), sigma};
        if (p->bits > 0) store->constants = make_constants(*p);
        fill(*store, *p);
        stores.push_back(std::move(store));
    }
    return stores;
}

std::shared_ptr<const Store> make_store(const Posterior& posterior) {
    return make_stores({&posterior}).front();
}

Stream make_stream(std::shared_ptr<const Store> store, std::uint32_t ordinal,
                   const Origin& origin) {
    if (store->bits < 1 || store->bits > 8) {
        throw std::invalid_argument("a sampled tensor's sigma must have 1 to 8 bits");
    }
    if (!blockwise(origin)) throw std::invalid_argument("the layout is not made of whole blocks");
    Stream stream;
    stream.ordinal = ordinal;
    stream.chunks = origin.size() / kLanes;
    stream.runs = make_runs(store->geometry, origin);
    stream.store = std::move(store);
    return stream;
}

Stream share(const Stream& whole, std::size_t part, std::size_t parts) {
    std::size_t total = 0;
    for (const Run& run : whole.runs) total += run.count;
    const std::size_t begin = total * part / parts, end = total * (part + 1) / parts;
    Stream mine{whole.store, whole.ordinal, whole.chunks, {}};
    std::size_t at = 0;
    for (const Run& run : whole.runs) {
        const std::size_t from = std::max(begin, at), to = std::min(end, at + run.count);
        if (from < to) {
            Run piece = run;
            const auto skipped = static_cast<std::uint32_t>(from - at);
            piece.chunk += skipped * run.stride;
            piece.block += skipped;
            piece.count = static_cast<std::uint32_t>(to - from);
            mine.runs.push_back(piece);
        }
        at += run.count;
    }
    return mine;
}

Stream make_bias_stream(std::int64_t channels, std::uint32_t ordinal) {
    Posterior posterior;
    posterior.geometry = {channels, 1, 1, 1};
    posterior.bits = 1;
    const auto size = static_cast<std::size_t>(channels);
    posterior.mean.assign(size, 0);
    posterior.sigma.assign(size, 0);
    posterior.multiplier.assign(size, 0);
    // (128 * (|eps| << 8) + 2^14) >> 15 = |eps|: the weight's own path yields the bare noise.
    posterior.offset.assign(size, 128);
    posterior.shift.assign(size, 8);
    return make_stream(make_store(posterior), ordinal, canonical_origin(posterior.geometry));
}

bool supported(SamplerPath path) {
    switch (path) {
        case SamplerPath::portable:
            return true;
#if defined(__x86_64__)
        case SamplerPath::avx2:
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                   __builtin_cpu_supports("aes");
        case SamplerPath::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("aes");
        case SamplerPath::avx512_vbmi:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("aes") &&
                   __builtin_cpu_supports("vaes");
#else
        default:
            return false;
#endif
    }
    return false;
}

SamplerPath best_path() {
    for (const SamplerPath path :
         {SamplerPath::avx512_vbmi, SamplerPath::avx512, SamplerPath::avx2}) {
        if (supported(path)) return path;
    }
    return SamplerPath::portable;
}

const char* path_name(SamplerPath path) {
    switch (path) {
        case SamplerPath::avx512_vbmi:
            return "avx512_vbmi";
        case SamplerPath::avx512:
            return "avx512";
        case SamplerPath::avx2:
            return "avx2";
        default:
            return "portable";
    }
}

void sample(SamplerPath path, const Stream& stream, const AliasTables& tables,
            const KeySchedule& keys, std::uint32_t mc, std::int8_t* out) {
    switch (path) {
#if defined(__x86_64__)
        case SamplerPath::avx512_vbmi:
            return sample_avx512_vbmi(stream, tables, keys, mc, out);
        case SamplerPath::avx512:
            return sample_avx512(stream, tables, keys, mc, out);
        case SamplerPath::avx2:
            return sample_avx2(stream, tables, keys, mc, out);
#endif
        default:
            return sample_portable(stream, tables, keys, mc, out);
    }
}

void sample_portable(const Stream& stream, const AliasTables& tables, const KeySchedule& keys,
                     std::uint32_t mc, std::int8_t* out) {
    const Store& store = *stream.store;
    const int bits = store.bits;
    const std::size_t sigma_bytes = 8 * static_cast<std::size_t>(bits);
    for (const Run& run : stream.runs) {
        std::int8_t* to = out + std::size_t{run.chunk} * kLanes;
        if (run.lanes == 0) {
            std::memset(to, 0, std::size_t{run.count} * kLanes);
            continue;
        }
        const ChannelConstants& c = store.constants[run.group];
        for (std::uint32_t k = 0; k < run.count; ++k, to += std::size_t{run.stride} * kLanes) {
            std::uint8_t random[2 * kLanes];
            for (std::uint32_t j = 0; j < 8; ++j) {
                const std::uint32_t counter[4] = {8 * (run.block + k) + j, mc, stream.ordinal, 0};
                ars(keys, counter, random + 16 * j);
            }
            const std::int8_t* mean = store.mean.data() + (run.block + k) * std::size_t{kLanes};
            const std::uint8_t* sigma = store.sigma.data() + (run.block + k) * sigma_bytes;
            for (int lane = 0; lane < kLanes; ++lane) {
                const int column = random[lane] & 127;
                const bool own = random[kLanes + lane] < tables.threshold[column];
                const int magnitude = own ? column : tables.alias[column];
                const int at = lane * bits / 8, down = lane * bits % 8;
                const int word = sigma[at] | sigma[at + 1] << 8;
                const int v = (word >> down & ((1 << bits) - 1)) << (15 - bits);
                const int half = ChannelConstants::half(lane),
                          place = ChannelConstants::place(lane);
                const int a = c.multiplier[half][place], b = c.offset[half][place];
                const int g = std::min(((a * v + (1 << 14)) >> 15) + b, 32767);
                const int wide = magnitude * c.widen[half][place];
                const int d = (g * wide + (1 << 14)) >> 15;
                const int w = std::clamp(mean[lane] + (random[lane] >= 128 ? -d : d), -127, 127);
                to[lane] = static_cast<std::int8_t>((run.lanes >> lane & 1) != 0 ? w : 0);
            }
        }
    }
}

}  // namespace sigmabench
