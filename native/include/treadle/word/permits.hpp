// word/permits.hpp: a semaphore that knows who holds its permits, and takes back those of the dead.
//
// Promise: between processes; robust; a permit is held by a *process* (any of its threads may release it, and so may
// another process, as with the standard library's semaphores). Costs two owner-word operations more than
// word/semaphore.hpp.
//
// State: a table of {holder, count} cells, `total` permits in all. Primary: the cells and total. Derived: free_, which is
// total less what the cells hold; after a death inside the critical section it is computed anew.
//
//   step of acquire              death here                 step of release            death here
//   enter the section            nothing happened           enter                      nothing happened
//   cell.holder = me             an empty cell              cell.count - 1  (publish)  released
//   cell.count + 1  (publish)    permit held by the dead:   free_ + 1, leave, wake     recomputed; parks are bounded
//   free_ - 1, leave             reclaim() gives it back
#pragma once

#include <atomic>
#include <cstdint>

#include "attempt.hpp"
#include "mutex.hpp"

namespace treadle::word {

struct PermitCell {
    Token holder;  // kNobody: unused
    std::uint32_t count;
    std::uint32_t unused;
};

template <class World>
class Permits {
public:
    static constexpr std::uint32_t kWaiters = 1, kMax = 0x7fffffff;

    // A table is 1 + capacity zeroed cells: the first one's `holder` is the capacity. It lies in the same mapping as this
    // object, and is replaced as one: by one store.
    static constexpr std::uint32_t table_cells(std::uint32_t capacity) noexcept { return 1 + capacity; }

    void initialise(std::uint32_t permits, std::uint32_t bound, PermitCell* table, std::uint32_t capacity) noexcept {
        total_ = permits;
        bound_ = bound;
        free_.store(permits, std::memory_order_relaxed);
        table[0].holder = capacity;
        table_at_ = distance(table);
        capacity_.store(capacity, std::memory_order_relaxed);
    }

    const void* futex() const noexcept { return &gate_; }
    std::uint32_t value() const noexcept { return free_.load(std::memory_order_relaxed); }
    // Of the table, or of the one that is about to replace it. Needs no section: it does not touch the table.
    std::uint32_t capacity() const noexcept { return capacity_.load(std::memory_order_relaxed); }
    PermitCell* table() noexcept { return reinterpret_cast<PermitCell*>(reinterpret_cast<char*>(this) + table_at_); }

    // done, blocked (the section is taken), empty (no permit), or no_room (then call grow). `home` is the token under which this process holds permits.
    // `dead` receives a holder whose permits came back in this call, else kNobody.
    template <class Who>
    Result attempt_acquire(Who& who, Token home, Token& dead, Wait& wait) noexcept {
        dead = kNobody;
        const Result entered = enter(who, wait);
        if (entered == Result::blocked) return entered;
        std::uint32_t free = free_.load(std::memory_order_relaxed);
        if (free == 0 && who.look) {
            dead = reclaim(who, home);
            free = free_.load(std::memory_order_relaxed);
        }
        if (free == 0) return park(wait);
        // As in word/semaphore.hpp: who slept announces the others again, and passes on what is left.
        const bool parked = wait.slept_at_gate;
        if (parked) gate_.fetch_or(kWaiters, std::memory_order_relaxed);
        PermitCell* cell = cell_of(home);
        if (cell == nullptr) {
            mutex_.release();
            if (parked) World::wake(&gate_, 1);  // it may be long until this one comes back, or it never does
            return Result::no_room;
        }
        cell->holder = home;
        publish(cell->count, cell->count + 1);
        free_.store(free - 1, std::memory_order_relaxed);
        mutex_.release();
        if (parked && free > 1) World::wake(&gate_, 1);
        return Result::done;
    }

    // done, blocked, or overflow.
    template <class Who>
    Result attempt_release(Who& who, Token home, std::uint32_t count, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        std::uint32_t held = total_ - free_.load(std::memory_order_relaxed);
        const std::uint32_t beyond = count > held ? count - held : 0;
        if (beyond != 0 && (beyond > bound_ || total_ > bound_ - beyond)) {
            mutex_.release();
            return Result::overflow;
        }
        std::uint32_t left = count - beyond;
        for (int pass = 0; pass < 2 && left != 0; ++pass) {  // one's own first, then on behalf of others
            for (std::uint32_t i = 0; i < room() && left != 0; ++i) {
                PermitCell& cell = this->cell(i);
                if (pass == 0 && cell.holder != home) continue;
                const std::uint32_t step = cell.count < left ? cell.count : left;
                publish(cell.count, cell.count - step);
                left -= step;
            }
        }
        if (beyond != 0) publish(total_, total_ + beyond);
        recount();
        const std::uint32_t gate = gate_.load(std::memory_order_relaxed);
        gate_.store((gate + 2) & ~kWaiters, std::memory_order_release);
        mutex_.release();
        if (gate & kWaiters) World::wake(&gate_, static_cast<int>(count));
        return Result::done;
    }

    // Moves the cells to a larger zeroed table; `old` receives the former. blocked, done, or overflow (it is not larger).
    template <class Who>
    Result attempt_grow(Who& who, PermitCell* larger, std::uint32_t capacity, PermitCell*& old, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        if (capacity <= room()) {
            mutex_.release();
            return Result::overflow;
        }
        larger[0].holder = capacity;
        for (std::uint32_t i = 0; i < room(); ++i) larger[1 + i] = cell(i);
        old = table();
        capacity_.store(capacity, std::memory_order_relaxed);  // first: who finds no room must ask for more than there is
        std::atomic_signal_fence(std::memory_order_seq_cst);   // one store publishes the filled table
        table_at_ = distance(larger);
        mutex_.release();
        return Result::done;
    }

private:
    template <class Who>
    Result enter(Who& who, Wait& wait) noexcept {
        const Result entered = mutex_.attempt_enter(who, wait);
        if (entered == Result::owner_died) recount();
        return entered;
    }

    Result park(Wait& wait) noexcept {
        if (wait.announce) gate_.fetch_or(kWaiters, std::memory_order_relaxed);
        const std::uint32_t gate = gate_.load(std::memory_order_relaxed);
        mutex_.release();
        return wait.at_gate(&gate_, gate, Result::empty);
    }

    std::uint32_t room() noexcept { return static_cast<std::uint32_t>(table()[0].holder); }
    PermitCell& cell(std::uint32_t index) noexcept { return table()[1 + index]; }

    std::int64_t distance(const PermitCell* table) const noexcept {
        return reinterpret_cast<const char*>(table) - reinterpret_cast<const char*>(this);
    }

    void recount() noexcept {
        std::uint32_t held = 0;
        for (std::uint32_t i = 0; i < room(); ++i) held += cell(i).count;
        free_.store(total_ - held, std::memory_order_relaxed);
    }

    PermitCell* cell_of(Token home) noexcept {
        PermitCell* spare = nullptr;
        for (std::uint32_t i = 0; i < room(); ++i) {
            PermitCell& cell = this->cell(i);
            if (cell.holder == home) return &cell;
            if (spare == nullptr && cell.count == 0) spare = &cell;
        }
        return spare;
    }

    // Gives back what the dead hold; one holder per call, so that each is reported.
    template <class Who>
    Token reclaim(Who& who, Token home) noexcept {
        for (std::uint32_t i = 0; i < room(); ++i) {
            PermitCell& cell = this->cell(i);
            if (cell.count == 0 || cell.holder == home || who.alive(cell.holder)) continue;
            const Token dead = cell.holder;
            publish(cell.count, 0);
            recount();
            return dead;
        }
        return kNobody;
    }

    // A store that is the publication of its step: nothing before it may be moved behind it. (The section's mutex orders
    // it for the living; this is for a death at the next instruction.)
    static void publish(std::uint32_t& cell, std::uint32_t value) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        *static_cast<volatile std::uint32_t*>(&cell) = value;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    Mutex<World> mutex_;
    typename World::template Atom<std::uint32_t> free_;
    typename World::template Atom<std::uint32_t> gate_;  // 31..1 releases, 0 WAITERS: what the blocked park on
    std::uint32_t total_;
    std::uint32_t bound_;
    std::int64_t table_at_;  // relative to this object
    typename World::template Atom<std::uint32_t> capacity_;
};

}  // namespace treadle::word
