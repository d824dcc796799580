// local_ops.hpp: waiting for what only a holder of the interpreter may touch: the private queues.
//
// Every function holds the interpreter on entry and return. An `int` result is a word::Result, kTimeout, or kInterrupted.
#pragma once

#include <cstdint>

#include "await.hpp"
#include "queue_ops.hpp"
#include "treadle/local/queue.hpp"
#include "treadle/word/mutex.hpp"

namespace treadle::core {

#ifdef Py_GIL_DISABLED
using LocalSection = word::Mutex<PrivateWorld>;
#else
using LocalSection = local::Unguarded;
#endif
using LocalQueue = local::Queue<PrivateWorld, LocalSection>;
// For items that Python code puts in order: it may let other threads run.
using GuardedTurnstile = local::Turnstile<PrivateWorld, word::Mutex<PrivateWorld>>;

// The parking loop of await.hpp for attempts that need the interpreter: it is let go of to spin, while `ready()` says that
// an attempt would be in vain, and to park. Nobody dies alone in a process, so there is nothing to look for. If the result is
// `gone`, `timeout` is what is left of it.
template <class Attempt, class Ready>
[[gnu::noinline]] int await_held(Attempt attempt, Ready ready, Result waiting, std::int64_t& timeout) noexcept {
    PrivateCaller who{platform::private_token()};
    const auto goes_on = [waiting](Result r) { return r == Result::blocked || r == waiting; };
    Wait wait;
    wait.announce = false;
    Result result = attempt(who, wait);
    if (!goes_on(result)) return static_cast<int>(result);
    if (timeout == 0 && result == waiting) return kTimeout;
    const Deadline deadline(timeout);
    const TasksAt tasks(nullptr, wait.word);
    const ThreadWaits waits(wait.word);
    if (spinning_helps() && timeout != 0 && !tasks.any()) {
        const InterpreterReleased released;
        spin_released(released, ready, [&] { return tasks.any(); });
    }
    wait.announce = true;
    std::int64_t slice = kFirstSlice, checked = platform::now();
    bool interrupted = false;
    for (;;) {
        result = attempt(who, wait);
        if (result == Result::gone) timeout = deadline.left();
        if (!goes_on(result)) return static_cast<int>(result);
        const bool section = result == Result::blocked;
        const std::int64_t left = deadline.left();
        if (left <= 0 && !section) return kTimeout;
        const std::int64_t now = platform::now();
        if (interrupted || now - checked > kSignalsEvery) {
            // A signal's handler has the say before the next park; then another attempt, since it may have changed anything.
            if (PyErr_CheckSignals() != 0) return kInterrupted;
            checked = now;
            interrupted = false;
            continue;
        }
        std::int64_t bound = section ? kSectionSlice : slice < left ? slice : left;
        const InterpreterReleased released;
        const FutexWait woken = PrivateWorld::wait(wait.word, wait.expected, bound, wait.bits);
        interrupted = woken == FutexWait::interrupted;
        if (woken == FutexWait::timeout && !section && slice < kLongestSlice) slice *= 2;
    }
}

// Attempts a short section, never without the interpreter.
template <class Attempt>
Result briefly_held(Attempt attempt) noexcept {
    PrivateCaller who{platform::private_token()};
    Wait wait;
    for (;;) {
        const Result result = attempt(who, wait);
        if (result != Result::blocked) return result;
        const InterpreterReleased released;
        PrivateWorld::wait(wait.word, wait.expected, kSectionSlice, wait.bits);
    }
}

inline void local_initialise(LocalQueue* q, std::uint64_t max_items, bool lifo) noexcept {
    q->initialise(max_items, lifo ? local::Order::last_in_first_out : local::Order::first_in_first_out);
}

inline int local_put(LocalQueue* q, void* item, std::int64_t& timeout) noexcept {
    return await_held([&](auto& who, Wait& wait) { return q->attempt_put(who, item, wait); }, [&] { return q->gates.puttable(); },
                      Result::full, timeout);
}
inline int local_get(LocalQueue* q, void** item, bool lease, bool until_settled, std::int64_t& timeout) noexcept {
    return await_held([&](auto& who, Wait& wait) { return q->attempt_get(who, *item, wait, lease, until_settled); },
                      [&] { return q->gates.gettable(until_settled); }, Result::empty, timeout);
}
// The inline fast paths: an attempt that leaves no mark.
inline bool local_put_now(LocalQueue* q, void* item) noexcept {
    PrivateCaller who{0};
    if constexpr (!std::is_same_v<LocalSection, local::Unguarded>) who.token = platform::private_token();
    Wait wait;
    wait.announce = false;
    return q->attempt_put(who, item, wait) == Result::done;
}
inline bool local_get_now(LocalQueue* q, void** item, bool lease) noexcept {
    PrivateCaller who{0};
    if constexpr (!std::is_same_v<LocalSection, local::Unguarded>) who.token = platform::private_token();
    Wait wait;
    wait.announce = false;
    return q->attempt_get(who, *item, wait, lease) == Result::done;
}
// One attempt each, for a task.
inline int local_put_attempt(LocalQueue* q, void* item, Wait* wait) noexcept {
    PrivateCaller who{platform::private_token()};
    return static_cast<int>(q->attempt_put(who, item, *wait));
}
inline int local_get_attempt(LocalQueue* q, void** item, bool lease, bool until_settled, Wait* wait) noexcept {
    PrivateCaller who{platform::private_token()};
    return static_cast<int>(q->attempt_get(who, *item, *wait, lease, until_settled));
}
template <class Gates>
int gates_join_attempt(Gates* gates, Wait* wait) noexcept {
    PrivateCaller who{platform::private_token()};
    return static_cast<int>(gates->attempt_join(who, *wait));
}
inline int guarded_begin_put_attempt(GuardedTurnstile* gates, Wait* wait) noexcept {
    PrivateCaller who{platform::private_token()};
    return static_cast<int>(gates->attempt_begin_put(who, *wait));
}
inline int guarded_begin_get_attempt(GuardedTurnstile* gates, bool until_settled, Wait* wait) noexcept {
    PrivateCaller who{platform::private_token()};
    return static_cast<int>(gates->attempt_begin_get(who, *wait, until_settled));
}
// Whether there is room, or an item, for whoever then makes the call that may find it gone again; done also if the queue is shut.
template <class Gates>
int gates_room_attempt(Gates* gates, Wait* wait) noexcept {
    PrivateCaller who{platform::private_token()};
    const Result result = gates->attempt_begin_put(who, *wait);
    if (result == Result::done) gates->end_room(*wait);
    return static_cast<int>(result == Result::shut ? Result::done : result);
}
template <class Gates>
int gates_item_attempt(Gates* gates, Wait* wait) noexcept {
    PrivateCaller who{platform::private_token()};
    const Result result = gates->attempt_begin_get(who, *wait);
    if (result == Result::done) gates->end_item(*wait);
    return static_cast<int>(result == Result::shut ? Result::done : result);
}
// Whoever was told by that, and then put or took nothing, tells the next.
template <class Gates>
void gates_pass_on(Gates* gates, bool room) noexcept {
    briefly_held([&](auto& who, Wait& wait) {
        if (room ? gates->full() : gates->count() == 0) return Result::done;  // else the gate would be marked, for nobody
        const Result result = room ? gates->attempt_begin_put(who, wait) : gates->attempt_begin_get(who, wait);
        if (result != Result::done) return result;
        wait.slept_at_gate = true;
        if (room) gates->end_put(gates->count(), 0, wait);
        else gates->end_get(gates->count(), 0, wait);
        return result;
    });
}
inline int local_return(LocalQueue* q, void* item) noexcept {
    return static_cast<int>(briefly_held([&](auto& who, Wait& wait) { return q->attempt_return(who, item, wait); }));
}
template <class Gates>
int gates_done(Gates* gates, std::uint64_t count, bool leased) noexcept {
    return static_cast<int>(briefly_held([&](auto& who, Wait& wait) { return gates->attempt_done(who, count, wait, leased); }));
}
template <class Gates>
int gates_join(Gates* gates, std::int64_t& timeout) noexcept {
    return await_held([&](auto& who, Wait& wait) { return gates->attempt_join(who, wait); }, [&] { return gates->joinable(); },
                      Result::empty, timeout);
}
// `dropped`: a list that takes what was in the queue, if that is to go; its references come with it.
inline int local_shut_down(LocalQueue* q, bool now, PyObject* dropped) noexcept {
    bool kept = true;
    briefly_held([&](auto& who, Wait& wait) {
        return q->attempt_shut_down(who, now, wait, [&](void* item) {
            kept = PyList_Append(dropped, static_cast<PyObject*>(item)) == 0 && kept;
            Py_DECREF(static_cast<PyObject*>(item));  // the list has it
        });
    });
    return kept ? 0 : -1;
}
inline int local_begin_move(LocalQueue* q) noexcept {
    return static_cast<int>(briefly_held([&](auto& who, Wait& wait) { return q->gates.attempt_begin_move(who, wait); }));
}
// The items have been copied to where `to` guards them.
inline void local_end_move(LocalQueue* q, GuardedTurnstile* to) noexcept {
    for (std::uint64_t i = q->gates.count(); i-- != 0;) Py_DECREF(static_cast<PyObject*>(q->item_at(i)));  // the copy has it
    q->gates.move_to(*to);
    q->free_memory();
}
template <class Visit>
int local_visit(LocalQueue* q, Visit visit, void* arg) noexcept {
    int result = 0;
    q->for_each([&](void* item) {
        if (result == 0) result = visit(static_cast<PyObject*>(item), arg);
    });
    return result;
}

template <class Gates>
void gates_figures(Gates* gates, QueueFigures* f) noexcept {
    const std::uint64_t size = gates->count(), puts = gates->puts();
    *f = QueueFigures{size, 0, puts, puts - size, gates->unfinished(), 0, gates->max_items(), 0, gates->leased(),
                      gates->mode() != local::Mode::open};
}

// A section that Python code runs in, for the queues whose order is a matter of comparing.
inline int guarded_begin_put(GuardedTurnstile* gates, std::int64_t& timeout, Wait* slept) noexcept {
    return await_held(
        [&](auto& who, Wait& wait) {
            const Result result = gates->attempt_begin_put(who, wait);
            if (result == Result::done) *slept = wait;
            return result;
        },
        [&] { return gates->puttable(); }, Result::full, timeout);
}
inline int guarded_begin_get(GuardedTurnstile* gates, bool until_settled, std::int64_t& timeout, Wait* slept) noexcept {
    return await_held(
        [&](auto& who, Wait& wait) {
            const Result result = gates->attempt_begin_get(who, wait, until_settled);
            if (result == Result::done) *slept = wait;
            return result;
        },
        [&] { return gates->gettable(until_settled); }, Result::empty, timeout);
}
inline int guarded_begin_return(GuardedTurnstile* gates) noexcept {
    return static_cast<int>(briefly_held([&](auto& who, Wait& wait) { return gates->attempt_begin_return(who, wait); }));
}
inline void guarded_begin_look(GuardedTurnstile* gates) noexcept {
    briefly_held([&](auto& who, Wait& wait) { return gates->attempt_begin_look(who, wait); });
}
// As that, for code of the program's own, which may stay inside for long: whoever waits meanwhile heeds signals and the time.
inline int guarded_enter(GuardedTurnstile* gates, std::int64_t timeout) noexcept {
    PrivateCaller who{platform::private_token()};
    const Deadline deadline(timeout);
    Wait wait;
    for (;;) {
        if (gates->attempt_begin_look(who, wait) != Result::blocked) return static_cast<int>(Result::done);
        const std::int64_t left = deadline.left();
        if (left <= 0) return kTimeout;
        if (PyErr_CheckSignals() != 0) return kInterrupted;
        const InterpreterReleased released;
        PrivateWorld::wait(wait.word, wait.expected, left < kSectionSlice ? left : kSectionSlice, wait.bits);
    }
}
inline int guarded_begin_shut_down(GuardedTurnstile* gates, bool now) noexcept {
    return static_cast<int>(briefly_held([&](auto& who, Wait& wait) {
        return gates->attempt_begin_shut_down(who, now ? local::Mode::shut_now : local::Mode::shut, wait);
    }));
}
inline bool guarded_is_anyones(GuardedTurnstile* gates) noexcept { return gates->entered(); }
inline bool guarded_is_mine(GuardedTurnstile* gates) noexcept { return gates->entered_by(platform::private_token()); }

}  // namespace treadle::core
