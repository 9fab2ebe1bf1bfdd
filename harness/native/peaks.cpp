#include "peaks.hpp"

#include <chrono>
#include <cstring>

#include "team.hpp"
#include "workers.hpp"

namespace sigmabench {
namespace {

constexpr std::int64_t kWarmingSteps = 1 << 12;    // a core wakes its wide units
constexpr std::int64_t kChainAdditions = 1 << 17;  // about 40 µs: the clock is still the loop's
constexpr int kUnrolled = 64;

using Clock = std::chrono::steady_clock;
double between(Clock::time_point start, Clock::time_point end) {
    return std::chrono::duration<double>(end - start).count();
}

std::uint64_t sum_words_portable(const std::uint8_t* from, std::size_t bytes) {
    std::uint64_t sums[4] = {}, words[4];
    for (std::size_t at = 0; at < bytes; at += sizeof words) {
        std::memcpy(words, from + at, sizeof words);
        for (int k = 0; k < 4; ++k) sums[k] += words[k];
    }
    return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace

const std::vector<Loop>& loops() {
    static const std::vector<Loop> all = [] {
        std::vector<Loop> found;
#if defined(__x86_64__)
        add_avx2_loops(found);
        add_avx512_loops(found);
        add_amx_loops(found);
#endif
        return found;
    }();
    return all;
}

std::int64_t add_dependently(std::int64_t additions) {
    std::int64_t sum = 0, one = 1;
    asm volatile("" : "+r"(one));  // an addition of a constant may take no time at all
    for (std::int64_t done = 0; done < additions; done += kUnrolled) {
#pragma GCC unroll 64
        for (int k = 0; k < kUnrolled; ++k) {
            sum += one;
            asm volatile("" : "+r"(sum));
        }
    }
    return sum;
}

LoopRun run(const Loop& loop, int threads, std::int64_t steps) {
    struct Part {
        Clock::time_point start, end;
        std::int64_t multiply_adds = 0;
        double hertz = 0;
    };
    Workers workers(threads);
    Barrier barrier(static_cast<std::size_t>(threads));
    std::vector<Part> parts(static_cast<std::size_t>(threads));
    workers.run(threads, [&](std::int64_t index, int) {
        Part& mine = parts[static_cast<std::size_t>(index)];
        loop.run(kWarmingSteps);
        barrier.wait();
        mine.start = Clock::now();
        mine.multiply_adds = loop.run(steps);
        mine.end = Clock::now();
        const std::int64_t additions = add_dependently(kChainAdditions);
        mine.hertz = static_cast<double>(additions) / between(mine.end, Clock::now());
    });
    LoopRun found;
    Clock::time_point start = parts[0].start, end = parts[0].end;
    for (const Part& part : parts) {
        start = std::min(start, part.start);
        end = std::max(end, part.end);
        found.multiply_adds += part.multiply_adds;
        found.hertz += part.hertz / threads;
    }
    found.seconds = between(start, end);
    return found;
}

std::uint64_t sum_words(const std::uint8_t* from, std::size_t bytes) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return sum_words_avx512(from, bytes);
    if (__builtin_cpu_supports("avx2")) return sum_words_avx2(from, bytes);
#endif
    return sum_words_portable(from, bytes);
}

}  // namespace sigmabench
