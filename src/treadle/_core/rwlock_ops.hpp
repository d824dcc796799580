// rwlock_ops.hpp: what an RWLock does, for either storage: as sync_ops.hpp for the others.
//
// A lock belongs to the thread that acquired it, since only so can a thread be told that it would wait for itself.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "sync_ops.hpp"

namespace treadle::core {

inline constexpr int kWouldWaitForItself = -2;

using SharedRWLock = RWLockBody<SharedWorld>;
using word::OnDeath;

// Calls f(body, who) in the object's world, where a token is alive while its thread is.
template <class Call>
auto rwlock_in_world(const Handle& h, SharedRWLock* shared, Token token, Call call) noexcept {
    if (h.mapping == nullptr) return call(*reinterpret_cast<RWLockBody<PrivateWorld>*>(shared), PrivateCaller{token});
    return call(*shared, Mapping::ThreadCaller{token, false, h.mapping});
}
// In the child of a fork a private lock's dead are not to be reported, since nobody has been killed.
inline OnDeath rwlock_on_death(const Handle& h, OnDeath shared) noexcept { return h.mapping == nullptr ? OnDeath::adopt : shared; }

inline bool rwlock_is_mine(SharedRWLock* body, Token token) noexcept {
    return word::Mutex<SharedWorld>::is_held_by(body->lock.writer().peek(), token);
}
// Held by a writer who still lives. (In the child of a fork a private lock's may not exist.)
inline bool rwlock_is_written(SharedRWLock* body, const Handle& h) noexcept {
    if (!body->lock.writer().held()) return false;
    return h.mapping != nullptr || platform::private_token_alive(body->lock.writer().owner());
}
inline bool rwlock_is_inconsistent(SharedRWLock* body) noexcept { return body->lock.writer().inconsistent(); }
inline Token rwlock_writer(SharedRWLock* body) noexcept { return body->lock.writer().owner(); }

// How many reads this thread holds; how many all hold who still live.
inline std::uint32_t rwlock_reads_of(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto) {
        std::uint32_t reads = 0;
        section(h, token, [&](auto& who, Wait& wait) { return body.lock.attempt_count_of(who, token, reads, wait); });
        return reads;
    });
}
inline std::uint32_t rwlock_reads(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto by_thread) {
        std::uint32_t reads = 0;
        if (body.lock.reading() == 0) return reads;
        section(h, token, [&](auto& who, Wait& wait) {
            by_thread.look = who.look;
            return body.lock.attempt_count(by_thread, reads, wait);
        });
        return reads;
    });
}

// The inline fast paths: one attempt.
inline bool rwlock_try_read(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto who) {
        Wait wait;
        wait.announce = who.look = false;
        word::ReadTicket ticket;
        Token dead;
        return body.lock.attempt_read(who, token, true, OnDeath::report, ticket, dead, wait) == Result::done;
    });
}
inline bool rwlock_try_write(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto who) {
        Wait wait;
        wait.announce = who.look = false;
        Token dead;
        if (body.lock.attempt_write(who, token, OnDeath::report, dead, wait) != Result::done) return false;
        note_holder(body);
        return true;
    });
}

inline int rwlock_end_read(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto) {
        return static_cast<int>(
            section(h, token, [&](auto& who, Wait& wait) { return body.lock.attempt_end_read(who, token, wait); }));
    });
}
inline int rwlock_end_write(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto) {
        return static_cast<int>(
            section(h, token, [&](auto& who, Wait& wait) { return body.lock.attempt_end_write(who, token, wait); }));
    });
}
// The end of a recovery that went well: consistent and free.
inline int rwlock_restore(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto) {
        return static_cast<int>(
            section(h, token, [&](auto& who, Wait& wait) { return body.lock.attempt_restore(who, token, wait); }));
    });
}

inline bool grow_readers(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    return rwlock_in_world(h, shared, token, [&](auto& body, auto) {
        const std::uint32_t capacity = body.lock.capacity() * 2;
        return grow_table<word::ReaderCell>(
            h, token, body.lock.table_cells(capacity), body.table, [&](auto& who, auto* larger, auto*& old, Wait& wait) {
                return body.lock.attempt_grow(who, larger, capacity, old, wait);
            });
    });
}

// Wait for the lock. `dead` receives the writer that died, whose lock was adopted or, where the result says so, was not.
inline int rwlock_read(SharedRWLock* shared, const Handle& h, Token token, std::int64_t timeout, OnDeath on_death,
                       Token* dead) noexcept {
    *dead = word::kNobody;
    if (timeout != 0 && rwlock_is_mine(shared, token)) return kWouldWaitForItself;
    const Deadline deadline(timeout);
    return rwlock_in_world(h, shared, token, [&](auto& body, auto who) {
        word::ReadTicket ticket;
        int result;
        do {
            result = await<world_of<decltype(body)>>(
                who,
                [&](auto& w, Wait& wait) {
                    return body.lock.attempt_read(w, token, true, rwlock_on_death(h, on_death), ticket, *dead, wait);
                },
                Result::blocked, deadline.left(), h.mapping, place_of(h));
        } while (result == static_cast<int>(Result::no_room) && grow_readers(shared, h, token));
        if (result == static_cast<int>(Result::no_room)) return static_cast<int>(Result::no_memory);
        if (result == static_cast<int>(Result::owner_died) || result == static_cast<int>(Result::inconsistent))
            *dead = body.lock.writer().owner();
        if (!ticket.enlisted) return result;
        const Result cancelled = section(
            h, token, [&](auto& w, Wait& wait) { return body.lock.attempt_cancel_read(w, token, ticket, wait); });
        if (cancelled == Result::done) return result;
        if (result == kTimeout) return static_cast<int>(Result::done);
        rwlock_end_read(shared, h, token);  // interrupted, and let in at the same time
        return result;
    });
}
inline int rwlock_write(SharedRWLock* shared, const Handle& h, Token token, std::int64_t timeout, OnDeath on_death,
                        Token* dead) noexcept {
    *dead = word::kNobody;
    if (timeout != 0 && (rwlock_is_mine(shared, token) || rwlock_reads_of(shared, h, token) != 0)) return kWouldWaitForItself;
    return rwlock_in_world(h, shared, token, [&](auto& body, auto who) {
        const int result = await<world_of<decltype(body)>>(
            who,
            [&](auto& w, Wait& wait) { return body.lock.attempt_write(w, token, rwlock_on_death(h, on_death), *dead, wait); },
            Result::blocked, timeout, h.mapping, place_of(h));
        if (result == static_cast<int>(Result::done)) {
            note_holder(body);
        } else if (result == static_cast<int>(Result::owner_died) || result == static_cast<int>(Result::inconsistent)) {
            *dead = body.lock.writer().owner();
        } else if (timeout != 0) {
            section(h, token, [&](auto& w, Wait& wait) { return body.lock.attempt_cancel_write(w, token, wait); });
        }
        return result;
    });
}

// One attempt each, for a task. A read that has enlisted is cancelled by whoever gives up waiting.
using word::ReadTicket;
inline int rwlock_read_attempt(SharedRWLock* shared, const Handle& h, Token token, bool look, OnDeath on_death, ReadTicket* ticket,
                               Token* dead, Wait* wait) noexcept {
    *dead = word::kNobody;
    if (rwlock_is_mine(shared, token)) return kWouldWaitForItself;
    return rwlock_in_world(h, shared, token, [&](auto& body, auto who) {
        who.look = who.look || look;
        Result result;
        do {
            result = body.lock.attempt_read(who, token, true, rwlock_on_death(h, on_death), *ticket, *dead, *wait);
        } while (result == Result::no_room && grow_readers(shared, h, token));
        if (result == Result::no_room) return static_cast<int>(Result::no_memory);
        if (result == Result::owner_died || result == Result::inconsistent) *dead = body.lock.writer().owner();
        return static_cast<int>(result);
    });
}
// Was it let in before it could give up?
inline bool rwlock_cancel_read(SharedRWLock* shared, const Handle& h, Token token, ReadTicket* ticket) noexcept {
    if (!ticket->enlisted) return false;
    return rwlock_in_world(h, shared, token, [&](auto& body, auto) {
        return section(h, token, [&](auto& w, Wait& wait) { return body.lock.attempt_cancel_read(w, token, *ticket, wait); }) !=
               Result::done;
    });
}
inline int rwlock_write_attempt(SharedRWLock* shared, const Handle& h, Token token, bool look, OnDeath on_death, Token* dead,
                                Wait* wait) noexcept {
    *dead = word::kNobody;
    if (rwlock_is_mine(shared, token) || rwlock_reads_of(shared, h, token) != 0) return kWouldWaitForItself;
    return rwlock_in_world(h, shared, token, [&](auto& body, auto who) {
        who.look = who.look || look;
        const Result result = body.lock.attempt_write(who, token, rwlock_on_death(h, on_death), *dead, *wait);
        if (result == Result::done) note_holder(body);
        else if (result == Result::owner_died || result == Result::inconsistent) *dead = body.lock.writer().owner();
        return static_cast<int>(result);
    });
}
inline void rwlock_cancel_write(SharedRWLock* shared, const Handle& h, Token token) noexcept {
    rwlock_in_world(h, shared, token, [&](auto& body, auto) {
        section(h, token, [&](auto& w, Wait& wait) { return body.lock.attempt_cancel_write(w, token, wait); });
    });
}

inline void rwlock_initialise(SharedRWLock& body, const char* label) noexcept {
    body.lock.initialise(body.table, kFirstReaders);
    copy_label(body.label, sizeof body.label, label);
}
inline bool make_rwlock(Mapping* m, Token token, const char* label, Handle& h) noexcept {
    return make_object<SharedRWLock>(m, token, Kind::rwlock, sizeof(SharedRWLock), h,
                                     [&](auto& body) { rwlock_initialise(body, label); });
}
inline void rwlock_free_private(SharedRWLock* shared) noexcept {
    if (shared->lock.table() != shared->table) std::free(shared->lock.table());
}

}  // namespace treadle::core
