// Plain loops compiled for AVX2 too, which is chosen at load time where the CPU has it. A clone for
// AVX-512 (x86-64-v4) was measured on a CPU with AMX: rows are short, and networks with pools took
// longer.
#pragma once

// Sanitizers cannot run in the resolvers that choose, which are called before they are set up.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define SIGMABENCH_VECTORIZE __attribute__((target_clones("avx2", "default")))
#else
#define SIGMABENCH_VECTORIZE
#endif
