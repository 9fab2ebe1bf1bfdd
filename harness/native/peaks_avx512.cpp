// Loops of AVX-512 and its neighbours, on 32 registers.
#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include <utility>

#include "peaks.hpp"

#if defined(__has_include)
#if __has_include(<avx512bf16intrin.h>)
#define SIGMABENCH_HAS_AVX512_BF16 1
#endif
#endif

#define SIGMABENCH_AVX512 __attribute__((target("avx512f,avx512bw")))
#define SIGMABENCH_INLINE SIGMABENCH_AVX512 inline __attribute__((always_inline))
#define SIGMABENCH_AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define SIGMABENCH_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512bf16")))

namespace sigmabench {
namespace {

// Two multiply-adds begin in a cycle, and each takes up to 6; operands need registers, too.
using Many = std::make_index_sequence<24>;
// A sum of plain integers takes one; what comes before it waits for no sum.
using Few = std::make_index_sequence<8>;

// Whatever it holds from here on, the compiler does not know.
template <class Vector>
SIGMABENCH_INLINE void forget(Vector& vector) {
    asm volatile("" : "+v"(vector));
}

SIGMABENCH_INLINE std::int64_t total(__m512 sum) {
    alignas(64) float lanes[16];
    _mm512_store_ps(lanes, sum);
    std::int64_t all = 0;
    for (const float lane : lanes) all += static_cast<std::int64_t>(lane);
    return all;
}

SIGMABENCH_INLINE std::int64_t total(__m512i sum) {
    alignas(64) std::int32_t lanes[16];
    _mm512_store_si512(lanes, sum);
    std::int64_t all = 0;
    for (const std::int32_t lane : lanes) all += lane;
    return all;
}

template <std::size_t... k>
SIGMABENCH_AVX512 std::int64_t fp32(std::int64_t steps, std::index_sequence<k...>) {
    __m512 sums[] = {(static_cast<void>(k), _mm512_setzero_ps())...};
    (forget(sums[k]), ...);  // else one would do for all, which are equal
    __m512 one = _mm512_set1_ps(1), other = one;
    forget(one);
    forget(other);
    for (; steps > 0; --steps) {
        ((sums[k] = _mm512_fmadd_ps(one, other, sums[k])), ...);
    }
    return (total(sums[k]) + ...);
}

// As AVX2's, of twice the width: what AVX-512 has without VNNI.
template <std::size_t... k>
SIGMABENCH_AVX512 std::int64_t int8(std::int64_t steps, std::index_sequence<k...>) {
    __m512i sums[] = {(static_cast<void>(k), _mm512_setzero_si512())...};
    (forget(sums[k]), ...);  // else one would do for all, which are equal
    __m512i one = _mm512_set1_epi8(1), other = one, pair = _mm512_set1_epi16(1);
    forget(other);
    forget(pair);
    for (; steps > 0; --steps) {
        ((forget(one), sums[k] = _mm512_add_epi32(
                           sums[k], _mm512_madd_epi16(_mm512_maddubs_epi16(one, other), pair))),
         ...);
    }
    return (total(sums[k]) + ...);
}

template <std::size_t... k>
SIGMABENCH_AVX512_VNNI std::int64_t vnni(std::int64_t steps, std::index_sequence<k...>) {
    __m512i sums[] = {(static_cast<void>(k), _mm512_setzero_si512())...};
    (forget(sums[k]), ...);  // else one would do for all, which are equal
    __m512i one = _mm512_set1_epi8(1), other = one;
    forget(one);
    forget(other);
    for (; steps > 0; --steps) {
        ((sums[k] = _mm512_dpbusd_epi32(sums[k], one, other)), ...);
    }
    return (total(sums[k]) + ...);
}

std::int64_t fp32_loop(std::int64_t steps) {
    return in_blocks(steps, [](std::int64_t count) { return fp32(count, Many()); });
}
std::int64_t int8_loop(std::int64_t steps) {
    return in_blocks(steps, [](std::int64_t count) { return int8(count, Few()); });
}
std::int64_t vnni_loop(std::int64_t steps) {
    return in_blocks(steps, [](std::int64_t count) { return vnni(count, Many()); });
}

bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

#ifdef SIGMABENCH_HAS_AVX512_BF16

template <std::size_t... k>
SIGMABENCH_AVX512_BF16 std::int64_t bf16(std::int64_t steps, std::index_sequence<k...>) {
    constexpr std::int16_t unity = 0x3f80;  // 1 as a bfloat16
    __m512 sums[] = {(static_cast<void>(k), _mm512_setzero_ps())...};
    (forget(sums[k]), ...);  // else one would do for all, which are equal
    __m512i one = _mm512_set1_epi16(unity), other = one;
    forget(one);
    forget(other);
    for (; steps > 0; --steps) {
        ((sums[k] = _mm512_dpbf16_ps(sums[k], (__m512bh)one, (__m512bh)other)), ...);
    }
    return (total(sums[k]) + ...);
}

std::int64_t bf16_loop(std::int64_t steps) {
    return in_blocks(steps, [](std::int64_t count) { return bf16(count, Many()); });
}

bool has_avx512_bf16() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1) != 0;
}

#endif

template <std::size_t... k>
SIGMABENCH_INLINE std::uint64_t sum(const std::uint8_t* from, std::size_t bytes,
                                    std::index_sequence<k...>) {
    __m512i sums[] = {(static_cast<void>(k), _mm512_setzero_si512())...};
    std::size_t at = 0;
    for (; at + 64 * sizeof...(k) <= bytes; at += 64 * sizeof...(k)) {
        ((sums[k] = _mm512_add_epi64(sums[k], _mm512_load_si512(from + at + 64 * k))), ...);
    }
    for (; at < bytes; at += 64) sums[0] = _mm512_add_epi64(sums[0], _mm512_load_si512(from + at));
    alignas(64) std::uint64_t words[8];
    std::uint64_t all = 0;
    for (const __m512i& each : sums) {
        _mm512_store_si512(words, each);
        for (const std::uint64_t word : words) all += word;
    }
    return all;
}

}  // namespace

void add_avx512_loops(std::vector<Loop>& to) {
    to.push_back({"fp32", "avx512", 16 * std::int64_t{Many::size()}, has_avx512, fp32_loop});
#ifdef SIGMABENCH_HAS_AVX512_BF16
    to.push_back(
        {"bf16", "avx512_bf16", 32 * std::int64_t{Many::size()}, has_avx512_bf16, bf16_loop});
#endif
    to.push_back({"int8", "avx512", 64 * std::int64_t{Few::size()}, has_avx512, int8_loop});
    to.push_back(
        {"int8", "avx512_vnni", 64 * std::int64_t{Many::size()}, has_avx512_vnni, vnni_loop});
}

SIGMABENCH_AVX512 std::uint64_t sum_words_avx512(const std::uint8_t* from, std::size_t bytes) {
    return sum(from, bytes, Few());
}

}  // namespace sigmabench

#endif
