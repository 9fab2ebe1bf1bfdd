// Buffers of several threads, each with its own part, that are copied and read: what caches and
// memory deliver at best.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "aligned.hpp"
#include "workers.hpp"

namespace sigmabench {

class Buffers {
 public:
    // A source of so many bytes and a target as large, in whole lines; every byte of both is 1.
    Buffers(std::size_t bytes, int threads);
    void copy(std::int64_t times);
    // Reads source and target; the sum of all words of 64 bits.
    std::uint64_t read(std::int64_t times);

 private:
    struct Part {
        AlignedBuffer<std::uint8_t> memory;
        std::size_t bytes = 0, target = 0;  // of the source; where the other begins
    };

    std::mutex mutex_;  // the workers take one call at a time
    Workers workers_;
    std::vector<Part> parts_;
};

}  // namespace sigmabench
