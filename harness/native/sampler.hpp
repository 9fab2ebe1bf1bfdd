// Sampling weights: w_q = clamp(mu_q + sign * d, -127, 127) from noise stream v1, in integers.
//
// A Store holds mu and packed sigma of one tensor in the order of the noise stream, 64 weights a
// block, so that sampling is one linear pass over memory, whatever the layout that is written; the
// writes go to a scratch that stays in the cache. No Python and no oneDNN here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aligned.hpp"
#include "noise.hpp"

namespace sigmabench {

// A weight tensor's posterior, in logical order (O, I, KH, KW). bits == 0: there is no sigma.
struct Posterior {
    Geometry geometry;
    int bits = 0;
    std::vector<std::int8_t> mean;
    std::vector<std::uint8_t> sigma;
    std::vector<std::int16_t> multiplier, offset;  // A and B, one an output channel
    std::vector<std::uint8_t> shift;
};

// The constants of the output channels of one block as the sampler wants them: it widens the bytes
// of a block to 16 bits, of each 16 lanes the first eight in one register and the others in
// another.
struct ChannelConstants {
    alignas(64) std::int16_t multiplier[2][32];
    alignas(64) std::int16_t offset[2][32];
    alignas(64) std::int16_t widen[2][32];  // 2^shift

    static int half(int lane) { return lane % 16 / 8; }
    static int place(int lane) { return lane / 16 * 8 + lane % 8; }
};

// Consecutive blocks of one group of output channels, sampled into chunks of 64 bytes that lie
// `stride` chunks apart: kernels like to interleave the groups.
struct Run {
    std::uint32_t chunk;   // where the first goes
    std::uint32_t stride;  // from one to the next, in chunks
    std::uint32_t block;   // the first one's number in the noise stream, and its place in the store
    std::uint32_t count;   // how many
    std::uint32_t group;   // whose constants
    std::uint64_t lanes;   // lanes that hold weights; the others become 0. None: padding
};

// A tensor's posterior as it lies in memory, once for all layouts, batch sizes and threads.
struct Store {
    Geometry geometry;
    int bits = 0;  // 0: the mean alone
    Span<std::int8_t> mean;
    Span<std::uint8_t> sigma;  // lane l of a block at bit l * bits
    std::vector<ChannelConstants> constants;
    std::shared_ptr<AlignedBuffer<std::uint8_t>> memory;  // of all tensors made together
};
std::vector<std::shared_ptr<const Store>> make_stores(
    const std::vector<const Posterior*>& posteriors);
std::shared_ptr<const Store> make_store(const Posterior& posterior);

// What a pass samples of a tensor, and where it writes it.
struct Stream {
    std::shared_ptr<const Store> store;
    std::uint32_t ordinal = 0;  // of the tensor, counter word 2
    std::size_t chunks = 0;     // of 64 bytes, of the whole tensor
    std::vector<Run> runs;
};

// For each byte to be written, the canonical index of its weight, or -1 for padding. A layout is
// blockwise if every chunk of 64 bytes is one block of the stream with every weight in its lane.
using Origin = std::vector<std::int32_t>;
bool blockwise(const Origin& origin);
Origin canonical_origin(const Geometry& geometry);
// For each canonical index, the weight's place in logical order, or -1.
std::vector<std::int32_t> logical_index(const Geometry& geometry);

// The blocks of a blockwise layout in the order of the noise stream, then its padding.
std::vector<Run> make_runs(const Geometry& geometry, const Origin& origin);
// The stream that fills a blockwise layout.
Stream make_stream(std::shared_ptr<const Store> store, std::uint32_t ordinal, const Origin& origin);
// One of `parts` streams of about equal length that together write what `whole` does.
Stream share(const Stream& whole, std::size_t part, std::size_t parts);
// A stream of bare noise for the biases of `channels` channels: it yields eps_q itself.
Stream make_bias_stream(std::int64_t channels, std::uint32_t ordinal);

enum class SamplerPath { portable, avx2, avx512, avx512_vbmi };
bool supported(SamplerPath path);
SamplerPath best_path();
const char* path_name(SamplerPath path);

// Sample one pass of the stream's runs, into a buffer of 64 * stream.chunks bytes.
void sample(SamplerPath path, const Stream& stream, const AliasTables& tables,
            const KeySchedule& keys, std::uint32_t mc, std::int8_t* out);

void sample_portable(const Stream&, const AliasTables&, const KeySchedule&, std::uint32_t mc,
                     std::int8_t* out);
#if defined(__x86_64__)
void sample_avx2(const Stream&, const AliasTables&, const KeySchedule&, std::uint32_t mc,
                 std::int8_t* out);
void sample_avx512(const Stream&, const AliasTables&, const KeySchedule&, std::uint32_t mc,
                   std::int8_t* out);
void sample_avx512_vbmi(const Stream&, const AliasTables&, const KeySchedule&, std::uint32_t mc,
                        std::int8_t* out);
#endif

}  // namespace sigmabench
