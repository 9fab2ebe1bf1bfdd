#include "join.hpp"

#include <cmath>
#include <cstring>

#include "normal.hpp"
#include "vectorize.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sigmabench {
namespace {

// Some channels of every pixel of a row of pixels.
struct Strip {
    std::int64_t pixels, channels;
    std::int64_t stride;  // numbers from one pixel of the output to the next
};

void look_up(const std::uint8_t* x, const Strip& s, const std::uint8_t* table, std::uint8_t* out) {
    for (std::int64_t p = 0; p < s.pixels; ++p, x += s.channels, out += s.stride) {
        for (std::int64_t c = 0; c < s.channels; ++c) out[c] = table[x[c]];
    }
}

#if defined(__x86_64__)
// The table in four registers, two of which a permutation reads at a time.
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) void look_up_vbmi(const std::uint8_t* x,
                                                                         const Strip& s,
                                                                         const std::uint8_t* table,
                                                                         std::uint8_t* out) {
    const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64),
                  t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (std::int64_t p = 0; p < s.pixels; ++p, x += s.channels, out += s.stride) {
        for (std::int64_t c = 0; c < s.channels; c += 64) {
            const std::int64_t left = s.channels - c;
            const __mmask64 some = left < 64 ? (std::uint64_t{1} << left) - 1 : ~std::uint64_t{0};
            const __m512i index = _mm512_maskz_loadu_epi8(some, x + c);
            const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
            const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
            const __mmask64 upper = _mm512_movepi8_mask(index);
            _mm512_mask_storeu_epi8(out + c, some, _mm512_mask_blend_epi8(upper, low, high));
        }
    }
}
#endif

using LookUp = void (*)(const std::uint8_t*, const Strip&, const std::uint8_t*, std::uint8_t*);

LookUp best_look_up() {
#if defined(__x86_64__)
    if (supported(SamplerPath::avx512_vbmi)) return look_up_vbmi;
#endif
    return look_up;
}

float to_float(float value) { return value; }
float to_float(std::uint16_t bits) { return from_bfloat16(bits); }
void put(float value, float* out) { *out = value; }
void put(float value, std::uint16_t* out) { *out = bfloat16_bits(value); }

// What is not a number stays so.
template <class T>
inline void clip_strip(const T* x, const Strip& s, float low, float high, T* out) {
    for (std::int64_t p = 0; p < s.pixels; ++p, x += s.channels, out += s.stride) {
        for (std::int64_t c = 0; c < s.channels; ++c) {
            float v = to_float(x[c]);
            v = v < low ? low : v;
            put(v > high ? high : v, out + c);
        }
    }
}

SIGMABENCH_VECTORIZE
void clip(const float* x, const Strip& s, float low, float high, float* out) {
    clip_strip(x, s, low, high, out);
}

SIGMABENCH_VECTORIZE
void clip(const std::uint16_t* x, const Strip& s, float low, float high, std::uint16_t* out) {
    clip_strip(x, s, low, high, out);
}

template <class T>
void copy(const T* x, const Strip& s, T* out) {
    const std::size_t bytes = static_cast<std::size_t>(s.channels) * sizeof(T);
    for (std::int64_t p = 0; p < s.pixels; ++p) {
        std::memcpy(out + p * s.stride, x + p * s.channels, bytes);
    }
}

void apply(const std::uint8_t* x, const Strip& s, const JoinSpec&, const JoinPart& part,
           std::uint8_t* out) {
    static const LookUp look_up_best = best_look_up();
    if (part.table == nullptr) {
        copy(x, s, out);
    } else {
        look_up_best(x, s, part.table, out);
    }
}

template <class T>
void apply(const T* x, const Strip& s, const JoinSpec& spec, const JoinPart&, T* out) {
    if (std::isinf(spec.low) && std::isinf(spec.high)) {
        copy(x, s, out);
    } else {
        clip(x, s, spec.low, spec.high, out);
    }
}

template <class T>
void join_as(const std::uint8_t* arena, const std::vector<std::size_t>& from, Rows rows,
             const JoinSpec& spec, T* out) {
    std::int64_t channels = 0, before = 0;
    for (const JoinPart& part : spec.parts) channels += part.channels;
    const std::int64_t first = rows.first * spec.width,
                       pixels = (rows.last - rows.first) * spec.width;
    for (std::size_t k = 0; k < spec.parts.size(); ++k) {
        const JoinPart& part = spec.parts[k];
        const T* x = reinterpret_cast<const T*>(arena + from[k]) + first * part.channels;
        // A single part is one long pixel.
        const Strip strip = spec.parts.size() == 1 ? Strip{1, pixels * channels, channels}
                                                   : Strip{pixels, part.channels, channels};
        apply(x, strip, spec, part, out + first * channels + before);
        before += part.channels;
    }
}

}  // namespace

void join(const std::uint8_t* arena, const std::vector<std::size_t>& from, Rows rows,
          const JoinSpec& spec, std::uint8_t* out) {
    if (spec.type == Type::bf16) {
        join_as(arena, from, rows, spec, reinterpret_cast<std::uint16_t*>(out));
    } else if (spec.type == Type::f32) {
        join_as(arena, from, rows, spec, reinterpret_cast<float*>(out));
    } else {
        join_as(arena, from, rows, spec, out);
    }
}

}  // namespace sigmabench
