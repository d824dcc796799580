// platform/futex.hpp: sleeping on a 32-bit word and waking who sleeps there (futex(2)).
//
// Promise: thin and stateless. `shared` futexes are keyed by the memory's inode and work between processes that map
// it at different addresses; `private` ones are keyed by address and cheaper. A wait is always bounded by its caller.
#pragma once

#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace treadle::platform {

enum class FutexScope : int { shared = 0, process = FUTEX_PRIVATE_FLAG };

enum class FutexWait : int { woken, changed, timeout, interrupted };

// Sleeps until woken, for at most `nanoseconds`, if the word still holds `expected`. `bits` selects the wakes that
// reach this sleeper: those whose own bits meet it (FUTEX_WAIT_BITSET).
inline FutexWait futex_wait(const void* word, std::uint32_t expected, std::int64_t nanoseconds, std::uint32_t bits,
                            FutexScope scope) noexcept {
    timespec until{};
    clock_gettime(CLOCK_MONOTONIC, &until);
    const std::int64_t sum = until.tv_nsec + nanoseconds;
    until.tv_sec += sum / 1'000'000'000;
    until.tv_nsec = sum % 1'000'000'000;
    const long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | static_cast<int>(scope), expected, &until, nullptr, bits);
    if (rc == 0) return FutexWait::woken;
    switch (errno) {
        case EAGAIN: return FutexWait::changed;
        case EINTR: return FutexWait::interrupted;
        default: return FutexWait::timeout;
    }
}

inline void futex_wake(const void* word, int count, std::uint32_t bits, FutexScope scope) noexcept {
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET | static_cast<int>(scope), count, nullptr, nullptr, bits);
}

}  // namespace treadle::platform
