// task_ops.hpp: the tasks of this process's event loops: their lot, the process's reactors, and who is told of a wake.
//
// The reactor is one thread of the process, started by the first task that waits for a shared object. It sleeps on the
// process's bells, one in each arena, and hands what it hears to the lot.
#pragma once

#include <Python.h>

#include <cstdint>

#include "await.hpp"
#include "objects.hpp"
#include "treadle/ordered/layout.hpp"
#include "treadle/tasks/parking.hpp"
#include "who_waits.hpp"

namespace treadle::core {

using tasks::Place;
using Ears = tasks::Ears<SharedWorld>;

inline constinit std::atomic<std::uint32_t> private_wakes{0};

// Threads and tasks take turns, as between processes (tasks::turn_of).
inline void wake_private(const void* word, int count, std::uint32_t bits) noexcept {
    if (lot.empty()) {
        PrivateWorld::fence();  // SYNC parked→wake: the caller has changed the word before it, a task has parked before its own
        if (lot.empty()) {
            PrivateWorld::wake_threads(word, count, bits);
            return;
        }
    }
    const std::uint32_t bucket = bucket_in(nullptr, word);
    const auto tell = [&](int most) { return static_cast<int>(lot.notify(word, bucket, static_cast<std::uint32_t>(most), bits)); };
    if (count == word::kWakeAll) {
        PrivateWorld::wake_threads(word, count, bits);
        tell(count);
        return;
    }
    const std::uint32_t turn = tasks::turn_of(private_wakes.fetch_add(1, std::memory_order_relaxed));
    const int first = tell((count + static_cast<int>(turn % 2)) / 2);
    const int then = first < count ? PrivateWorld::wake_threads(word, count - first, bits) : 0;
    if (first + then < count) tell(count - first - then);
}

inline void wake_everybody(const void* word, int count, std::uint32_t bits, platform::FutexScope scope) noexcept {
    if (scope == platform::FutexScope::process) {
        wake_private(word, count, bits);
        return;
    }
    Mapping* m = mapping_around(word);
    if (m == nullptr) {
        SharedWorld::wake_threads(word, count, bits);
        return;
    }
    const std::uint32_t bucket = bucket_in(m, word);
    SharedDoorbells(m->arena.header()).wake(word, bucket, count, bits, m->reactor, [&](std::uint32_t most) {
        return lot.notify(word, bucket, most, bits);
    });
}

// ---- A task's place

// How often this process has got a bell. Whoever sleeps on all of them looks at it last, before it sleeps.
inline constinit std::atomic<std::uint32_t> bells_added{0};

// Wakes this process's reactor, wherever it sleeps: it hears of bells that it does not know yet, and delivers what was notified.
inline void rouse_reactor() noexcept {
    for (Mapping* m = Mapping::first(); m != nullptr; m = m->next())
        if (m->member() && m->reactor != SharedDoorbells::kNoReactor) SharedDoorbells(m->arena.header()).rouse(m->reactor);
    platform::futex_wake(&bells_added, 1, PrivateWorld::kAllBits, platform::FutexScope::process);
}

// This process's reactor in the arena, made by its first task that waits there. kNoReactor: all are taken.
inline void need_reactor(Mapping* m, Token token) noexcept {
    if (m->reactor != SharedDoorbells::kNoReactor) return;
    briefly(m, token, [&](auto& who, Wait& wait) {
        if (m->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        if (m->reactor == SharedDoorbells::kNoReactor) m->reactor = m->arena.registry.add_reactor(m->process);
        m->arena.leave();
        return Result::done;
    });
    if (m->reactor == SharedDoorbells::kNoReactor) return;
    bells_added.fetch_add(1, std::memory_order_seq_cst);  // SYNC bell→sleep
    rouse_reactor();
}

// Doubts (tasks/lot.hpp), by what the object is.
inline bool always_doubtful(const Place&) noexcept { return true; }
// A lock's word names its owner. The system is asked once a turn for a row of lines with one owner.
inline constinit thread_local Token tls_living_owner = word::kNobody;
inline bool owner_doubtful(const Place& place) noexcept {
    const Mapping* m = mapping_around(place.word);
    const Token owner = static_cast<const word::Mutex<SharedWorld>*>(place.subject)->owner();
    if (m == nullptr || owner == word::kNobody || owner == tls_living_owner) return false;
    if (!m->arena.registry.thread_alive(owner)) return true;
    tls_living_owner = owner;
    return false;
}
template <class Count>
bool count_doubtful(const Place& place) noexcept {
    return static_cast<const std::atomic<Count>*>(place.subject)->load(std::memory_order_relaxed) != 0;
}
inline void doubt_always(Place& place) noexcept { place.doubt = always_doubtful; }
inline void doubt_owner(Place& place, LockBody<SharedWorld>* body) noexcept {
    place.doubt = owner_doubtful;
    place.subject = &body->mutex;
}
// Whoever waits at a queue waits for the dead only while items are out on lease.
inline void doubt_ring(Place& place, const Handle& h) noexcept {
    place.doubt = count_doubtful<std::uint32_t>;
    place.subject = &reinterpret_cast<const ring::QueueState<SharedWorld>*>(h.block)->leased;
}
inline void doubt_ordered(Place& place, const Handle& h) noexcept {
    place.doubt = count_doubtful<std::uint64_t>;
    place.subject = &reinterpret_cast<const ordered::OrderedState<SharedWorld>*>(h.block)->leased;
}

inline Ears ears_in(Mapping* m) noexcept {
    if (m == nullptr || m->reactor == SharedDoorbells::kNoReactor) return {};
    return {&m->arena.header(), m->reactor};
}

// Parks at what the attempt said to wait for. False: it has changed meanwhile, try again.
inline bool task_park(Place& place, Mapping* m, const Wait& wait, bool in_front) noexcept {
    place.word = wait.word;
    place.arena = m == nullptr ? nullptr : m->base;
    place.bits = wait.bits;
    place.bucket = bucket_in(m, wait.word);
    if (m == nullptr) place.doubt = nullptr;
    place.epoch = platform::private_epoch;
    return tasks::park(lot, place, ears_in(m), wait, in_front);
}

// Whoever tells a task of another thread or process pays for a system call, and the interpreter changes hands: some 20 µs. So
// a loop that was told in that way may spin for as long before its next park, as a thread does (await_held). A spin that
// was in vain ends that until the next time; after a few in a row that were not, the loop's other tasks have their turn.
inline constexpr int kSpinsInARow = 16;
inline thread_local constinit int spins_left = 0;

inline void task_told_from_elsewhere() noexcept { spins_left = kSpinsInARow; }

enum class Spun : int { park, attempt, give_way };

// Lets go of the interpreter, since it may take that to change the word. The attempt before this has announced the task.
inline Spun task_spin(const Wait& wait) noexcept {
    if (spins_left == 0 || !spinning_helps()) return Spun::park;
    if (threads_wait_at(wait.word)) return Spun::park;
    const auto* word = static_cast<const std::atomic<std::uint32_t>*>(wait.word);
    const auto changed = [&] { return word->load(std::memory_order_relaxed) != wait.expected; };
    {
        const InterpreterReleased released;
        spin_released(released, changed, [&] { return threads_wait_at(wait.word); });
    }
    if (!changed()) {
        spins_left = 0;
        return Spun::park;
    }
    if (--spins_left != 0) return Spun::attempt;
    spins_left = kSpinsInARow;
    return Spun::give_way;
}

// A task that finds an internal section taken comes again with its loop's next turn, and does not park. After as long as a
// thread would sleep there it has to look whether the section's owner lives: nobody else might.
inline bool task_looks_into_section(std::int64_t* since) noexcept {
    const std::int64_t now = platform::now();
    if (*since == 0) *since = now;
    return now - *since >= kSectionSlice;
}

// For a task that stands in line behind others of its object: those before it hand on what they are told, whether they use
// it or not, so it neither attempts nor announces itself. Should they have gone, and the wake with a process that was killed,
// the reactor must find it overlooked, also where the lock is free: it has not seen the word.
inline void lock_line_up(LockBody<SharedWorld>* body, Wait* wait) noexcept {
    wait->on(body->mutex.futex(), word::Mutex<SharedWorld>::kUnseen);
}
inline void semaphore_line_up(SemaphoreBody<SharedWorld>* body, Wait* wait) noexcept { wait->on(body->semaphore.futex(), 0); }
inline void permits_line_up(PermitsBody<SharedWorld>* body, Wait* wait) noexcept {
    wait->at_gate(body->permits.futex(), 0, Result::empty);  // once served, it announces those behind it
}

// The event loop that has called what this thread does now: so it runs here, and is not about to sleep. Null: none is known to.
inline constinit thread_local const void* tls_calling_loop = nullptr;
inline const void* calling_loop() noexcept { return tls_calling_loop; }
inline void called_by_loop(const void* loop) noexcept { tls_calling_loop = loop; }

inline void task_begin_attempt(Place& place, const void* loop) noexcept {
    called_by_loop(loop);
    tasks::begin_attempt(lot, place);
}
inline void task_end_attempt() noexcept { called_by_loop(nullptr); }

// Leaves the place. `used`: its notification, if there was one, has served its purpose; else it is passed on.
inline void task_leave(Place& place, Mapping* m, bool used) noexcept {
    if (place.state != tasks::PlaceState::absent && place.epoch != platform::private_epoch)
        place.state = tasks::PlaceState::absent;  // of a task of the process that this one was forked from
    if (!tasks::leave(lot, place, ears_in(m), used)) return;
    if (m == nullptr) PrivateWorld::wake(place.word, 1, place.bits);
    else SharedWorld::wake(place.word, 1, place.bits);
}

inline bool tasks_notified() noexcept { return lot.has_notified(); }
// The owner of the next notified place that is to be told to its event loop, with a reference; null: none.
inline void* take_notified() noexcept {
    Place* place = lot.take_notified([](Place& p) { Py_INCREF(static_cast<PyObject*>(p.owner)); });
    return place == nullptr ? nullptr : place->owner;
}

// ---- The reactor

inline constexpr std::int64_t kLookEvery = 128'000'000;
inline constexpr std::uint32_t kMostLooks = 64;  // at a time: each is an attempt of a task's
inline constexpr std::int64_t kWithoutWaitAny = 4'000'000;  // where one thread cannot sleep on several words

// Sleeps, without the interpreter, until a task has been notified. Returns at the latest every kLookEvery, so that whoever
// calls can end.
inline void reactor_turn(std::int64_t* looked) noexcept {
    const InterpreterReleased released;
    platform::WaitedWord words[platform::kMostWaitedWords];
    unsigned count = 0;
    bool unheard = false;
    const std::uint32_t added = bells_added.load(std::memory_order_seq_cst);
    for (Mapping* m = Mapping::first(); m != nullptr && count < platform::kMostWaitedWords; m = m->next()) {
        if (!m->member()) continue;
        if (m->reactor == SharedDoorbells::kNoReactor) {
            unheard = unheard || lot.parks_in(m->base);
            continue;
        }
        SharedDoorbells bells(m->arena.header());
        words[count++] = {bells.futex(m->reactor), bells.bell(m->reactor), platform::FutexScope::shared};
        tasks::hear(lot, m->base, ears_in(m));
    }
    if (unheard) {  // an arena whose reactors are all taken: its tasks are told to try every few milliseconds
        lot.notify_to_look(tasks::kBuckets, [](const Place&) { return true; });
    }
    if (!lot.has_notified()) {
        const std::int64_t now = platform::now();
        if (now - *looked >= kLookEvery) {
            *looked = now;
            tls_living_owner = word::kNobody;
            lot.notify_to_look(kMostLooks, [](const Place& place) {
                return tasks::overlooked<SharedWorld>(place) || (place.doubt != nullptr && place.doubt(place));
            });
            for (Mapping* m = Mapping::first(); m != nullptr; m = m->next())
                if (m->member() && m->sweep_due()) m->sweep();
        }
    }
    // SYNC bell→sleep: a bell that has come since is counted, or rouses by those that were known.
    if (lot.has_notified() || bells_added.load(std::memory_order_seq_cst) != added) return;
    if (count == 0) words[count++] = {&bells_added, added, platform::FutexScope::process};
    platform::futex_wait_any(words, count, unheard ? kWithoutWaitAny : lot.empty() ? kLongestSlice : kLookEvery, kWithoutWaitAny);
    for (Mapping* m = Mapping::first(); m != nullptr; m = m->next())
        if (m->member() && m->reactor != SharedDoorbells::kNoReactor) tasks::hear(lot, m->base, ears_in(m));
}

inline void install_tasks() noexcept {
    platform::wake_hook.store(wake_everybody, std::memory_order_release);
    pthread_atfork(nullptr, nullptr, [] {
        lot.reinitialise();
        for (auto& sleepers : platform::private_sleepers) sleepers.store(0, std::memory_order_relaxed);  // the parent's threads
        for (auto& waiters : private_waiters) waiters.store(0, std::memory_order_relaxed);
    });
}

}  // namespace treadle::core
