// sync_ops.hpp: what the sync objects do, for either storage: the state machines' attempts joined to the parking loop.
//
// Every function holds the interpreter on entry and return. An `int` result is a word::Result, kTimeout, or kInterrupted.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "await.hpp"
#include "bodies.hpp"
#include "objects.hpp"

namespace treadle::core {

inline std::uint64_t place_of(const Handle& h) noexcept {
    return h.mapping == nullptr ? 0 : h.mapping->arena.heap.offset_of_block(h.block);
}

// Calls f(body, who) in the object's world.
template <template <class> class Body, class Call>
auto in_world(const Handle& h, void* body, Token token, Call call) noexcept {
    if (h.mapping == nullptr) return call(*static_cast<Body<PrivateWorld>*>(body), PrivateCaller{token});
    return call(*static_cast<Body<SharedWorld>*>(body), Mapping::Caller{token, false, h.mapping});
}
template <class Body>
struct WorldOf;
template <template <class> class Body, class World>
struct WorldOf<Body<World>> {
    using type = World;
};
template <class Body>
using world_of = typename WorldOf<std::remove_cvref_t<Body>>::type;

// A short section of the object's own, in either world.
template <class Attempt>
Result section(const Handle& h, Token token, Attempt attempt) noexcept {
    return h.mapping == nullptr ? briefly_private(token, attempt) : briefly(h.mapping, token, attempt);
}

// Gives an object's full table a larger one of `cells`: a shared object's in a block that belongs to it. `first` is the one
// within the object. False: no memory.
template <class Cell, class Grow>
bool grow_table(const Handle& h, Token token, std::size_t cells, const Cell* first, Grow attempt_grow) noexcept {
    const auto locked = [&](auto action) {
        briefly(h.mapping, token, [&](auto& who, Wait& wait) {
            if (h.mapping->arena.enter(who, wait) == Result::blocked) return Result::blocked;
            action();
            h.mapping->arena.leave();
            return Result::done;
        });
    };
    Cell* larger = nullptr;
    if (h.mapping == nullptr) {
        larger = static_cast<Cell*>(std::calloc(cells, sizeof(Cell)));
    } else {
        locked([&] {
            SharedBlock* block = h.mapping->arena.heap.allocate(arena::kBlockHeader + cells * sizeof(Cell), Kind::table, h.block,
                                                                arena::Budget::reserve);
            if (block != nullptr) larger = static_cast<Cell*>(std::memset(body_of(block), 0, cells * sizeof(Cell)));
        });
    }
    if (larger == nullptr) return false;
    Cell* old = nullptr;
    const Result grown =
        section(h, token, [&](auto& who, Wait& wait) { return attempt_grow(who, larger, old, wait); });
    Cell* spare = grown != Result::done ? larger : old == first ? nullptr : old;
    if (spare == nullptr) return true;
    if (h.mapping == nullptr) std::free(spare);
    else locked([&] { h.mapping->arena.heap.free(reinterpret_cast<SharedBlock*>(spare) - 1); });
    return true;
}

// ---- Lock and RLock

// The holder's identity as the object keeps it: the word itself only names a record.
inline std::uint64_t holder_of_this_thread() noexcept {
    static thread_local std::uint64_t mine = 0;
    static thread_local std::uint64_t epoch = 0;
    if (mine == 0 || epoch != platform::private_epoch) {
        mine = (static_cast<std::uint64_t>(platform::current_pid()) << 32) | static_cast<std::uint32_t>(platform::current_tid());
        epoch = platform::private_epoch;
    }
    return mine;
}
template <class Body>
void note_holder(Body& body) noexcept {
    body.holder = holder_of_this_thread();
    body.since = platform::now_coarse();
}

// The inline fast paths.
inline bool lock_try(LockBody<SharedWorld>* body, Token token) noexcept {
    if (!body->mutex.try_acquire(token)) return false;
    note_holder(*body);
    return true;
}
inline bool rlock_try(LockBody<SharedWorld>* body, Token token) noexcept {
    std::uint64_t seen;
    if (body->mutex.try_acquire(token, seen)) [[likely]] {
        note_holder(*body);
        return true;
    }
    if (!word::Mutex<SharedWorld>::is_held_by(seen, token)) return false;
    ++body->recursion;
    return true;
}

// Gets the lock by `obtain(body, who)`, which waits or attempts once. `take_over`: of an owner that died, take the lock as
// it is (`dead` then names the owner); else owner_died or inconsistent is returned. `keep_mark`: taken over, the lock stays
// marked until restored.
template <class Obtain>
int lock_obtain(LockBody<SharedWorld>* shared, const Handle& h, Token token, bool reentrant, bool take_over, bool keep_mark,
                Token* dead, Obtain obtain) noexcept {
    *dead = word::kNobody;
    const auto acquire = [&](auto& body, auto who) {
        for (;;) {
            const int result = obtain(body, who);
            if (result == static_cast<int>(Result::done)) {
                body.recursion = 0;
                note_holder(body);
                return result;
            }
            if (result != static_cast<int>(Result::owner_died) && result != static_cast<int>(Result::inconsistent)) return result;
            *dead = body.mutex.owner();
            if (!take_over && h.mapping != nullptr) return result;
            if (body.mutex.recover(token, keep_mark && h.mapping != nullptr) == Result::done) {
                body.recursion = 0;
                note_holder(body);
                return static_cast<int>(Result::done);
            }
            *dead = word::kNobody;  // somebody was faster: wait for it
        }
    };
    if (h.mapping == nullptr) return acquire(*reinterpret_cast<LockBody<PrivateWorld>*>(shared), PrivateCaller{token});
    if (reentrant) return acquire(*shared, Mapping::ThreadCaller{token, false, h.mapping});
    return acquire(*shared, Mapping::Caller{token, false, h.mapping});
}
inline int lock_acquire(LockBody<SharedWorld>* shared, const Handle& h, Token token, bool reentrant, std::int64_t timeout,
                        bool take_over, bool keep_mark, Token* dead) noexcept {
    const Deadline deadline(timeout);
    return lock_obtain(shared, h, token, reentrant, take_over, keep_mark, dead, [&](auto& body, auto who) {
        return await<world_of<decltype(body)>>(
            who, [&](auto& w, Wait& wait) { return body.mutex.attempt_acquire(w, wait); }, Result::blocked, deadline.left(),
            h.mapping, place_of(h));
    });
}
inline int lock_attempt(LockBody<SharedWorld>* shared, const Handle& h, Token token, bool reentrant, bool look, bool take_over,
                        bool keep_mark, Token* dead, Wait* wait) noexcept {
    return lock_obtain(shared, h, token, reentrant, take_over, keep_mark, dead, [&](auto& body, auto who) {
        who.look = who.look || look;
        return static_cast<int>(body.mutex.attempt_acquire(who, *wait));
    });
}

inline bool lock_is_mine(LockBody<SharedWorld>* body, Token token) noexcept {
    return word::Mutex<SharedWorld>::is_held_by(body->mutex.peek(), token);
}
inline int lock_release(LockBody<SharedWorld>* body, const Handle& h) noexcept {
    if (h.mapping == nullptr) {
        auto& mutex = reinterpret_cast<LockBody<PrivateWorld>*>(body)->mutex;
        // What a thread held that a fork has left behind is free in the child.
        return static_cast<int>(platform::private_token_alive(mutex.owner()) ? mutex.release() : Result::not_held);
    }
    return static_cast<int>(body->mutex.release());
}
inline int rlock_release(LockBody<SharedWorld>* body, const Handle& h, Token token) noexcept {
    const std::uint64_t word = body->mutex.peek();
    if (!word::Mutex<SharedWorld>::is_held_by(word, token)) return static_cast<int>(Result::not_held);
    if (body->recursion != 0) {
        --body->recursion;
        return static_cast<int>(Result::done);
    }
    if (h.mapping == nullptr) return static_cast<int>(reinterpret_cast<LockBody<PrivateWorld>*>(body)->mutex.release(word));
    return static_cast<int>(body->mutex.release(word));
}
// The end of a recovery: consistent and free, or (abandon) inconsistent still. Not held: it was released meanwhile.
inline int lock_restore(LockBody<SharedWorld>* body, Token token) noexcept {
    if (!lock_is_mine(body, token)) return static_cast<int>(Result::not_held);
    body->recursion = 0;
    return static_cast<int>(body->mutex.restore(token));
}
inline int lock_abandon(LockBody<SharedWorld>* body, const Handle& h, Token token) noexcept {
    if (!lock_is_mine(body, token)) return static_cast<int>(Result::not_held);
    body->recursion = 0;
    return lock_release(body, h);
}

// Held, by somebody who still lives. (In the child of a fork a private lock's owner may not exist.)
inline bool lock_is_held(LockBody<SharedWorld>* body, const Handle& h) noexcept {
    if (!body->mutex.held()) return false;
    return h.mapping != nullptr || platform::private_token_alive(body->mutex.owner());
}
inline bool lock_is_inconsistent(LockBody<SharedWorld>* body) noexcept { return body->mutex.inconsistent(); }
inline Token lock_owner(LockBody<SharedWorld>* body) noexcept { return body->mutex.owner(); }
inline void lock_reinitialise(LockBody<SharedWorld>* body) noexcept {
    body->mutex.reinitialise();
    body->recursion = 0;
}
inline bool make_lock(Mapping* m, Token token, bool reentrant, const char* label, Handle& h) noexcept {
    return make_object<LockBody<SharedWorld>>(m, token, reentrant ? Kind::rlock : Kind::lock, sizeof(LockBody<SharedWorld>), h,
                                              [&](auto& body) { copy_label(body.label, sizeof body.label, label); });
}

// ---- Semaphore: without owners

inline int semaphore_acquire(SemaphoreBody<SharedWorld>* shared, const Handle& h, Token token, std::int64_t timeout) noexcept {
    return in_world<SemaphoreBody>(h, shared, token, [&](auto& body, auto who) {
        return await<world_of<decltype(body)>>(
            who, [&](auto&, Wait& wait) { return body.semaphore.attempt_acquire(wait); }, Result::blocked, timeout, h.mapping,
            place_of(h));
    });
}
inline int semaphore_attempt(SemaphoreBody<SharedWorld>* shared, const Handle& h, Wait* wait) noexcept {
    return in_world<SemaphoreBody>(h, shared, 0, [&](auto& body, auto) {
        return static_cast<int>(body.semaphore.attempt_acquire(*wait));
    });
}
inline int semaphore_release(SemaphoreBody<SharedWorld>* shared, const Handle& h, std::uint32_t count) noexcept {
    return in_world<SemaphoreBody>(h, shared, 0, [&](auto& body, auto) {
        return static_cast<int>(body.semaphore.release(count, body.bound));
    });
}
inline void semaphore_initialise(SemaphoreBody<SharedWorld>& body, std::uint32_t value, std::uint32_t bound, const char* label) noexcept {
    body.semaphore.initialise(value);
    body.bound = bound;
    body.initial = value;
    copy_label(body.label, sizeof body.label, label);
}
inline bool make_semaphore(Mapping* m, Token token, std::uint32_t value, std::uint32_t bound, const char* label, Handle& h) noexcept {
    return make_object<SemaphoreBody<SharedWorld>>(m, token, Kind::semaphore, sizeof(SemaphoreBody<SharedWorld>), h,
                                                   [&](auto& body) { semaphore_initialise(body, value, bound, label); });
}

// ---- Permits: a semaphore that takes back what the dead held; shared only

inline bool grow_permits(PermitsBody<SharedWorld>* body, const Handle& h, Token token) noexcept {
    const std::uint32_t capacity = body->permits.capacity() * 2;
    return grow_table<word::PermitCell>(
        h, token, body->permits.table_cells(capacity), body->table, [&](auto& who, auto* larger, auto*& old, Wait& wait) {
            return body->permits.attempt_grow(who, larger, capacity, old, wait);
        });
}
template <class Obtain>
int permits_obtain(PermitsBody<SharedWorld>* body, const Handle& h, Token token, Token* dead, Obtain obtain) noexcept {
    *dead = word::kNobody;
    for (;;) {
        const int result = obtain([&](auto& who, Wait& wait) {
            Token found = word::kNobody;
            const Result r = body->permits.attempt_acquire(who, h.mapping->home_token(), found, wait);
            if (found != word::kNobody) *dead = found;
            return r;
        });
        if (result != static_cast<int>(Result::no_room)) return result;
        if (!grow_permits(body, h, token)) return static_cast<int>(Result::no_memory);
    }
}
inline int permits_acquire(PermitsBody<SharedWorld>* body, const Handle& h, Token token, std::int64_t timeout, Token* dead) noexcept {
    const Deadline deadline(timeout);
    return permits_obtain(body, h, token, dead, [&](auto attempt) {
        return await<SharedWorld>(Mapping::Caller{token, false, h.mapping}, attempt, Result::empty, deadline.left(), h.mapping,
                                  place_of(h));
    });
}
inline int permits_attempt(PermitsBody<SharedWorld>* body, const Handle& h, Token token, bool look, Token* dead, Wait* wait) noexcept {
    return permits_obtain(body, h, token, dead, [&](auto attempt) {
        Mapping::Caller who{token, look, h.mapping};
        return static_cast<int>(attempt(who, *wait));
    });
}
inline int permits_release(PermitsBody<SharedWorld>* body, const Handle& h, Token token, std::uint32_t count) noexcept {
    return static_cast<int>(briefly(h.mapping, token, [&](auto& who, Wait& wait) {
        return body->permits.attempt_release(who, h.mapping->home_token(), count, wait);
    }));
}
inline bool make_permits(Mapping* m, Token token, std::uint32_t value, std::uint32_t bound, const char* label, Handle& h) noexcept {
    return make_object<PermitsBody<SharedWorld>>(m, token, Kind::permits, sizeof(PermitsBody<SharedWorld>), h, [&](auto& body) {
        body.permits.initialise(value, bound, body.table, kFirstPermitCells);
        body.bound = bound;
        body.initial = value;
        copy_label(body.label, sizeof body.label, label);
    });
}

// ---- Event

inline int event_wait(EventBody<SharedWorld>* shared, const Handle& h, Token token, std::int64_t timeout) noexcept {
    return in_world<EventBody>(h, shared, token, [&](auto& body, auto who) {
        const std::uint32_t since = body.event.epoch();
        return await<world_of<decltype(body)>>(
            who, [&](auto&, Wait& wait) { return body.event.attempt_wait(since, wait); }, Result::blocked, timeout, h.mapping,
            place_of(h));
    });
}
inline std::uint32_t event_epoch(EventBody<SharedWorld>* body) noexcept { return body->event.epoch(); }
inline int event_attempt(EventBody<SharedWorld>* shared, const Handle& h, std::uint32_t since, Wait* wait) noexcept {
    return in_world<EventBody>(h, shared, 0, [&](auto& body, auto) {
        return static_cast<int>(body.event.attempt_wait(since, *wait));
    });
}
inline void event_set(EventBody<SharedWorld>* shared, const Handle& h) noexcept {
    in_world<EventBody>(h, shared, 0, [](auto& body, auto) { body.event.set(); });
}
inline bool make_event(Mapping* m, Token token, const char* label, Handle& h) noexcept {
    return make_object<EventBody<SharedWorld>>(m, token, Kind::event, sizeof(EventBody<SharedWorld>), h,
                                               [&](auto& body) { copy_label(body.label, sizeof body.label, label); });
}

// ---- Latch

inline int latch_wait(LatchBody<SharedWorld>* shared, const Handle& h, Token token, std::int64_t timeout) noexcept {
    return in_world<LatchBody>(h, shared, token, [&](auto& body, auto who) {
        return await<world_of<decltype(body)>>(
            who, [&](auto&, Wait& wait) { return body.latch.attempt_wait(wait); }, Result::blocked, timeout, h.mapping, place_of(h));
    });
}
inline int latch_attempt(LatchBody<SharedWorld>* shared, const Handle& h, Wait* wait) noexcept {
    return in_world<LatchBody>(h, shared, 0, [&](auto& body, auto) { return static_cast<int>(body.latch.attempt_wait(*wait)); });
}
inline void latch_count_down(LatchBody<SharedWorld>* shared, const Handle& h, std::uint32_t by) noexcept {
    in_world<LatchBody>(h, shared, 0, [&](auto& body, auto) { body.latch.count_down(by); });
}
inline void latch_initialise(LatchBody<SharedWorld>& body, std::uint32_t count, const char* label) noexcept {
    body.latch.initialise(count);
    body.initial = count;
    copy_label(body.label, sizeof body.label, label);
}
inline bool make_latch(Mapping* m, Token token, std::uint32_t count, const char* label, Handle& h) noexcept {
    return make_object<LatchBody<SharedWorld>>(m, token, Kind::latch, sizeof(LatchBody<SharedWorld>), h,
                                               [&](auto& body) { latch_initialise(body, count, label); });
}

// ---- Roster

inline bool make_roster(Mapping* m, Token token, std::uint32_t seats, Handle& h) noexcept {
    const std::size_t bytes = sizeof(RosterBody<SharedWorld>) + seats * sizeof(SeatLine<SharedWorld>);
    return make_object<RosterBody<SharedWorld>>(m, token, Kind::roster, bytes, h, [&](auto& body) { body.seats = seats; });
}
inline word::Seat<SharedWorld>& seat_at(RosterBody<SharedWorld>* body, std::uint32_t index) noexcept {
    return body->lines()[index].seat;
}

// ---- Condition

inline bool grow_condition(ConditionBody<SharedWorld>* shared, const Handle& h, Token token) noexcept {
    return in_world<ConditionBody>(h, shared, token, [&](auto& body, auto) {
        const std::uint32_t capacity = body.condition.capacity() * 2;
        return grow_table<Token>(
            h, token, body.condition.table_words(capacity), body.table, [&](auto& who, auto* larger, auto*& old, Wait& wait) {
                return body.condition.attempt_grow(who, larger, capacity, old, wait);
            });
    });
}
inline int condition_enlist(ConditionBody<SharedWorld>* shared, const Handle& h, Token token, std::uint32_t* ticket) noexcept {
    return in_world<ConditionBody>(h, shared, token, [&](auto& body, auto) {
        for (;;) {
            const Result result = section(h, token, [&](auto& who, Wait& wait) {
                return body.condition.attempt_enlist(who, *ticket, wait);
            });
            if (result != Result::no_room) return static_cast<int>(result);
            if (!grow_condition(shared, h, token)) return static_cast<int>(Result::no_memory);
        }
    });
}
inline int condition_wait(ConditionBody<SharedWorld>* shared, const Handle& h, Token token, std::uint32_t ticket,
                          std::int64_t timeout) noexcept {
    return in_world<ConditionBody>(h, shared, token, [&](auto& body, auto who) {
        return await<world_of<decltype(body)>>(
            who, [&](auto&, Wait& wait) { return body.condition.attempt_wait(ticket, wait); }, Result::blocked, timeout, h.mapping,
            place_of(h));
    });
}
inline int condition_attempt(ConditionBody<SharedWorld>* shared, const Handle& h, std::uint32_t ticket, Wait* wait) noexcept {
    return in_world<ConditionBody>(h, shared, 0, [&](auto& body, auto) {
        return static_cast<int>(body.condition.attempt_wait(ticket, *wait));
    });
}
inline int condition_cancel(ConditionBody<SharedWorld>* shared, const Handle& h, Token token, std::uint32_t ticket) noexcept {
    return in_world<ConditionBody>(h, shared, token, [&](auto& body, auto) {
        return static_cast<int>(
            section(h, token, [&](auto& who, Wait& wait) { return body.condition.attempt_cancel(who, ticket, wait); }));
    });
}
inline std::uint32_t condition_notify(ConditionBody<SharedWorld>* shared, const Handle& h, Token token, std::uint32_t count) noexcept {
    return in_world<ConditionBody>(h, shared, token, [&](auto& body, auto) {
        std::uint32_t released = 0;
        section(h, token, [&](auto& who, Wait& wait) { return body.condition.attempt_notify(who, count, released, wait); });
        return released;
    });
}
inline void condition_free_private(ConditionBody<SharedWorld>* shared) noexcept {
    auto* body = reinterpret_cast<ConditionBody<PrivateWorld>*>(shared);
    if (body->condition.table() != body->table) std::free(body->condition.table());
}
inline void condition_initialise(ConditionBody<SharedWorld>& body, const char* label) noexcept {
    body.condition.initialise(body.table, kFirstWaiters);
    copy_label(body.label, sizeof body.label, label);
}
inline bool make_condition(Mapping* m, Token token, const char* label, Handle& h) noexcept {
    return make_object<ConditionBody<SharedWorld>>(m, token, Kind::condition, sizeof(ConditionBody<SharedWorld>), h,
                                                   [&](auto& body) { condition_initialise(body, label); });
}

// ---- Barrier

inline int barrier_arrive(BarrierBody<SharedWorld>* shared, const Handle& h, Token token, std::int64_t timeout, std::uint32_t* phase,
                          std::uint32_t* index) noexcept {
    return in_world<BarrierBody>(h, shared, token, [&](auto& body, auto who) {
        return await<world_of<decltype(body)>>(
            who, [&](auto& w, Wait& wait) { return body.barrier.attempt_arrive(w, *phase, *index, wait); }, Result::blocked, timeout,
            h.mapping, place_of(h));
    });
}
inline int barrier_wait(BarrierBody<SharedWorld>* shared, const Handle& h, Token token, std::uint32_t phase,
                        std::int64_t timeout) noexcept {
    return in_world<BarrierBody>(h, shared, token, [&](auto& body, auto who) {
        return await<world_of<decltype(body)>>(
            who, [&](auto& w, Wait& wait) { return body.barrier.attempt_wait(w, phase, wait); }, Result::blocked, timeout, h.mapping,
            place_of(h));
    });
}
inline int barrier_arrive_attempt(BarrierBody<SharedWorld>* shared, const Handle& h, Token token, bool look, std::uint32_t* phase,
                                  std::uint32_t* index, Wait* wait) noexcept {
    return in_world<BarrierBody>(h, shared, token, [&](auto& body, auto who) {
        who.look = who.look || look;
        return static_cast<int>(body.barrier.attempt_arrive(who, *phase, *index, *wait));
    });
}
inline int barrier_wait_attempt(BarrierBody<SharedWorld>* shared, const Handle& h, Token token, bool look, std::uint32_t phase,
                                Wait* wait) noexcept {
    return in_world<BarrierBody>(h, shared, token, [&](auto& body, auto who) {
        who.look = who.look || look;
        return static_cast<int>(body.barrier.attempt_wait(who, phase, *wait));
    });
}
inline int barrier_trip(BarrierBody<SharedWorld>* shared, const Handle& h, Token token, std::uint32_t phase) noexcept {
    return in_world<BarrierBody>(h, shared, token, [&](auto& body, auto) {
        return static_cast<int>(section(h, token, [&](auto& w, Wait& wait) { return body.barrier.attempt_trip(w, phase, wait); }));
    });
}
inline int barrier_give_up(BarrierBody<SharedWorld>* shared, const Handle& h, Token token, std::uint32_t phase) noexcept {
    return in_world<BarrierBody>(h, shared, token, [&](auto& body, auto) {
        return static_cast<int>(section(h, token, [&](auto& w, Wait& wait) { return body.barrier.attempt_give_up(w, phase, wait); }));
    });
}
inline void barrier_break(BarrierBody<SharedWorld>* shared, const Handle& h, Token token) noexcept {
    in_world<BarrierBody>(h, shared, token, [&](auto& body, auto) {
        section(h, token, [&](auto& w, Wait& wait) { return body.barrier.attempt_break(w, wait); });
    });
}
inline void barrier_reset(BarrierBody<SharedWorld>* shared, const Handle& h, Token token) noexcept {
    in_world<BarrierBody>(h, shared, token, [&](auto& body, auto) {
        section(h, token, [&](auto& w, Wait& wait) { return body.barrier.attempt_reset(w, wait); });
    });
}
inline std::size_t barrier_bytes(std::uint32_t parties) noexcept {
    return sizeof(BarrierBody<SharedWorld>) + parties * sizeof(word::BarrierCell);
}
inline void barrier_initialise(BarrierBody<SharedWorld>& body, std::uint32_t parties, const char* label) noexcept {
    body.barrier.initialise(parties, body.cells);
    copy_label(body.label, sizeof body.label, label);
}
inline bool make_barrier(Mapping* m, Token token, std::uint32_t parties, const char* label, Handle& h) noexcept {
    return make_object<BarrierBody<SharedWorld>>(m, token, Kind::barrier, barrier_bytes(parties), h,
                                                 [&](auto& body) { barrier_initialise(body, parties, label); });
}

}  // namespace treadle::core
