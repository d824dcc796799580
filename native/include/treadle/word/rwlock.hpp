// word/rwlock.hpp: a readers-writer lock that knows its readers.
//
// Promise: between threads and processes; many read or one writes; robust: a reader that dies is forgotten by whoever
// waits for it (it changed nothing), a writer that dies leaves the lock inconsistent, as in word/mutex.hpp. Each operation
// is a short section, so an uncontended lock and unlock is four compare-and-swaps to read and six to write, no system call.
//
// Phase-fair but for the order of writers among themselves, after B. Brandenburg and J. Anderson, "Reader-writer
// synchronization for shared-memory multiprocessor real-time systems" (ECRTS 2009): who waits to read is let in by the
// next release of a writer, before any other writer; and while a writer waits, who comes to read waits. So a reader waits
// for one writer at most from when it parks, a writer for those who read already. Departures: writers are not queued but
// barge (a handoff to a sleeper would make each contended release cost a context switch); a reader that reads already is
// not held up (`nested`), since the writer would wait for it and it for the writer.
//
// State: writer (an owner word), the claim (the writer for whom newcomers are kept out), a table of reader cells, all
// changed inside the section. R: what the cells read in all, E: what is enlisted in them, that is waits to read.
//
//   writer        R     claim  state          leaves it by
//   free          0     none   free           read -> reading; write -> writing
//   free          > 0   none   reading        the last reader leaves -> free; a writer parks -> draining
//   free          > 0   t      draining       readers enlist; the last leaves: one writer is woken -> claimed;
//                                             t gives up or is found dead: all enlisted are admitted -> reading
//   free          0     t      claimed        any writer enters -> writing; t gives up -> as above
//   held          0     *      writing        readers enlist; release: all enlisted are admitted -> reading, draining, or
//                                             free, claimed; the owner dies -> inconsistent
//   inconsistent  0     *      inconsistent   recover -> recovering; adopted by a writer -> writing, by a reader -> reading
//   recovering    0     *      recovering     restore -> as a release; release or death -> inconsistent
//
// Invariants. writer != free implies that no living reader is in. The claim keeps newcomers out, and no writer. Primary:
// writer, cells, phase. Derived: R and E, computed anew after a death in the section.
//
//   step of read              death here                     step of a writer's release    death here
//   enter the section         nothing happened               enter                         inconsistent
//   cell.holder = me          an empty cell                  writer = free  (publish)      released; who enters next admits
//   reading + 1  (publish)    read by the dead: reclaimed    each cell: enlisted -> read     all enlisted, which is allowed
//                             by who waits for it              (publish, one by one)         wherever the writer is free
//   R + 1, leave              R is recomputed                phase + 1, leave, wake        the same; parks are bounded
//
// An enlisted reader keeps the phase at which it enlisted: once that is over, it is in, and needs no section to know.
//
// Limits. A writer's death that a reader finds and adopts is known to that reader alone: if it dies as well before it has
// said so, nobody is told. A thread's cell is searched for: an operation beside n readers costs up to n comparisons. A
// reader that sleeps through exactly 2^32 phases within one bounded park would miss them.
#pragma once

#include <atomic>
#include <cstdint>

#include "attempt.hpp"
#include "mutex.hpp"

namespace treadle::word {

struct ReaderCell {
    Token holder;          // kNobody: never used
    std::uint64_t counts;  // 63..32 enlisted, 31..0 reading: one store changes both
};

// What a reader keeps from one attempt to the next.
struct ReadTicket {
    bool enlisted = false;
    std::uint32_t phase = 0;
};

// What to do about a writer that died: say so, take the lock as it is, or take it and leave it marked (recovering).
enum class OnDeath { report, adopt, mark };

template <class World>
class RWLock {
public:
    // A table is 1 + capacity zeroed cells: the first one's `holder` is the capacity. It lies in the same mapping as this
    // object, and is replaced as one: by one store.
    static constexpr std::uint32_t table_cells(std::uint32_t capacity) noexcept { return 1 + capacity; }

    void initialise(ReaderCell* table, std::uint32_t capacity) noexcept {
        table[0].holder = capacity;
        table_at_ = distance(table);
        capacity_.store(capacity, std::memory_order_relaxed);
    }

    // What needs no section: the writer, and how many read, the dead among them.
    const Mutex<World>& writer() const noexcept { return writer_; }
    std::uint32_t reading() const noexcept { return reading_.load(std::memory_order_relaxed); }
    // Of the table, or of the one that is about to replace it: it does not touch the table.
    std::uint32_t capacity() const noexcept { return capacity_.load(std::memory_order_relaxed); }
    ReaderCell* table() noexcept { return reinterpret_cast<ReaderCell*>(reinterpret_cast<char*>(this) + table_at_); }

    // done, blocked, no_room (then grow, and attempt again), owner_died or inconsistent (unless `on_death` adopts: then
    // `dead` receives the writer that died). `me` is who reads from now on. `nested`: who reads already, or has the claim,
    // is not kept out. Whoever gives up between two attempts must cancel.
    template <class Who>
    Result attempt_read(Who& who, Token me, bool nested, OnDeath on_death, ReadTicket& ticket, Token& dead, Wait& wait) noexcept {
        dead = kNobody;
        if (was_admitted(ticket)) return Result::done;
        if (only_spins(who, wait) && writer_.held()) return wait.at_gate(&readers_gate_, 0, Result::blocked);
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        if (was_admitted(ticket)) return leave(Result::done, wakes);
        const Result state = judge_writer(who, wakes);
        const bool ownerless = state == Result::owner_died || state == Result::inconsistent;
        if (ownerless && on_death == OnDeath::report) {
            if (ticket.enlisted) delist(me, ticket);
            return leave(state, wakes);
        }
        ReaderCell* cell = cell_for(who, me, wakes);
        if (cell == nullptr) return leave(Result::no_room, wakes);
        if (ownerless) {
            dead = writer_.owner();
            admit(*cell, me, ticket);
            writer_.reinitialise();  // publish: consistent
            admit_enlisted(wakes);
            return leave(Result::done, wakes);
        }
        if (who.look && claim_ != kNobody && claim_ != me && !who.alive(claim_)) {
            drop_claim(wakes);
            if (was_admitted(ticket)) return leave(Result::done, wakes);
        }
        const bool reads = reading_of(cell->counts) != 0;
        if (state == Result::done && (claim_ == kNobody || (nested && (reads || claim_ == me)))) {
            admit(*cell, me, ticket);
            return leave(Result::done, wakes);
        }
        if (wait.announce) {
            if (!ticket.enlisted) {
                cell->holder = me;
                publish(cell->counts, cell->counts + kEnlisted);
                enlisted_ = enlisted_ + 1;
                ticket = {true, phase_.load(std::memory_order_relaxed)};
            }
            readers_gate_.fetch_or(kWaiters, std::memory_order_relaxed);
        }
        const std::uint32_t gate = readers_gate_.load(std::memory_order_relaxed);
        leave(Result::blocked, wakes);
        return wait.at_gate(&readers_gate_, gate, Result::blocked);
    }

    // Gives up waiting to read. done: it is not in; gone: it has been let in already.
    template <class Who>
    Result attempt_cancel_read(Who& who, Token me, ReadTicket& ticket, Wait& wait) noexcept {
        if (!ticket.enlisted) return Result::done;
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        if (was_admitted(ticket)) return leave(Result::gone, wakes);
        delist(me, ticket);
        return leave(Result::done, wakes);
    }

    // done, blocked, or not_held.
    template <class Who>
    Result attempt_end_read(Who& who, Token me, Wait& wait) noexcept {
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        ReaderCell* cell = cell_of(me);
        if (cell == nullptr || reading_of(cell->counts) == 0) return leave(Result::not_held, wakes);
        publish(cell->counts, cell->counts - 1);
        const std::uint32_t left = reading() - 1;
        reading_.store(left, std::memory_order_relaxed);
        if (left == 0 && ring(writers_gate_)) wakes.writers = 1;
        return leave(Result::done, wakes);
    }

    // done, blocked, owner_died or inconsistent (unless `on_death` takes the lock all the same: then `dead` receives the
    // writer that died). Whoever gives up between two attempts must cancel.
    template <class Who>
    Result attempt_write(Who& who, Token me, OnDeath on_death, Token& dead, Wait& wait) noexcept {
        dead = kNobody;
        if (only_spins(who, wait) && (writer_.held() || reading() != 0)) return wait.at_gate(&writers_gate_, 0, Result::blocked);
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        const Result state = judge_writer(who, wakes);
        const bool ownerless = state == Result::owner_died || state == Result::inconsistent;
        if (ownerless && on_death == OnDeath::report) {
            if (claim_ == me) claim_ = kNobody;
            return leave(state, wakes);
        }
        if (reading() != 0 && who.look) reclaim(who, wakes);
        if (reading() == 0 && state != Result::blocked) {
            if (ownerless) {
                dead = writer_.owner();
                writer_.recover(me, on_death == OnDeath::mark);
            } else {
                writer_.try_acquire(me);
            }
            if (claim_ == me) claim_ = kNobody;
            // As in word/semaphore.hpp: who slept announces the others again.
            if (wait.slept_at_gate) writers_gate_.fetch_or(kWaiters, std::memory_order_relaxed);
            return leave(Result::done, wakes);
        }
        if (wait.announce) {
            if (claim_ == kNobody || (who.look && claim_ != me && !who.alive(claim_))) claim_ = me;
            writers_gate_.fetch_or(kWaiters, std::memory_order_relaxed);
        }
        const std::uint32_t gate = writers_gate_.load(std::memory_order_relaxed);
        leave(Result::blocked, wakes);
        return wait.at_gate(&writers_gate_, gate, Result::blocked);
    }

    // Gives up waiting to write: done.
    template <class Who>
    Result attempt_cancel_write(Who& who, Token me, Wait& wait) noexcept {
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        if (claim_ == me) drop_claim(wakes);
        return leave(Result::done, wakes);
    }

    // done, blocked, or not_held. A recovery that is not restored has repaired nothing: inconsistent.
    template <class Who>
    Result attempt_end_write(Who& who, Token me, Wait& wait) noexcept {
        return end_write(who, me, wait, [this] { return writer_.release(); });
    }

    // recovering -> free: the caller has repaired what the lock guards.
    template <class Who>
    Result attempt_restore(Who& who, Token me, Wait& wait) noexcept {
        return end_write(who, me, wait, [this, me] { return writer_.restore(me); });
    }

    // How many reads `me` holds. done or blocked.
    template <class Who>
    Result attempt_count_of(Who& who, Token me, std::uint32_t& reads, Wait& wait) noexcept {
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        const ReaderCell* cell = cell_of(me);
        reads = cell == nullptr ? 0 : reading_of(cell->counts);
        return leave(Result::done, wakes);
    }

    // How many reads the living hold. done or blocked.
    template <class Who>
    Result attempt_count(Who& who, std::uint32_t& reads, Wait& wait) noexcept {
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        reads = 0;
        for (std::uint32_t i = 0; i < room(); ++i) {
            const std::uint32_t held = reading_of(cell(i).counts);
            if (held != 0 && (cell(i).holder == who.token || who.alive(cell(i).holder))) reads += held;
        }
        return leave(Result::done, wakes);
    }

    // Moves the cells to a larger zeroed table; `old` receives the former. blocked, done, or overflow (it is not larger).
    template <class Who>
    Result attempt_grow(Who& who, ReaderCell* larger, std::uint32_t capacity, ReaderCell*& old, Wait& wait) noexcept {
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        if (capacity <= room()) return leave(Result::overflow, wakes);
        larger[0].holder = capacity;
        for (std::uint32_t i = 0; i < room(); ++i) larger[1 + i] = cell(i);
        old = table();
        capacity_.store(capacity, std::memory_order_relaxed);  // first: who finds no room must ask for more than there is
        std::atomic_signal_fence(std::memory_order_seq_cst);   // one store publishes the filled table
        table_at_ = distance(larger);
        return leave(Result::done, wakes);
    }

private:
    static constexpr std::uint32_t kWaiters = 1;
    static constexpr std::uint64_t kEnlisted = std::uint64_t{1} << 32;
    static constexpr std::uint32_t reading_of(std::uint64_t counts) noexcept { return static_cast<std::uint32_t>(counts); }
    static constexpr std::uint32_t enlisted_of(std::uint64_t counts) noexcept { return static_cast<std::uint32_t>(counts >> 32); }

    // Whom to wake once the section is left.
    struct Wakes {
        bool readers = false;
        int writers = 0;
    };

    template <class Who>
    Result enter(Who& who, Wait& wait, Wakes& wakes) noexcept {
        const Result entered = mutex_.attempt_enter(who, wait);
        if (entered != Result::owner_died) return entered;
        recount();
        if (writer_.peek() == 0) admit_enlisted(wakes);  // the dead may have been about it
        return Result::done;
    }
    Result leave(Result result, const Wakes& wakes) noexcept {
        mutex_.release();
        if (wakes.readers) World::wake(&readers_gate_, kWakeAll);
        if (wakes.writers != 0) World::wake(&writers_gate_, wakes.writers);
        return result;
    }
    // Whether somebody may sleep at the gate. Whoever has not yet gone to sleep there does not do so now.
    template <class Gate>
    static bool ring(Gate& gate) noexcept {
        const std::uint32_t word = gate.load(std::memory_order_relaxed);
        gate.store((word + 2) & ~kWaiters, std::memory_order_release);
        return (word & kWaiters) != 0;
    }

    // A caller that will not park, and has no reason to look, keeps away from the section while it has no chance.
    template <class Who>
    static bool only_spins(const Who& who, const Wait& wait) noexcept {
        return !wait.announce && !who.look;
    }

    bool was_admitted(ReadTicket& ticket) noexcept {
        if (!ticket.enlisted || phase_.load(std::memory_order_acquire) == ticket.phase) return false;  // SYNC admit→read
        ticket.enlisted = false;
        return true;
    }

    // done: there is none; blocked: one is in; inconsistent, or owner_died: found by this call.
    template <class Who>
    Result judge_writer(Who& who, Wakes& wakes) noexcept {
        if (writer_.peek() == 0) return Result::done;
        Wait unused;
        unused.announce = false;
        const Result state = writer_.attempt_acquire(who, unused);
        if (state == Result::owner_died) wake_all(wakes);
        return state;
    }
    void wake_all(Wakes& wakes) noexcept {
        if (ring(readers_gate_)) wakes.readers = true;
        if (ring(writers_gate_)) wakes.writers = kWakeAll;
    }

    template <class Who, class End>
    Result end_write(Who& who, Token me, Wait& wait, End end) noexcept {
        Wakes wakes;
        if (enter(who, wait, wakes) == Result::blocked) return Result::blocked;
        const std::uint64_t word = writer_.peek();
        if (!Mutex<World>::is_held_by(word, me)) return leave(Result::not_held, wakes);
        const Result ended = end();
        if (writer_.peek() != 0) {
            wake_all(wakes);
        } else {
            serve_waiting(wakes);
        }
        return leave(ended, wakes);
    }

    // The writer is gone: those who wait to read go first, and a writer comes to claim the time after them.
    void serve_waiting(Wakes& wakes) noexcept {
        if (enlisted_ != 0) admit_enlisted(wakes);
        if (wakes.writers == 0 && ring(writers_gate_)) wakes.writers = 1;
    }
    void drop_claim(Wakes& wakes) noexcept {
        claim_ = kNobody;
        if (writer_.peek() == 0) serve_waiting(wakes);
    }

    void admit(ReaderCell& cell, Token me, ReadTicket& ticket) noexcept {
        cell.holder = me;
        publish(cell.counts, cell.counts + 1 - (ticket.enlisted ? kEnlisted : 0));
        if (ticket.enlisted) enlisted_ = enlisted_ - 1;
        ticket.enlisted = false;
        reading_.store(reading() + 1, std::memory_order_relaxed);
    }
    void delist(Token me, ReadTicket& ticket) noexcept {
        ticket.enlisted = false;
        ReaderCell* cell = cell_of(me);
        // In a child of fork whoever found a task of the parent's dead has reclaimed its cell.
        if (cell == nullptr || enlisted_of(cell->counts) == 0) return;
        publish(cell->counts, cell->counts - kEnlisted);
        enlisted_ = enlisted_ - 1;
    }
    // Only where the writer is free: so that whoever enters after a death in here may do it again.
    void admit_enlisted(Wakes& wakes) noexcept {
        for (std::uint32_t i = 0; i < room(); ++i)
            if (const std::uint64_t counts = cell(i).counts; enlisted_of(counts) != 0)
                publish(cell(i).counts, reading_of(counts) + enlisted_of(counts));
        recount();
        phase_.store(phase_.load(std::memory_order_relaxed) + 1, std::memory_order_release);  // SYNC admit→read
        if (ring(readers_gate_)) wakes.readers = true;
    }

    template <class Who>
    bool reclaim(Who& who, Wakes& wakes) noexcept {
        bool found = false;
        for (std::uint32_t i = 0; i < room(); ++i) {
            if (cell(i).counts == 0 || cell(i).holder == who.token || who.alive(cell(i).holder)) continue;
            publish(cell(i).counts, 0);
            found = true;
        }
        if (!found) return false;
        recount();
        if (reading() == 0 && ring(writers_gate_)) wakes.writers = 1;
        return true;
    }

    ReaderCell* cell_of(Token me) noexcept {
        for (std::uint32_t i = 0; i < room(); ++i)
            if (cell(i).holder == me) return &cell(i);
        return nullptr;
    }
    // One's own, or one that is not used. Readers that died may be all that fills the table: nobody else need ever look.
    template <class Who>
    ReaderCell* cell_for(Who& who, Token me, Wakes& wakes) noexcept {
        do {
            ReaderCell* spare = nullptr;
            for (std::uint32_t i = 0; i < room(); ++i) {
                if (cell(i).holder == me) return &cell(i);
                if (spare == nullptr && cell(i).counts == 0) spare = &cell(i);
            }
            if (spare != nullptr) return spare;
        } while (reclaim(who, wakes));
        return nullptr;
    }

    std::uint32_t room() noexcept { return static_cast<std::uint32_t>(table()[0].holder); }
    ReaderCell& cell(std::uint32_t index) noexcept { return table()[1 + index]; }
    std::int64_t distance(const ReaderCell* table) const noexcept {
        return reinterpret_cast<const char*>(table) - reinterpret_cast<const char*>(this);
    }

    void recount() noexcept {
        std::uint32_t reads = 0, enlisted = 0;
        for (std::uint32_t i = 0; i < room(); ++i) {
            reads += reading_of(cell(i).counts);
            enlisted += enlisted_of(cell(i).counts);
        }
        reading_.store(reads, std::memory_order_relaxed);
        enlisted_ = enlisted;
    }

    // A store that is the publication of its step: nothing before it may be moved behind it. (The section's mutex orders
    // it for the living; this is for a death at the next instruction.)
    static void publish(std::uint64_t& counts, std::uint64_t value) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        *static_cast<volatile std::uint64_t*>(&counts) = value;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    Mutex<World> mutex_;   // the section
    Mutex<World> writer_;  // changed in the section only; nobody parks on it
    Token claim_;
    typename World::template Atom<std::uint32_t> phase_;  // how often enlisted readers were admitted
    typename World::template Atom<std::uint32_t> readers_gate_, writers_gate_;  // 31..1 events, 0 WAITERS
    typename World::template Atom<std::uint32_t> reading_;
    std::uint32_t enlisted_;
    typename World::template Atom<std::uint32_t> capacity_;
    std::int64_t table_at_;  // relative to this object
};

}  // namespace treadle::word
