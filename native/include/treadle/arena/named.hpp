// arena/named.hpp: the arena that a user's programs find by its path, and in it objects by their names (names.hpp).
//
// Promise: whoever opens the path is in the same arena as everybody else who did; the file goes when the last of them
// leaves or dies, unless it holds what is to stay. No step of a program that is killed leaves it locked or half made.
//
// The kernel says who is in: a lock on kMembersByte, held through each member's mapping (platform/named_file.hpp). Who
// comes in holds kGateByte, so that one at a time decides what is to be done with what it finds:
//
//   the file                                nobody is in it                           somebody is
//   empty, or without its magic             made here (its maker was killed)          -
//   nothing in it is to stay                replaced: nobody uses it                  joined
//   something may be to stay                joined; the dead are swept                joined
//     of another pid or time namespace      taken over: all who were there are dead   refused
//     of another layout                     refused                                   refused
//   of another boot of the machine          replaced                                  -
//   of another size, or something else      refused: it is not ours to remove         refused
//
//   in     open, gate (exclusive), members (shared), does the path still lead to this file? (else again), the table above
//   out    drop its record, unmap, close, members (exclusive, without waiting): had, so nobody is in, and who comes waits: remove the path
//
// A death in between lets go of the locks. The last one's leaves the file to whoever opens it next, or to `treadle gc`.
// A program that has closed all descriptors is still in, by its mapping; the next name that it opens gives it one again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "mapping.hpp"

namespace treadle::arena {

enum class NamedError : int {
    none,
    absent,       // there is none, and none was to be made
    refused,      // see `refused`
    interrupted,  // a signal came while somebody else was at the gate
    not_an_arena,
    damaged,      // of another size than it must be
    other_version,
    other_namespace,
    full,         // no memory for one more process
    system,       // no locks, address space or memory to be had
};

struct NamedFailure {
    NamedError error = NamedError::none;
    platform::Refused refused;
    bool removed = false;  // there was a file that nobody used
};

class Named {
public:
    // The arena at that path, as a member of it; `make` one if there is none. Null: see `failure`.
    static Mapping* reach(const char* path, std::uint64_t limit_bytes, bool make, NamedFailure& failure) noexcept {
        failure = {};
        if (Mapping* known = find(path)) return known;
        const Mapping::Joining joining;
        if (Mapping* known = find(path)) return known;
        for (;;) {
            const int fd = platform::open_own_file(path, make, failure.refused);
            if (fd < 0) {
                failure.error = failure.refused.why == platform::Refusal::absent ? NamedError::absent : NamedError::refused;
                return nullptr;
            }
            bool again = false;
            if (Mapping* mapping = enter(path, fd, limit_bytes, make, failure, again)) {
                platform::set_lock(mapping->system.fd, kGateByte, platform::ByteLock::none, false);
                leave_at_exit();
                return mapping;
            }
            if (!again) return nullptr;
        }
    }

    // What lies beside the file, of objects in it: told of each arena that this process leaves when its record is gone, and once
    // more, with null, if that was the last and has removed the file.
    using Leaving = void (*)(const char* path, const std::uint64_t* identity, Mapping* mapping);
    static void tell_of_leaving(Leaving told) noexcept { leaving_.store(told, std::memory_order_relaxed); }

    // For a process that has come in by this or another way: at its end it leaves, and removes what nobody uses any more.
    static void leave_at_exit() noexcept {
        if (!installed_.exchange(true, std::memory_order_relaxed)) std::atexit(leave_all);
    }

private:
    // As the file says, read and not mapped: it may be anything.
    enum class State { blank, strange, damaged, other_version, past, present, unknown };
    struct Look {
        State state;
        bool may_persist;
    };
    static Look look_at(int fd) noexcept {
        using Start = Header<SharedWorld>;
        alignas(Start) char bytes[offsetof(Start, namespaces)] = {};
        const std::uint64_t size = platform::file_size(fd);
        if (size == 0) return {State::blank, false};
        if (!platform::read_start(fd, bytes, sizeof bytes)) return {State::strange, false};
        const auto& start = *reinterpret_cast<const Start*>(bytes);
        const std::uint64_t magic = start.magic.load(std::memory_order_relaxed);
        const bool may_persist = start.may_persist.load(std::memory_order_relaxed) != 0;
        if (magic == 0 && size == kCapacity) return {State::blank, false};
        if (magic != kMagic) return {State::strange, false};
        if (start.version != kLayoutVersion || start.header_bytes != sizeof(Start)) return {State::other_version, may_persist};
        if (size != kCapacity) return {State::damaged, may_persist};
        const std::uint64_t boot = platform::current_boot();
        if (boot == 0) return {State::unknown, may_persist};
        return {start.boot == boot ? State::present : State::past, may_persist};
    }

    // Takes the descriptor. Null: see `failure`, or open the path `again`.
    static Mapping* enter(const char* path, int fd, std::uint64_t limit_bytes, bool make, NamedFailure& failure,
                          bool& again) noexcept {
        using platform::ByteLock;
        platform::Locked locked = platform::set_lock(fd, kGateByte, ByteLock::exclusive, true);
        if (locked == platform::Locked::done) locked = platform::set_lock(fd, kMembersByte, ByteLock::shared, true);
        if (locked != platform::Locked::done) {
            failure.error = locked == platform::Locked::interrupted ? NamedError::interrupted : NamedError::system;
            give_up(fd);
            return nullptr;
        }
        if (!platform::leads_to(path, platform::file_identity(fd))) {
            again = true;
            give_up(fd);
            return nullptr;
        }
        if (Mapping* left = come_back(fd)) return left;
        const bool alone = !platform::byte_locked(fd, kMembersByte);
        const Look look = look_at(fd);
        const bool unused = look.state == State::blank || look.state == State::past ||
                            (!look.may_persist && (look.state == State::present || look.state == State::other_version));
        if (alone && unused) {
            if (make && look.state == State::blank) return found(path, fd, limit_bytes, failure);
            failure.removed = platform::remove_path(path);
            again = make && failure.removed;
            if (!again) failure.error = failure.removed ? NamedError::absent : NamedError::system;
            give_up(fd);
            return nullptr;
        }
        if (look.state != State::present) {
            failure.error = look.state == State::damaged         ? NamedError::damaged
                            : look.state == State::other_version ? NamedError::other_version
                            : look.state == State::unknown       ? NamedError::system
                                                                 : NamedError::not_an_arena;
            give_up(fd);
            return nullptr;
        }
        AttachError error;
        // A descriptor that fails to be attached is closed, and its locks go with it.
        Mapping* mapping = Mapping::attach(fd, error, alone);
        if (mapping != nullptr && alone) forget_persistence(*mapping);
        if (mapping == nullptr)
            failure.error = error == AttachError::other_namespace ? NamedError::other_namespace
                            : error == AttachError::full          ? NamedError::full
                                                                  : NamedError::system;
        return mapping;
    }

    static Mapping* found(const char* path, int fd, std::uint64_t limit_bytes, NamedFailure& failure) noexcept {
        const std::uint64_t boot = platform::current_boot();
        if (boot != 0 && platform::reset_file(fd, kCapacity)) {
            if (Mapping* made = Mapping::found(fd, limit_bytes, boot)) return made;
        } else {
            platform::close_file(fd);
        }
        platform::remove_path(path);
        failure.error = NamedError::system;
        return nullptr;
    }

    // A process that is about to exec may have a copy of the descriptor: closing it alone would not give the locks back.
    static void give_up(int fd) noexcept {
        platform::set_lock(fd, kMembersByte, platform::ByteLock::none, false);
        platform::set_lock(fd, kGateByte, platform::ByteLock::none, false);
        platform::close_file(fd);
    }

    // Joined already, with a descriptor, and still what the path leads to?
    static Mapping* find(const char* path) noexcept {
        for (Mapping* m = Mapping::first(); m != nullptr; m = m->next())
            if (m->named() && m->system.has_file() && platform::leads_to(path, m->system.file())) return m;
        return nullptr;
    }
    // This process's mapping of the file, if it had lost its descriptor: this one takes its place.
    static Mapping* come_back(int fd) noexcept {
        for (Mapping* m = Mapping::first(); m != nullptr; m = m->next()) {
            if (!m->named() || !m->member() || !(m->system.file() == platform::file_identity(fd))) continue;
            m->system.fd = m->arena.registry.process_at(m->process).fd = fd;
            return m;
        }
        return nullptr;
    }

    static void leave_all() noexcept {
        for (Mapping* m = Mapping::first(); m != nullptr; m = m->next())
            if (m->named() && m->member()) leave(m);
    }

    static void forget_persistence(Mapping& mapping) noexcept {
        mapping.insist([&](auto& who, word::Wait& wait) {
            if (mapping.arena.enter(who, wait) == word::Result::blocked) return word::Result::blocked;
            mapping.arena.names.forget_persistence();
            mapping.arena.leave();
            return word::Result::done;
        });
    }

    // What this process refers to is free at once. If somebody does not leave the section (stopped, perhaps), this process
    // does not wait for it: its record is then swept as those of the dead are.
    static void drop_record(Mapping& mapping) noexcept {
        // Not as a thread: its token would count as dead from the middle of this on, and the section as left by it.
        Mapping::Caller who{boot_token(mapping.system.pid, mapping.system.birth), false, &mapping};
        word::Wait wait;
        for (int turn = 0; mapping.arena.enter(who, wait) == word::Result::blocked; ++turn) {
            if (turn == 100) return;
            who.look = SharedWorld::wait(wait.word, wait.expected, 1'000'000, wait.bits) == platform::FutexWait::timeout;
        }
        mapping.arena.registry.remove_process(mapping.process);
        mapping.process = kNoRecord;
        mapping.arena.leave();
    }

    // A child of fork is in through the same open file description: so nothing is unlocked here, but let go of; and another
    // description is asked whether anybody is left. Threads that still run find zeroes of this process's own.
    static void leave(Mapping* m) noexcept {
        char path[4096];
        platform::Refused refused;
        if (!m->system.has_file() || !platform::path_of_file(m->system.fd, path, sizeof path)) return;
        const int fd = platform::open_own_file(path, false, refused);
        if (fd < 0) return;
        if (platform::file_identity(fd) == m->system.file()) {
            const std::uint64_t identity[2] = {m->arena.header().identity[0], m->arena.header().identity[1]};
            const Leaving tell = leaving_.load(std::memory_order_relaxed);
            drop_record(*m);
            if (tell != nullptr) tell(path, identity, m);
            platform::close_file(m->system.fd);
            m->system.fd = -1;
            platform::map_nothing_over(m->base, kCapacity);
            const bool last = platform::set_lock(fd, kMembersByte, platform::ByteLock::exclusive, false) == platform::Locked::done;
            const bool useless = last && !look_at(fd).may_persist && platform::leads_to(path, m->system.file());
            if (useless && platform::remove_path(path) && tell != nullptr) tell(path, identity, nullptr);
        }
        platform::close_file(fd);
    }

    inline static constinit std::atomic<bool> installed_{false};
    inline static constinit std::atomic<Leaving> leaving_{nullptr};
};

}  // namespace treadle::arena
