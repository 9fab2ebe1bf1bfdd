// Tiles: whether this compiler and this process may use them, and eight of full size.
#pragma once

#if defined(__x86_64__) && defined(__has_include)
#if __has_include(<amxint8intrin.h>)
#define SIGMABENCH_HAS_AMX 1
#endif
#endif

#ifdef SIGMABENCH_HAS_AMX

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace sigmabench {

inline constexpr int kTileRows = 16;   // of a tile; its columns of 32-bit numbers, too
inline constexpr int kTileBytes = 64;  // of a row

// The kernel has to let a process use tiles.
inline bool tiles_allowed() {
#ifdef ARCH_REQ_XCOMP_PERM
    constexpr long request = ARCH_REQ_XCOMP_PERM;
#else
    constexpr long request = 0x1023;
#endif
    constexpr long tile_data = 18;
    static const bool granted = syscall(SYS_arch_prctl, request, tile_data) == 0;
    return granted;
}

struct alignas(64) TileConfig {
    TileConfig() {
        for (int tile = 0; tile < 8; ++tile) {
            rows[tile] = kTileRows;
            columns[tile] = kTileBytes;
        }
    }
    std::uint8_t palette = 1, start = 0, reserved[14] = {};
    std::uint16_t columns[16] = {};
    std::uint8_t rows[16] = {};
};

}  // namespace sigmabench

#endif
