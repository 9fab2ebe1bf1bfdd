// Memory on cache-line boundaries, zeroed, with a line to spare: vector code may read past the end.
// Large memory asks for large pages, whose addresses are found faster.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace sigmabench {

inline constexpr std::size_t kLine = 64;
inline constexpr std::size_t kLargePage = 2 << 20;

inline std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

// Some of a buffer.
template <class T>
class Span {
 public:
    Span() = default;
    Span(T* data, std::size_t size) : data_(data), size_(size) {}
    T* data() const { return data_; }
    std::size_t size() const { return size_; }

 private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

template <class T>
class AlignedBuffer {
 public:
    AlignedBuffer() = default;

    explicit AlignedBuffer(std::size_t size) : size_(size) {
        const std::size_t wanted = size * sizeof(T) + kLine;
        const std::size_t unit = wanted < 2 * kLargePage ? kLine : kLargePage;
        const std::size_t bytes = round_up(wanted, unit);
        data_ = static_cast<T*>(std::aligned_alloc(unit, bytes));
        if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
        if (unit == kLargePage) madvise(data_, bytes, MADV_HUGEPAGE);  // a wish, no more
#endif
        std::memset(static_cast<void*>(data_), 0, bytes);
    }

    AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
    AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
        swap(other);
        return *this;
    }
    AlignedBuffer(const AlignedBuffer&) = delete;
    AlignedBuffer& operator=(const AlignedBuffer&) = delete;
    ~AlignedBuffer() { std::free(data_); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }

 private:
    void swap(AlignedBuffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace sigmabench
