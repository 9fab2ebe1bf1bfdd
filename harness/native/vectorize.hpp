// Plain loops compiled for several instruction sets, the widest chosen at load time.
#pragma once

// Sanitizers cannot run in the resolvers that choose, which are called before they are set up.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define SIGMABENCH_VECTORIZE \
    __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define SIGMABENCH_VECTORIZE
#endif
