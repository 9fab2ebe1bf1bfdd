// The OpenMP runtime of oneDNN's wheel, GNU's, by its binary interface. Nothing is linked for it
// here: these names are found where libdnnl's are, so that this library, oneDNN and torch share one
// runtime whatever compiler builds it. A compiler's own OpenMP (Clang's) could bring a second one,
// with a pool of its own, and would leave oneDNN's number of threads as it is.
#pragma once

#include <algorithm>
#include <cstddef>

extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
void GOMP_parallel(void (*)(void*), void*, unsigned threads, unsigned flags);
}

namespace sigmabench {

// Calls work(thread, threads) on each of up to `threads` threads, as `#pragma omp parallel` does;
// it must not throw.
template <class Work>
void on_team(int threads, Work work) {
    const auto call = [](void* the) {
        (*static_cast<Work*>(the))(static_cast<std::size_t>(omp_get_thread_num()),
                                   static_cast<std::size_t>(omp_get_num_threads()));
    };
    GOMP_parallel(call, &work, static_cast<unsigned>(std::max(threads, 1)), 0);
}

}  // namespace sigmabench
