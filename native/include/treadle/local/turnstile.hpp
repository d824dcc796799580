// local/turnstile.hpp: who may put into and take out of a queue of one process, and who must wait: all of a queue but its
// items.
//
// Promise: thread-safe; linearizable inside its section; truthful counts; not fair (a running thread may pass one that is
// being woken). Of one process: nobody dies alone in it, but in the child of a fork the section's owner may not exist.
// Every field is sound at every instant, so such a section is simply taken over.
//
// `Section` says what excludes others between attempt_begin_... and end_...: the interpreter's lock, which every caller
// holds (Unguarded: then this costs nothing), or an owner word (word::Mutex), for free-threaded builds and for items whose
// order is a matter of Python code.
//
//   gate word   31..1 count of wakes | 0 WAITERS: somebody may be asleep there
//
// Three gates: getters (for an item), putters (for room), joiners (for the end of all work). A gate's WAITERS is set
// inside the section by whoever finds nothing there; who brings something clears it and wakes as many as it brought. Who
// has slept announces the others again once it is served, and wakes one of them if there is more.
#pragma once

#include <atomic>
#include <cstdint>

#include "../word/attempt.hpp"

namespace treadle::local {

using word::Result;
using word::Wait;

// For callers that exclude each other already.
struct Unguarded {
    template <class Who>
    Result attempt_enter(Who&, Wait&) noexcept {
        return Result::done;
    }
    void release() noexcept {}
    bool held() const noexcept { return false; }
    word::Token owner() const noexcept { return word::kNobody; }
};

// moved: another turnstile has taken this one's place (move_to), for good.
enum class Mode : std::uint32_t { open = 0, shut = 1, shut_now = 2, moved = 3 };

template <class World, class Section>
class Turnstile {
public:
    template <class T>
    using Atom = typename World::template Atom<T>;

    void initialise(std::uint64_t max_items) noexcept { max_items_.store(max_items, std::memory_order_relaxed); }

    std::uint64_t max_items() const noexcept { return max_items_.load(std::memory_order_relaxed); }
    // Whoever waits for room looks whether there is some now. Needs no section: Python code may run inside it, and call this.
    void set_max_items(std::uint64_t max_items) noexcept {
        max_items_.store(max_items, std::memory_order_relaxed);
        putters_.fetch_add(2, std::memory_order_release);  // SYNC bound→putter: the new bound
        World::wake(&putters_, word::kWakeAll);
    }
    std::uint64_t count() const noexcept { return count_.load(std::memory_order_acquire); }
    std::uint64_t puts() const noexcept { return puts_.load(std::memory_order_relaxed); }
    std::uint64_t unfinished() const noexcept { return unfinished_.load(std::memory_order_acquire); }
    Mode mode() const noexcept { return static_cast<Mode>(mode_.load(std::memory_order_acquire)); }
    bool is_shut() const noexcept { return mode() != Mode::open; }
    bool has_moved() const noexcept { return mode() == Mode::moved; }
    bool full() const noexcept { return max_items() != 0 && count() >= max_items(); }
    bool entered() const noexcept { return section_.held(); }
    bool entered_by(word::Token token) const noexcept { return section_.held() && section_.owner() == token; }

    // May an attempt succeed? For those who spin without being allowed to attempt.
    bool puttable() const noexcept { return !full() || mode() != Mode::open; }
    bool gettable(bool until_settled = false) const noexcept {
        return count() != 0 || (mode() != Mode::open && !(until_settled && awaits_leases()));
    }
    bool joinable() const noexcept { return unfinished() == 0; }

    // done: the caller is inside the section, and there is room; then end_put. blocked, full, shut, or gone: it has moved.
    template <class Who>
    Result attempt_begin_put(Who& who, Wait& wait) noexcept {
        if (section_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        if (mode() != Mode::open) return leave_shut();
        const std::uint32_t seen = putters_.load(std::memory_order_acquire);  // SYNC bound→putter: before it asks for the bound
        if (full()) return wait_at(putters_, seen, wait, Result::full);
        return Result::done;
    }
    // `count` items are in the queue now; `added` of them new. With none added, nothing happened.
    void end_put(std::uint64_t count, std::uint32_t added, const Wait& wait) noexcept {
        count_.store(count, std::memory_order_release);
        puts_.store(puts_.load(std::memory_order_relaxed) + added, std::memory_order_relaxed);
        unfinished_.store(unfinished_.load(std::memory_order_relaxed) + added, std::memory_order_release);
        const bool others = pass_on(putters_, wait, !full());
        const bool wanted = added != 0 && rouse(getters_);
        section_.release();
        if (wanted) World::wake(&getters_, static_cast<int>(added));
        if (others) World::wake(&putters_, 1);
    }

    // done: inside the section, and there is an item; then end_get. blocked, empty, shut or gone. `until_settled`: after a
    // shutdown it is empty, and not shut, while items are out on lease, which may come back.
    template <class Who>
    Result attempt_begin_get(Who& who, Wait& wait, bool until_settled = false) noexcept {
        if (section_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        if (mode() >= Mode::shut_now) return leave_shut();
        if (count() != 0) return Result::done;
        const std::uint32_t seen = getters_.load(std::memory_order_acquire);  // SYNC lease→getter: before it asks for leases
        if (mode() == Mode::shut && !(until_settled && awaits_leases())) return leave(Result::shut);
        return wait_at(getters_, seen, wait, Result::empty);
    }
    void end_get(std::uint64_t count, std::uint32_t taken, const Wait& wait) noexcept {
        count_.store(count, std::memory_order_release);
        const bool others = pass_on(getters_, wait, count != 0);
        const bool wanted = taken != 0 && rouse(putters_);
        section_.release();
        if (wanted) World::wake(&putters_, static_cast<int>(taken));
        if (others) World::wake(&getters_, 1);
    }
    // In place of end_get: what was taken before comes back, to be taken again. blocked, gone, or shut: everything was thrown
    // away, and so is this.
    template <class Who>
    Result attempt_begin_return(Who& who, Wait& wait) noexcept {
        if (section_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        return mode() >= Mode::shut_now ? leave_shut() : Result::done;
    }
    void end_return(std::uint64_t count) noexcept {
        count_.store(count, std::memory_order_release);
        const bool wanted = rouse(getters_);
        section_.release();
        if (wanted) World::wake(&getters_, 1);
    }

    // In place of end_put and end_get, for who makes another call to put or take one: others are told only if there is more.
    void end_room(const Wait& wait) noexcept {
        const bool others = pass_on(putters_, wait, max_items() == 0 || count() + 1 < max_items());
        section_.release();
        if (others) World::wake(&putters_, 1);
    }
    void end_item(const Wait& wait) noexcept {
        const bool others = pass_on(getters_, wait, count() > 1);
        section_.release();
        if (others) World::wake(&getters_, 1);
    }

    // What was taken is out on lease: inside the section.
    void lend() noexcept { leased_.fetch_add(1, std::memory_order_relaxed); }
    // A lease is over, and what has come back of it is in the queue. Needs no section.
    void settle() noexcept {
        if (leased_.fetch_sub(1, std::memory_order_release) != 1 || mode() != Mode::shut) return;
        getters_.fetch_add(2, std::memory_order_release);  // SYNC lease→getter: that nothing is to come any more
        World::wake(&getters_, word::kWakeAll);
    }
    // In the child of a fork, whose leases they are not.
    void forget_leases() noexcept { leased_.store(0, std::memory_order_relaxed); }
    std::uint32_t leased() const noexcept { return leased_.load(std::memory_order_acquire); }

    // For items that are kept elsewhere, and may change by themselves: done is inside the section; then end_look with how many
    // there are.
    template <class Who>
    Result attempt_begin_look(Who& who, Wait& wait) noexcept {
        return section_.attempt_enter(who, wait);
    }
    void end_look(std::uint64_t count) noexcept {
        const bool changed = count != count_.load(std::memory_order_relaxed);
        count_.store(count, std::memory_order_release);
        const bool getters = changed && rouse(getters_);
        const bool putters = changed && rouse(putters_);
        section_.release();
        if (getters) World::wake(&getters_, word::kWakeAll);
        if (putters) World::wake(&putters_, word::kWakeAll);
    }

    // Needs no section, for the same reason as set_max_items(); the caller sees to it that nobody else counts meanwhile.
    void set_unfinished(std::uint64_t unfinished) noexcept {
        unfinished_.store(unfinished, std::memory_order_release);
        if (unfinished != 0) return;
        joiners_.fetch_add(2, std::memory_order_release);  // SYNC tasks→joiner: that none are left
        World::wake(&joiners_, word::kWakeAll);
    }

    // `count` items are done with. blocked, gone, or overflow: more than were put; or than are not out on lease, unless it is
    // these (`of_leases`) that are done with.
    template <class Who>
    Result attempt_done(Who& who, std::uint64_t count, Wait& wait, bool of_leases = false) noexcept {
        if (section_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint64_t left = unfinished_.load(std::memory_order_relaxed);
        if (count + (of_leases ? 0 : leased()) > left) return leave(has_moved() ? Result::gone : Result::overflow);
        unfinished_.store(left - count, std::memory_order_release);
        const bool finished = left == count && rouse(joiners_);
        section_.release();
        if (finished) World::wake(&joiners_, word::kWakeAll);
        return Result::done;
    }

    template <class Who>
    Result attempt_join(Who& who, Wait& wait) noexcept {
        if (section_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t seen = joiners_.load(std::memory_order_acquire);  // SYNC tasks→joiner: before it asks for the count
        if (joinable()) return leave(has_moved() ? Result::gone : Result::done);
        return wait_at(joiners_, seen, wait, Result::empty);
    }

    // Inside the section afterwards, for whoever throws the items away; then end_shut_down. It never becomes milder. blocked or
    // gone.
    template <class Who>
    Result attempt_begin_shut_down(Who& who, Mode to, Wait& wait) noexcept {
        if (section_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        if (has_moved()) return leave(Result::gone);
        if (mode() < to) mode_.store(static_cast<std::uint32_t>(to), std::memory_order_release);
        return Result::done;
    }
    // `count` items are in the queue now; `dropped` were thrown away, and count as done.
    void end_shut_down(std::uint64_t count, std::uint64_t dropped) noexcept {
        count_.store(count, std::memory_order_release);
        const std::uint64_t left = unfinished_.load(std::memory_order_relaxed);
        unfinished_.store(left - (dropped < left ? dropped : left), std::memory_order_release);
        leave_to_all();
    }

    // done: inside the section, whose items go elsewhere; then move_to, or give_up_move. blocked, or gone: they have.
    template <class Who>
    Result attempt_begin_move(Who& who, Wait& wait) noexcept {
        if (section_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        return has_moved() ? leave(Result::gone) : Result::done;
    }
    void give_up_move() noexcept { section_.release(); }
    // `to`, which nobody knows yet, is in the state that this one was in. Here every attempt finds `gone` from now on: neither
    // items nor work is left, nor a bound that one would wait for. Whoever waits looks.
    template <class Other>
    void move_to(Other& to) noexcept {
        to.take_over(mode(), leased(), max_items(), count(), puts(), unfinished());
        mode_.store(static_cast<std::uint32_t>(Mode::moved), std::memory_order_release);
        max_items_.store(0, std::memory_order_relaxed);
        leased_.store(0, std::memory_order_relaxed);
        count_.store(0, std::memory_order_release);
        unfinished_.store(0, std::memory_order_release);
        leave_to_all();
    }
    void take_over(Mode mode, std::uint32_t leased, std::uint64_t max_items, std::uint64_t count, std::uint64_t puts,
                   std::uint64_t unfinished) noexcept {
        mode_.store(static_cast<std::uint32_t>(mode), std::memory_order_relaxed);
        leased_.store(leased, std::memory_order_relaxed);
        max_items_.store(max_items, std::memory_order_relaxed);
        count_.store(count, std::memory_order_relaxed);
        puts_.store(puts, std::memory_order_relaxed);
        unfinished_.store(unfinished, std::memory_order_release);
    }

private:
    static constexpr std::uint32_t kWaiters = 1;
    using Gate = Atom<std::uint32_t>;

    bool awaits_leases() const noexcept { return mode() == Mode::shut && leased() != 0; }
    Result leave(Result result) noexcept {
        section_.release();
        return result;
    }
    Result leave_shut() noexcept { return leave(has_moved() ? Result::gone : Result::shut); }
    void leave_to_all() noexcept {
        for (auto* gate : {&getters_, &putters_, &joiners_}) rouse(*gate);
        section_.release();
        for (auto* gate : {&getters_, &putters_, &joiners_}) World::wake(gate, word::kWakeAll);
    }
    static std::uint32_t seen(const Gate& gate) noexcept { return gate.load(std::memory_order_relaxed); }
    // Gates change by read-modify-write alone: set_max_items() is not in the section, and must not be undone by who is.
    Result wait_at(Gate& gate, std::uint32_t seen, Wait& wait, Result why) noexcept {
        if (wait.announce && (seen & kWaiters) == 0) gate.fetch_or(kWaiters, std::memory_order_relaxed);
        section_.release();
        return wait.at_gate(&gate, seen | kWaiters, why);
    }
    // Who sleeps at the gate must be woken? The word changes, so that who is about to sleep there does not.
    bool rouse(Gate& gate) noexcept {
        if ((seen(gate) & kWaiters) == 0) return false;
        gate.fetch_add(1, std::memory_order_relaxed);  // the mark is carried into the count
        return true;
    }
    bool pass_on(Gate& gate, const Wait& wait, bool more) noexcept {
        if (!wait.slept_at_gate) return false;
        gate.fetch_or(kWaiters, std::memory_order_relaxed);
        return more;
    }

    [[no_unique_address]] Section section_;
    Atom<std::uint32_t> mode_, leased_;
    Gate getters_, putters_, joiners_;
    Atom<std::uint64_t> max_items_;  // 0: unbounded
    Atom<std::uint64_t> count_, puts_, unfinished_;
};

}  // namespace treadle::local
