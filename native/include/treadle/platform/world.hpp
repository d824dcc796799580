// platform/world.hpp: the worlds that native types run in.
//
// Every native type is a template on a World, which brings its atomics, its futex and its pause. The two real worlds
// differ in the scope of their futexes alone; a third, of model atomics, lives with the tests and runs the same code
// under systematic schedules.
#pragma once

#include <atomic>

#include "buckets.hpp"
#include "clock.hpp"
#include "futex.hpp"

namespace treadle::platform {

inline void cpu_pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

// Who sleeps on no futex, and is to be told when sleepers are woken: the tasks of event loops. Null: there are none.
using WakeHook = void (*)(const void* word, int count, std::uint32_t bits, FutexScope scope) noexcept;
inline constinit std::atomic<WakeHook> wake_hook{nullptr};

// How many threads sleep, or are about to, on words of this process alone, by bucket: where none does, waking costs no system
// call. Tasks of one event loop wake each other, and nobody else, at every turn.
inline constinit std::atomic<std::uint32_t> private_sleepers[kBuckets]{};
inline std::atomic<std::uint32_t>& private_sleepers_at(const void* word) noexcept {
    return private_sleepers[bucket_of(reinterpret_cast<std::uintptr_t>(word))];
}

template <FutexScope scope>
struct RealWorld {
    template <class T>
    using Atom = std::atomic<T>;

    static constexpr std::uint32_t kAllBits = ~std::uint32_t{0};
    static constexpr int kSpins = 60;  // pauses: about the length of one internal critical section

    static void wake(const void* word, int count, std::uint32_t bits = kAllBits) noexcept {
        if (WakeHook hook = wake_hook.load(std::memory_order_relaxed)) hook(word, count, bits, scope);
        else wake_threads(word, count, bits);
    }
    // Those who sleep on the futex alone; returns how many there were.
    static int wake_threads(const void* word, int count, std::uint32_t bits = kAllBits) noexcept {
        if constexpr (scope == FutexScope::process) {
            // SYNC sleep→wake (Dekker): the caller has changed the word before this fence, a sleeper counts itself before the
            // kernel compares the word. One of the two sees the other.
            fence();
            if (private_sleepers_at(word).load(std::memory_order_relaxed) == 0) return 0;
        }
        return futex_wake(word, count, bits, scope);
    }
    static FutexWait wait(const void* word, std::uint32_t expected, std::int64_t nanoseconds,
                          std::uint32_t bits = kAllBits) noexcept {
        if constexpr (scope == FutexScope::shared) return futex_wait(word, expected, nanoseconds, bits, scope);
        private_sleepers_at(word).fetch_add(1, std::memory_order_relaxed);
        fence();  // SYNC sleep→wake
        const FutexWait woken = futex_wait(word, expected, nanoseconds, bits, scope);
        private_sleepers_at(word).fetch_sub(1, std::memory_order_relaxed);
        return woken;
    }
    static void pause() noexcept { cpu_pause(); }
    static void fence() noexcept { std::atomic_thread_fence(std::memory_order_seq_cst); }
    static std::int64_t now_coarse() noexcept { return platform::now_coarse(); }
};

using SharedWorld = RealWorld<FutexScope::shared>;
using PrivateWorld = RealWorld<FutexScope::process>;

// Shared memory holds these atoms: no hidden locks, no padding.
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && sizeof(std::atomic<std::uint64_t>) == 8);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free && sizeof(std::atomic<std::uint32_t>) == 4);

}  // namespace treadle::platform
