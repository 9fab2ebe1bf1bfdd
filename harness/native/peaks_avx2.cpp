// Loops of AVX2 and its neighbours, on 16 registers.
#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include <utility>

#include "peaks.hpp"

#if defined(__has_include)
#if __has_include(<avxvnniintrin.h>)
#define SIGMABENCH_HAS_AVX_VNNI 1
#endif
#endif

#define SIGMABENCH_AVX2 __attribute__((target("avx2,fma")))
#define SIGMABENCH_INLINE SIGMABENCH_AVX2 inline __attribute__((always_inline))
#define SIGMABENCH_AVX_VNNI __attribute__((target("avx2,fma,avxvnni")))

namespace sigmabench {
namespace {

// Two multiply-adds begin in a cycle, and each takes up to 5.
using Many = std::make_index_sequence<12>;
// A sum of plain integers takes one; what comes before it waits for no sum.
using Few = std::make_index_sequence<8>;

// Whatever it holds from here on, the compiler does not know.
template <class Vector>
SIGMABENCH_INLINE void forget(Vector& vector) {
    asm volatile("" : "+x"(vector));
}

SIGMABENCH_INLINE std::int64_t total(__m256 sum) {
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, sum);
    std::int64_t all = 0;
    for (const float lane : lanes) all += static_cast<std::int64_t>(lane);
    return all;
}

SIGMABENCH_INLINE std::int64_t total(__m256i sum) {
    alignas(32) std::int32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
    std::int64_t all = 0;
    for (const std::int32_t lane : lanes) all += lane;
    return all;
}

template <std::size_t... k>
SIGMABENCH_AVX2 std::int64_t fp32(std::int64_t steps, std::index_sequence<k...>) {
    __m256 sums[] = {(static_cast<void>(k), _mm256_setzero_ps())...};
    (forget(sums[k]), ...);  // else one would do for all, which are equal
    __m256 one = _mm256_set1_ps(1), other = one;
    forget(one);
    forget(other);
    for (; steps > 0; --steps) {
        ((sums[k] = _mm256_fmadd_ps(one, other, sums[k])), ...);
    }
    return (total(sums[k]) + ...);
}

// Products of bytes, which saturate at 16 bits, then sums of two pairs: three instructions, the
// fastest that AVX2 has, exact or not. Products of the same numbers would be taken out of the loop.
template <std::size_t... k>
SIGMABENCH_AVX2 std::int64_t int8(std::int64_t steps, std::index_sequence<k...>) {
    __m256i sums[] = {(static_cast<void>(k), _mm256_setzero_si256())...};
    (forget(sums[k]), ...);  // else one would do for all, which are equal
    __m256i one = _mm256_set1_epi8(1), other = one, pair = _mm256_set1_epi16(1);
    forget(other);
    forget(pair);
    for (; steps > 0; --steps) {
        ((forget(one), sums[k] = _mm256_add_epi32(
                           sums[k], _mm256_madd_epi16(_mm256_maddubs_epi16(one, other), pair))),
         ...);
    }
    return (total(sums[k]) + ...);
}

std::int64_t fp32_loop(std::int64_t steps) {
    return in_blocks(steps, [](std::int64_t count) { return fp32(count, Many()); });
}
std::int64_t int8_loop(std::int64_t steps) {
    return in_blocks(steps, [](std::int64_t count) { return int8(count, Few()); });
}

bool has_avx2() { return __builtin_cpu_supports("avx2"); }
bool has_fma() { return has_avx2() && __builtin_cpu_supports("fma"); }

#ifdef SIGMABENCH_HAS_AVX_VNNI

template <std::size_t... k>
SIGMABENCH_AVX_VNNI std::int64_t vnni(std::int64_t steps, std::index_sequence<k...>) {
    __m256i sums[] = {(static_cast<void>(k), _mm256_setzero_si256())...};
    (forget(sums[k]), ...);  // else one would do for all, which are equal
    __m256i one = _mm256_set1_epi8(1), other = one;
    forget(one);
    forget(other);
    for (; steps > 0; --steps) {
        ((sums[k] = _mm256_dpbusd_avx_epi32(sums[k], one, other)), ...);
    }
    return (total(sums[k]) + ...);
}

std::int64_t vnni_loop(std::int64_t steps) {
    return in_blocks(steps, [](std::int64_t count) { return vnni(count, Many()); });
}

bool has_avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

#endif

}  // namespace

void add_avx2_loops(std::vector<Loop>& to) {
    to.push_back({"fp32", "avx2", 8 * std::int64_t{Many::size()}, has_fma, fp32_loop});
    to.push_back({"int8", "avx2", 32 * std::int64_t{Few::size()}, has_avx2, int8_loop});
#ifdef SIGMABENCH_HAS_AVX_VNNI
    to.push_back({"int8", "avx_vnni", 32 * std::int64_t{Many::size()}, has_avx_vnni, vnni_loop});
#endif
}

namespace {

template <std::size_t... k>
SIGMABENCH_INLINE std::uint64_t sum(const std::uint8_t* from, std::size_t bytes,
                                    std::index_sequence<k...>) {
    __m256i sums[] = {(static_cast<void>(k), _mm256_setzero_si256())...};
    const auto line = [&](std::size_t at) SIGMABENCH_AVX2 {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(from + at));
    };
    std::size_t at = 0;
    for (; at + 32 * sizeof...(k) <= bytes; at += 32 * sizeof...(k)) {
        ((sums[k] = _mm256_add_epi64(sums[k], line(at + 32 * k))), ...);
    }
    for (; at < bytes; at += 32) sums[0] = _mm256_add_epi64(sums[0], line(at));
    alignas(32) std::uint64_t words[4];
    std::uint64_t all = 0;
    for (const __m256i& each : sums) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(words), each);
        for (const std::uint64_t word : words) all += word;
    }
    return all;
}

}  // namespace

SIGMABENCH_AVX2 std::uint64_t sum_words_avx2(const std::uint8_t* from, std::size_t bytes) {
    return sum(from, bytes, Few());
}

}  // namespace sigmabench

#endif
