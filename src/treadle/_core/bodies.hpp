// bodies.hpp: what each object consists of behind its header in the arena, or inside a private Python object.
//
// The same for both storages; only the futex's scope differs, which no layout shows.
#pragma once

#include <cstdint>

#include "treadle/arena/layout.hpp"
#include "treadle/platform/world.hpp"
#include "treadle/word/barrier.hpp"
#include "treadle/word/condition.hpp"
#include "treadle/word/event.hpp"
#include "treadle/word/latch.hpp"
#include "treadle/word/mutex.hpp"
#include "treadle/word/permits.hpp"
#include "treadle/word/roster.hpp"
#include "treadle/word/rwlock.hpp"
#include "treadle/word/semaphore.hpp"

namespace treadle::core {

using platform::PrivateWorld;
using platform::SharedWorld;
using word::Token;

// Who holds a lock, beside its word: written by the owner after it acquired, for reports only.
template <class World>
struct LockBody {
    word::Mutex<World> mutex;
    std::uint64_t holder;        // pid << 32 | thread id
    std::int64_t since;          // CLOCK_MONOTONIC_COARSE, ns
    std::uint32_t recursion;     // RLock: acquisitions beyond the first; the owner's
    char label[36];
};
static_assert(arena::kBlockHeader + sizeof(LockBody<SharedWorld>) == arena::kLockSlot);

template <class World>
struct SemaphoreBody {
    word::Semaphore<World> semaphore;
    std::uint32_t bound;    // no more permits than this; Semaphore::kMax: unbounded
    std::uint32_t initial;
    char label[52];
};

template <class World>
struct EventBody {
    word::Event<World> event;
    char label[52];
};

template <class World>
struct LatchBody {
    word::Latch<World> latch;
    std::uint32_t initial;
    char label[52];
};

// A cache line's length a seat: its worker writes it for each task.
template <class World>
struct SeatLine {
    word::Seat<World> seat;
    char apart[64 - sizeof(word::Seat<World>)];
};
template <class World>
struct RosterBody {
    word::Marks<World> marks;
    std::uint32_t seats;
    std::uint32_t unused;
    SeatLine<World>* lines() noexcept { return reinterpret_cast<SeatLine<World>*>(this + 1); }
};
static_assert(sizeof(RosterBody<SharedWorld>) % alignof(SeatLine<SharedWorld>) == 0);

// The writer's identity as in LockBody. The cells that it begins with just fill a slot of the arena.
inline constexpr std::uint32_t kFirstReaders = 5;
template <class World>
struct RWLockBody {
    word::RWLock<World> lock;
    std::uint64_t holder;
    std::int64_t since;
    char label[36];
    word::ReaderCell table[1 + kFirstReaders];
};
static_assert(arena::kBlockHeader + sizeof(RWLockBody<SharedWorld>) == 256);

// The tickets that a process has written, and that nobody has used yet, by their numbers (transit.hpp).
inline constexpr std::uint32_t kTransitPlaces = 500;
template <class World>
struct TransitBody {
    typename World::template Atom<std::uint64_t> outstanding[kTransitPlaces];  // 0: none
};
static_assert(arena::kBlockHeader + sizeof(TransitBody<SharedWorld>) <= 4096);

inline constexpr std::uint32_t kFirstPermitCells = 6;
template <class World>
struct PermitsBody {
    word::Permits<World> permits;
    std::uint32_t bound;
    std::uint32_t initial;
    char label[56];
    word::PermitCell table[1 + kFirstPermitCells];
};

inline constexpr std::uint32_t kFirstWaiters = 16;
template <class World>
struct ConditionBody {
    word::Condition<World> condition;
    char label[56];
    Token table[1 + kFirstWaiters];
};

template <class World>
struct BarrierBody {
    word::Barrier<World> barrier;
    char label[56];
    word::BarrierCell cells[1];  // as many as there are parties
};

}  // namespace treadle::core
