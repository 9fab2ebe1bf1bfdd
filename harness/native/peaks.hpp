// What cores do at best: loops of the widest multiply-adds of each instruction set, in registers
// alone, and the clock that they run at.
//
// All operands are ones, which no compiler is told, so the sums count the multiply-adds: a loop
// that was shortened would not add up. Sums are many and independent, since each waits several
// cycles for the one before it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sigmabench {

inline constexpr std::int64_t kMostSteps = 1 << 24;  // of a call
// After so many steps sums are put aside: a float32 counts no further than 2^24.
inline constexpr std::int64_t kBlockSteps = 1 << 18;

struct Loop {
    const char *numbers, *isa;
    std::int64_t multiply_adds;  // of a step
    bool (*supported)();
    std::int64_t (*run)(std::int64_t steps);  // gives the sum of all sums

    std::string name() const { return std::string(numbers) + " " + isa; }
};

// From narrow instruction sets to wide ones, whether this CPU has them or not.
const std::vector<Loop>& loops();

struct LoopRun {
    double seconds = 0;              // from the first thread's start to the last one's end
    std::int64_t multiply_adds = 0;  // of all threads, by their sums
    double hertz = 0;                // clock right after the loop, mean over the threads
};
LoopRun run(const Loop& loop, int threads, std::int64_t steps);

// A chain of additions each of which needs the one before it, one cycle each; gives their number.
std::int64_t add_dependently(std::int64_t additions);

// The sum of the words of 64 bits of whole lines, read by the widest loads of this CPU.
std::uint64_t sum_words(const std::uint8_t* from, std::size_t bytes);

// By instruction set, each in a file of its own.
void add_avx2_loops(std::vector<Loop>& to);
void add_avx512_loops(std::vector<Loop>& to);
void add_amx_loops(std::vector<Loop>& to);
std::uint64_t sum_words_avx2(const std::uint8_t* from, std::size_t bytes);
std::uint64_t sum_words_avx512(const std::uint8_t* from, std::size_t bytes);

// A loop over blocks of steps, each of which begins with sums of 0 and gives what they add up to.
template <class Block>
std::int64_t in_blocks(std::int64_t steps, Block block) {
    std::int64_t total = 0;
    for (; steps > 0; steps -= kBlockSteps) total += block(std::min(steps, kBlockSteps));
    return total;
}

}  // namespace sigmabench
