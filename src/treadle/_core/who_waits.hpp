// who_waits.hpp: the lot of this process's tasks; whether tasks, or threads, wait at a word.
#pragma once

#include <atomic>
#include <cstdint>

#include "treadle/arena/mapping.hpp"
#include "treadle/platform/buckets.hpp"
#include "treadle/platform/threads.hpp"
#include "treadle/platform/world.hpp"
#include "treadle/tasks/doorbells.hpp"
#include "treadle/tasks/lot.hpp"

namespace treadle::core {

using arena::Mapping;
using platform::PrivateWorld;
using platform::SharedWorld;
using SharedDoorbells = tasks::Doorbells<SharedWorld>;

inline constinit tasks::Lot<PrivateWorld> lot;

// The arena that a word lies in; null: private memory.
inline Mapping* mapping_around(const void* word) noexcept {
    for (Mapping* m = Mapping::first(); m != nullptr; m = m->next())
        if (static_cast<std::uint64_t>(static_cast<const char*>(word) - m->base) < arena::kCapacity) return m;
    return nullptr;
}
inline std::uint32_t bucket_in(const Mapping* m, const void* word) noexcept {
    return platform::bucket_of(m == nullptr ? reinterpret_cast<std::uintptr_t>(word)
                                            : static_cast<std::uint64_t>(static_cast<const char*>(word) - m->base));
}

// Neither kind spins beside the other: who spins is faster than who is being woken, every time. Both hints are of this instant,
// and may be about another word of the bucket.

// The tasks, of this process or, in an arena, of any, that wait at a word.
class TasksAt {
public:
    TasksAt(Mapping* m, const void* word) noexcept : mapping_(m), bucket_(bucket_in(m, word)) {}
    bool any() const noexcept {
        return mapping_ == nullptr ? lot.waits_in(bucket_) : SharedDoorbells(mapping_->arena.header()).somebody_waits_in(bucket_);
    }

private:
    Mapping* mapping_;
    std::uint32_t bucket_;
};

// How many tasks stand in line for an object. Those of the process that this one was forked from do not.
struct TaskLine {
    std::uint32_t waiting = 0;
    std::uint64_t epoch = 0;

    std::uint32_t count() noexcept {
        if (epoch != platform::private_epoch) *this = {0, platform::private_epoch};
        return waiting;
    }
    std::uint64_t join() noexcept {
        waiting = count() + 1;
        return epoch;
    }
    void leave(std::uint64_t joined_in) noexcept {
        if (count() != 0 && joined_in == epoch) --waiting;
    }
};

// The threads that wait at words of this process alone, until they are served: asleep, or on their way back from there, which
// takes the interpreter. Tasks of shared objects do not spin at all.
inline constinit std::atomic<std::uint32_t> private_waiters[platform::kBuckets]{};

inline bool threads_wait_at(const void* word) noexcept {
    return private_waiters[bucket_in(nullptr, word)].load(std::memory_order_relaxed) != 0;
}

class ThreadWaits {
public:
    // Null: not at such a word.
    explicit ThreadWaits(const void* word) noexcept {
        if (word == nullptr) return;
        counted_ = &private_waiters[bucket_in(nullptr, word)];
        counted_->fetch_add(1, std::memory_order_relaxed);
    }
    ~ThreadWaits() {
        // A signal's handler may have forked: the child counts from zero.
        if (counted_ != nullptr && epoch_ == platform::private_epoch) counted_->fetch_sub(1, std::memory_order_relaxed);
    }
    ThreadWaits(const ThreadWaits&) = delete;
    ThreadWaits& operator=(const ThreadWaits&) = delete;

private:
    std::atomic<std::uint32_t>* counted_ = nullptr;
    std::uint64_t epoch_ = platform::private_epoch;
};

}  // namespace treadle::core
