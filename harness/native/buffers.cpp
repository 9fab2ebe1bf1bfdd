#include "buffers.hpp"

#include <algorithm>
#include <cstring>

#include "peaks.hpp"

namespace sigmabench {
namespace {

constexpr std::size_t kPage = 4096;

// Every thread of `workers` its own part.
template <class Work>
void each(Workers& workers, Work work) {
    workers.run(workers.threads(),
                [&](std::int64_t part, int) { work(static_cast<std::size_t>(part)); });
}

}  // namespace

Buffers::Buffers(std::size_t bytes, int threads)
    : workers_(threads), parts_(static_cast<std::size_t>(workers_.threads())) {
    each(workers_, [&](std::size_t k) {  // who touches memory first has it near
        Part& part = parts_[k];
        const std::size_t begin = bytes * k / parts_.size();
        part.bytes = round_up(bytes * (k + 1) / parts_.size() - begin, kLine);
        // Half a page apart within pages: a load is not taken for one that waits for a store.
        part.target = round_up(part.bytes, kPage) + kPage / 2;
        part.memory = AlignedBuffer<std::uint8_t>(part.target + part.bytes);
        std::memset(part.memory.data(), 1, part.memory.size());
    });
}

void Buffers::copy(std::int64_t times) {
    const std::lock_guard<std::mutex> lock(mutex_);
    each(workers_, [&](std::size_t k) {
        Part& part = parts_[k];
        std::uint8_t *from = part.memory.data(), *to = from + part.target;
        for (std::int64_t time = 0; time < times; ++time) {
            std::memcpy(to, from, part.bytes);
            asm volatile("" : "+r"(from), "+r"(to) : : "memory");
        }
    });
}

std::uint64_t Buffers::read(std::int64_t times) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::uint64_t> sums(parts_.size(), 0);
    each(workers_, [&](std::size_t k) {
        const Part& part = parts_[k];
        const std::uint8_t* from = part.memory.data();
        for (std::int64_t time = 0; time < times; ++time) {
            sums[k] += sum_words(from, part.bytes) + sum_words(from + part.target, part.bytes);
            asm volatile("" : "+r"(from) : : "memory");
        }
    });
    std::uint64_t all = 0;
    for (const std::uint64_t sum : sums) all += sum;
    return all;
}

}  // namespace sigmabench
