// ring/bell.hpp: where those sleep who wait for a queue's other end, and how they are woken.
//
// Promise: no wake-up is lost, and none costs a system call while nobody sleeps. Who will sleep announces itself, then
// looks once more at what it waits for; who changes that publishes it, then rings. Both are sequentially consistent, so
// that at least one of the two sees the other (Dekker). Parks are bounded, so a death between the two strands nobody.
//
//   word  31..1 count of rings | 0 WAITERS: somebody may be asleep
//
// A ring for one takes away what the others have set as well, until the one woken has been served and announces them.
#pragma once

#include <atomic>
#include <cstdint>

#include "../word/attempt.hpp"

namespace treadle::ring {

template <class World>
class Bell {
public:
    const void* futex() const noexcept { return &word_; }

    // Returns what the futex holds while nobody rings. A caller that only spins leaves no mark.
    std::uint32_t announce(const word::Wait& wait) noexcept {
        if (!wait.announce) return word_.load(std::memory_order_relaxed);
        return word_.fetch_or(kWaiters, std::memory_order_seq_cst) | kWaiters;
    }
    void announce_others() noexcept { word_.fetch_or(kWaiters, std::memory_order_seq_cst); }

    // Something came about that serves `count` sleepers.
    void ring(std::uint32_t count) noexcept {
        std::uint32_t now = word_.load(std::memory_order_seq_cst);
        while ((now & kWaiters) != 0) {
            if (word_.compare_exchange_weak(now, (now + 2) & ~kWaiters, std::memory_order_seq_cst)) {
                wake(static_cast<int>(count));
                return;
            }
        }
    }
    // Something came about that concerns every sleeper, announced or not (any more).
    void ring_for_all() noexcept {
        word_.fetch_add(2, std::memory_order_seq_cst);
        wake(word::kWakeAll);
    }
    void wake(int count) noexcept { World::wake(&word_, count); }

private:
    static constexpr std::uint32_t kWaiters = 1;

    typename World::template Atom<std::uint32_t> word_;
};

}  // namespace treadle::ring
