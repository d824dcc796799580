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

// Returns how many slept there.
inline int futex_wake(const void* word, int count, std::uint32_t bits, FutexScope scope) noexcept {
    const long woken = syscall(SYS_futex, word, FUTEX_WAKE_BITSET | static_cast<int>(scope), count, nullptr, nullptr, bits);
    return woken > 0 ? static_cast<int>(woken) : 0;
}

struct WaitedWord {
    const void* word;
    std::uint32_t expected;
    FutexScope scope;
};
inline constexpr unsigned kMostWaitedWords = 128;  // the kernel's own limit

// Sleeps until one of the words is woken or changed (futex_waitv(2), Linux 5.16), for at most `nanoseconds`. Where the
// system has no such call only the first word is slept on, for at most `short_nanoseconds` if there are others.
inline void futex_wait_any(const WaitedWord* words, unsigned count, std::int64_t nanoseconds, std::int64_t short_nanoseconds) noexcept {
#ifdef SYS_futex_waitv
    if (count > 1 && count <= kMostWaitedWords) {
        struct {
            std::uint64_t val, uaddr;
            std::uint32_t flags, reserved;
        } waiters[kMostWaitedWords];
        for (unsigned i = 0; i < count; ++i)
            waiters[i] = {words[i].expected, reinterpret_cast<std::uintptr_t>(words[i].word),
                          2u /* FUTEX_32 */ | static_cast<std::uint32_t>(words[i].scope), 0};
        timespec until{};
        clock_gettime(CLOCK_MONOTONIC, &until);
        const std::int64_t sum = until.tv_nsec + nanoseconds;
        until.tv_sec += sum / 1'000'000'000;
        until.tv_nsec = sum % 1'000'000'000;
        if (syscall(SYS_futex_waitv, waiters, count, 0, &until, CLOCK_MONOTONIC) >= 0 || errno != ENOSYS) return;
    }
#endif
    futex_wait(words[0].word, words[0].expected, count > 1 ? short_nanoseconds : nanoseconds, ~std::uint32_t{0}, words[0].scope);
}

}  // namespace treadle::platform
