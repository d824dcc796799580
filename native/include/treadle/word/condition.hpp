// word/condition.hpp: a condition variable's waiters, in order of arrival.
//
// Promise: between threads and processes; robust; notify(n) releases exactly n *live* waiters or all there are (a dead or
// cancelled one is passed over, not counted), the longest-waiting first; nobody else is released. The lock that goes with it is the caller's
// affair: enlist while holding it, release it, wait, acquire it again.
//
// State: tickets. A waiter enlists at `tail_` and is released once `head_` has passed its ticket. Cell ticket % capacity
// holds the waiter's token, kNobody once it has given up. FIFO, so `head_` alone says who is released.
//
//   enlist                         death here                notify                       death here
//   cell = me                      not enlisted              head_ past the next live      that one is released; it looks
//   tail_ + 1   (publish)          a dead waiter, passed     waiter   (publish)            again within a bounded park
//                                  over by notify            leave, wake                   the same
//   cell = nobody (cancel)         given up
//
// Waits that time out leave holes, which notify sweeps away. When the table is full of them a newcomer takes one over (and
// with it an earlier place than it is due), so that polling waiters beside a sleeping one do not make the table grow.
//
// A notification whose receiver dies after it was released is spent, as with POSIX condition variables.
// Sleepers share one futex word and are told apart by 32 wake bits, so a notify may wake one sleeper in 32 beside the
// one it means; that one looks and sleeps again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "attempt.hpp"
#include "mutex.hpp"

namespace treadle::word {

template <class World>
class Condition {
public:
    // A table is 1 + capacity words, capacity a power of two: its capacity, then the cells. It lies in the same mapping as
    // this object, and is replaced as one: by one store.
    static constexpr std::size_t table_words(std::uint32_t capacity) noexcept { return 1 + capacity; }

    void initialise(Token* table, std::uint32_t capacity) noexcept {
        table[0] = capacity;
        table_at_ = distance(table);
        capacity_.store(capacity, std::memory_order_relaxed);
    }

    std::uint32_t waiting() const noexcept {
        const std::uint32_t head = head_.load(std::memory_order_acquire);  // first: the difference is never negative
        return tail_.load(std::memory_order_acquire) - head;
    }
    // Of the table, or of the one that is about to replace it. Needs no section: it does not touch the table.
    std::uint32_t capacity() const noexcept { return capacity_.load(std::memory_order_relaxed); }
    Token* table() noexcept { return reinterpret_cast<Token*>(reinterpret_cast<char*>(this) + table_at_); }

    // done, blocked (on the section only), or no_room: then call attempt_grow.
    template <class Who>
    Result attempt_enlist(Who& who, std::uint32_t& ticket, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - head_.load(std::memory_order_relaxed) == room()) {
            const bool found = take_over_hole(who, ticket);
            mutex_.release();
            return found ? Result::done : Result::no_room;
        }
        cell(tail) = who.token;
        ticket = tail;
        tail_.store(tail + 1, std::memory_order_release);
        mutex_.release();
        return Result::done;
    }

    // done: released; blocked: not yet.
    Result attempt_wait(std::uint32_t ticket, Wait& wait) noexcept {
        const std::uint32_t head = head_.load(std::memory_order_acquire);  // SYNC notify→wait
        if (static_cast<std::int32_t>(head - ticket) > 0) return Result::done;
        return wait.on(&head_, head, bit(ticket));
    }

    // Gives up waiting. done: it was not released before and will not be; gone: it had been released already.
    template <class Who>
    Result attempt_cancel(Who& who, std::uint32_t ticket, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const bool released = static_cast<std::int32_t>(head_.load(std::memory_order_relaxed) - ticket) > 0;
        if (!released) {
            cell(ticket) = kNobody;
            // Holes at the end are nobody's place in the queue: the next to come may have the ticket.
            std::uint32_t tail = tail_.load(std::memory_order_relaxed);
            while (tail != head_.load(std::memory_order_relaxed) && cell(tail - 1) == kNobody) --tail;
            tail_.store(tail, std::memory_order_release);
        }
        mutex_.release();
        return released ? Result::gone : Result::done;
    }

    // Releases up to `count` live waiters; `released` says how many.
    template <class Who>
    Result attempt_notify(Who& who, std::uint32_t count, std::uint32_t& released, Wait& wait) noexcept {
        released = 0;
        if (waiting() == 0) return Result::done;  // whoever may call this holds the lock that waiters enlist under
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        std::uint32_t head = head_.load(std::memory_order_relaxed);
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
        std::uint32_t bits = 0;
        for (; head != tail && released < count; ++head) {
            const Token waiter = cell(head);
            if (waiter == kNobody || (waiter != who.token && !who.alive(waiter))) continue;
            bits |= bit(head);
            ++released;
        }
        head_.store(head, std::memory_order_release);  // SYNC notify→wait
        mutex_.release();
        if (bits != 0) World::wake(&head_, kWakeAll, bits);
        return Result::done;
    }

    // Moves the cells to a larger table; `old` receives the former. done, blocked, or overflow (it is not larger).
    template <class Who>
    Result attempt_grow(Who& who, Token* larger, std::uint32_t capacity, Token*& old, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        if (capacity <= room()) {
            mutex_.release();
            return Result::overflow;
        }
        larger[0] = capacity;
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
        for (std::uint32_t t = head_.load(std::memory_order_relaxed); t != tail; ++t)
            larger[1 + (t & (capacity - 1))] = cell(t);
        old = table();
        capacity_.store(capacity, std::memory_order_relaxed);  // first: who finds no room must ask for more than there is
        std::atomic_signal_fence(std::memory_order_seq_cst);   // one store publishes the filled table
        table_at_ = distance(larger);
        mutex_.release();
        return Result::done;
    }

private:
    static constexpr std::uint32_t bit(std::uint32_t ticket) noexcept { return 1u << (ticket & 31); }

    std::uint32_t room() noexcept { return static_cast<std::uint32_t>(table()[0]); }
    Token& cell(std::uint32_t ticket) noexcept { return table()[1 + (ticket & (room() - 1))]; }

    template <class Who>
    bool take_over_hole(Who& who, std::uint32_t& ticket) noexcept {
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
        for (std::uint32_t t = head_.load(std::memory_order_relaxed); t != tail; ++t) {
            if (cell(t) != kNobody && (cell(t) == who.token || who.alive(cell(t)))) continue;
            cell(t) = who.token;
            ticket = t;
            return true;
        }
        return false;
    }

    std::int64_t distance(const Token* table) const noexcept {
        return reinterpret_cast<const char*>(table) - reinterpret_cast<const char*>(this);
    }

    Mutex<World> mutex_;
    typename World::template Atom<std::uint32_t> head_;
    typename World::template Atom<std::uint32_t> tail_;
    std::int64_t table_at_;  // relative to this object
    typename World::template Atom<std::uint32_t> capacity_;
};

}  // namespace treadle::word
