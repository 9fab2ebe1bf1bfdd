// Arrays from and to Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sigmabench {

namespace nb = nanobind;

using AnyArray = nb::ndarray<nb::ro, nb::device::cpu>;

// The data of an array of that type and shape (a size < 0: any), or a Python error.
template <class T>
const T* contiguous(const AnyArray& array, const std::vector<std::int64_t>& shape, const char* name,
                    const char* type) {
    if (array.dtype() != nb::dtype<T>()) {
        throw nb::type_error((std::string(name) + " must be " + type).c_str());
    }
    bool fits = array.ndim() == shape.size();
    std::int64_t step = 1;
    bool dense = true;
    for (std::size_t k = shape.size(); fits && k-- > 0;) {
        fits = shape[k] < 0 || static_cast<std::int64_t>(array.shape(k)) == shape[k];
        dense = dense && (array.shape(k) == 1 || array.stride(k) == step);
        step *= static_cast<std::int64_t>(array.shape(k));
    }
    if (!fits) {
        std::string wanted;
        for (const std::int64_t size : shape) {
            wanted += (wanted.empty() ? "" : ", ") + (size < 0 ? "N" : std::to_string(size));
        }
        throw nb::value_error(
            (std::string(name) + " must have the shape (" + wanted + ")").c_str());
    }
    if (!dense && array.size() > 0) {
        throw nb::value_error((std::string(name) + " must be contiguous").c_str());
    }
    if (reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) != 0) {
        throw nb::value_error((std::string(name) + " must be aligned").c_str());
    }
    return static_cast<const T*>(array.data());
}

template <class T>
std::vector<T> copied(const AnyArray& array, std::int64_t size, const char* name,
                      const char* type) {
    const std::int64_t total = static_cast<std::int64_t>(array.size());
    if (total != size) {
        throw nb::value_error((std::string(name) + " must have " + std::to_string(size) +
                               " values, not " + std::to_string(total))
                                  .c_str());
    }
    std::vector<std::int64_t> shape(array.ndim(), -1);
    const T* data = contiguous<T>(array, shape, name, type);
    return std::vector<T>(data, data + size);
}

// A numpy array that keeps the values.
template <class T>
nb::ndarray<nb::numpy, T> owned(std::vector<T>&& values, const std::vector<std::size_t>& shape) {
    auto* kept = new std::vector<T>(std::move(values));
    const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T>(kept->data(), shape.size(), shape.data(), owner);
}

}  // namespace sigmabench
