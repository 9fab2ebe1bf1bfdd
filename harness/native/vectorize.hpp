// Plain loops compiled for several instruction sets, the widest chosen at load time.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define SIGMABENCH_VECTORIZE __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define SIGMABENCH_VECTORIZE
#endif
