// objects.hpp: shared objects as this process holds them: made, attached by name of block, dropped, described.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstdio>
#include <cstring>
#include <utility>

#include "await.hpp"
#include "bodies.hpp"
#include "transit.hpp"
#include "treadle/arena/mapping.hpp"
#include "treadle/ring/queue.hpp"

namespace treadle::core {

using arena::Kind;
using arena::Offset;
using arena::SharedBlock;
using Handles = arena::SharedHandles;

// What a Python object keeps of a shared one. mapping null: it is private.
struct Handle {
    Mapping* mapping;
    SharedBlock* block;
    std::uint64_t serial;
    std::uint32_t slot;
};

// How a handle travels: enough to find the arena through any of two processes, and the object in it.
struct Ticket {
    std::uint64_t arena[2];
    std::uint64_t offset, serial;
    std::int32_t sender_pid, sender_fd, creator_pid, creator_fd;
    arena::BlockRef transit;  // where the sender learns that the handle has arrived (transit.hpp); 0: nowhere
    std::uint64_t number;
    std::uint32_t kind, check;
};
static_assert(sizeof(Ticket) == 72);

enum class AttachFailure : int { none, unreachable, not_an_arena, other_version, other_namespace, full, gone };

inline void copy_label(char* to, std::size_t room, const char* label) noexcept {
    const std::size_t length = strnlen(label, room - 1);
    std::memcpy(to, label, length);
    std::memset(to + length, 0, room - length);
}

// Makes an object: `initialise(body)` runs inside the arena's section on zeroed memory.
template <class Make>
bool make_block(Mapping* mapping, Token token, Handle& handle, Make make) noexcept {
    const auto attempt = [&](auto& who, Wait& wait) {
        if (mapping->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        SharedBlock* block = make();
        std::uint32_t slot = 0;
        if (block != nullptr) {
            slot = mapping->handles.add(mapping->arena, mapping->process, block);
            if (slot == Handles::kNoSlot) {
                mapping->arena.heap.free(block);
                block = nullptr;
            }
        }
        if (block != nullptr) handle = Handle{mapping, block, block->serial.load(std::memory_order_relaxed), slot};
        mapping->arena.leave();
        return block == nullptr ? Result::no_memory : Result::done;
    };
    if (mapping->sweep_due()) sweep_released(mapping);
    if (briefly(mapping, token, attempt) == Result::done) return true;
    // The dead may still hold what is missing.
    return sweep_released(mapping) != 0 && briefly(mapping, token, attempt) == Result::done;
}

template <class Body, class Initialise>
bool make_object(Mapping* mapping, Token token, Kind kind, std::size_t bytes, Handle& handle, Initialise initialise) noexcept {
    return make_block(mapping, token, handle, [&]() -> SharedBlock* {
        SharedBlock* block = mapping->arena.heap.allocate(arena::kBlockHeader + bytes, kind);
        if (block == nullptr) return nullptr;
        std::memset(body_of(block), 0, bytes);
        initialise(*reinterpret_cast<Body*>(body_of(block)));
        return block;
    });
}

inline void drop_slot(Mapping* mapping, std::uint32_t slot) noexcept {
    if (mapping == nullptr || !mapping->member()) return;
    briefly(mapping, mapping->caller_token(), [&](auto& who, Wait& wait) {
        if (mapping->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        mapping->handles.drop(mapping->arena, mapping->process, slot);
        mapping->arena.leave();
        return Result::done;
    });
}
inline void drop_object(Handle& handle) noexcept {
    if (handle.mapping == nullptr) return;
    drop_slot(handle.mapping, handle.slot);
    handle = Handle{};
}

// Objects whose __init__ was called again: kept until the Python object goes, since calls may be inside, and the memory of a
// block that was let go of is another object's.
struct Retired {
    Handle handle;
    Retired* before;
};
inline void retire(Handle& handle, Retired*& retired) noexcept {
    if (handle.mapping == nullptr) return;
    auto* last = static_cast<Retired*>(std::malloc(sizeof(Retired)));
    if (last != nullptr) *last = Retired{handle, retired};  // else it stays until the process ends
    retired = last == nullptr ? retired : last;
    handle = Handle{};
}
inline void drop_retired(Retired* retired) noexcept {
    while (retired != nullptr) {
        Retired* const before = retired->before;
        drop_object(retired->handle);
        std::free(retired);
        retired = before;
    }
}

inline std::uint32_t ticket_check(const Ticket& t) noexcept {
    const auto* bytes = reinterpret_cast<const unsigned char*>(&t);
    std::uint32_t sum = 2166136261u;  // FNV-1a: against truncated and scribbled tickets, not against forgers
    for (std::size_t i = 0; i < offsetof(Ticket, check); ++i) sum = (sum ^ bytes[i]) * 16777619u;
    return sum;
}

inline void write_ticket(const Handle& handle, Ticket& t) noexcept {
    const auto& h = handle.mapping->arena.header();
    t = Ticket{{h.identity[0], h.identity[1]},
               handle.mapping->arena.heap.offset_of_block(handle.block),
               handle.serial,
               handle.mapping->system.pid,
               handle.mapping->system.fd,
               handle.mapping->named() ? 0 : h.creator_pid,  // 0: by its path
               h.creator_fd,
               0,
               0,
               handle.block->kind,
               0};
    t.check = ticket_check(t);
}

// Where this process learns of the tickets that it writes.
inline bool make_transit(Mapping* mapping, Token token, Handle& handle) noexcept {
    return make_object<SharedTransit>(mapping, token, Kind::transit, sizeof(SharedTransit), handle, [](auto&) {});
}
inline void address_ticket(Ticket& t, const Handle& transit, std::uint64_t number) noexcept {
    t.transit = arena::make_ref(transit.mapping->arena.heap.offset_of_block(transit.block), transit.serial);
    t.number = number;
    t.check = ticket_check(t);
}

// The arena of a ticket: mapped already, or opened through one of the processes that it names.
inline Mapping* reach_arena(const Ticket& t, AttachFailure& failure) noexcept {
    arena::AttachError error = arena::AttachError::none;
    Mapping* mapping = Mapping::reach(t.arena, [&t] {
        for (const auto& [pid, its_fd] : {std::pair{t.sender_pid, t.sender_fd}, std::pair{t.creator_pid, t.creator_fd}}) {
            const int fd = platform::open_foreign_file(pid, its_fd);
            if (fd < 0) continue;
            if (arena::has_identity(fd, t.arena)) return fd;
            platform::close_file(fd);
        }
        return -1;
    }, error);
    failure = error == arena::AttachError::other_version     ? AttachFailure::other_version
              : error == arena::AttachError::other_namespace ? AttachFailure::other_namespace
              : error == arena::AttachError::full            ? AttachFailure::full
              : error == arena::AttachError::not_an_arena    ? AttachFailure::not_an_arena
                                                             : AttachFailure::unreachable;
    return mapping;
}

inline Mapping* find_arena(const Ticket& t) noexcept { return Mapping::find(t.arena); }

// `mapping` is that of reach_arena.
inline AttachFailure attach_object(Mapping* mapping, Token token, const Ticket& t, Kind kind, Handle& handle) noexcept {
    AttachFailure failure = AttachFailure::gone;
    briefly(mapping, token, [&](auto& who, Wait& wait) {
        if (mapping->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        SharedBlock* block = mapping->arena.heap.block_if_valid(t.offset);
        if (block != nullptr && t.serial != 0 && block->serial.load(std::memory_order_relaxed) == t.serial &&
            block->kind == static_cast<std::uint16_t>(kind)) {
            const std::uint32_t slot = mapping->handles.add(mapping->arena, mapping->process, block);
            if (slot == Handles::kNoSlot) {
                failure = AttachFailure::full;
            } else {
                handle = Handle{mapping, block, t.serial, slot};
                failure = AttachFailure::none;
                acknowledge(mapping->arena.heap, t.transit, t.number);
            }
        }
        mapping->arena.leave();
        return Result::done;
    });
    return failure;
}

// Who a token is, as far as the arena still knows.
struct Identity {
    std::int32_t pid, tid;  // 0: not known any more
    char name[40];
    bool task;
};
inline void identify(Mapping* mapping, Token token, std::uint64_t holder, Identity& who) noexcept {
    who = Identity{static_cast<std::int32_t>(holder >> 32), static_cast<std::int32_t>(holder & 0xffffffff), {}, false};
    if (mapping == nullptr || token == word::kNobody) return;
    const auto* record = mapping->arena.registry.participant_of(token);
    if (record == nullptr) return;
    const std::int32_t pid = record->pid.load(std::memory_order_relaxed);
    if (who.pid != pid) who = Identity{pid, 0, {}, false};  // a former holder's: this one died before it had noted itself
    // The thread may have ended (its serial + 1), and its record may serve another thread of that process (beyond).
    if (((record->serial.load(std::memory_order_acquire) - arena::token_serial(token)) & arena::kIndexMask) > 1) return;
    who.tid = record->tid;
    std::memcpy(who.name, record->name, sizeof who.name);
    who.name[sizeof who.name - 1] = 0;
    who.task = record->task;
}

inline bool is_of_living_process(const Handle& handle, Token token) noexcept {
    return handle.mapping != nullptr && handle.mapping->arena.registry.alive(token);
}
inline bool is_of_living_thread(const Handle& handle, Token token) noexcept {
    return handle.mapping != nullptr && handle.mapping->arena.registry.thread_alive(token);
}

// How many threads, of all processes, are parked on the object.
inline std::uint32_t count_waiting(const Handle& handle) noexcept {
    if (handle.mapping == nullptr) return 0;
    const std::uint64_t offset = handle.mapping->arena.heap.offset_of_block(handle.block);
    const auto& registry = handle.mapping->arena.registry;
    const std::uint32_t limit = handle.mapping->arena.header().participant_limit.load(std::memory_order_acquire);
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < limit; ++i) {
        const auto& p = registry.participant_at(i);
        const std::uint32_t process = p.process.load(std::memory_order_acquire);
        if (p.waiting_on.load(std::memory_order_acquire) != offset || process == arena::kNoRecord) continue;
        count += registry.process_alive(process, registry.process_at(process)) ? 1 : 0;
    }
    return count;
}

struct ArenaFigures {
    std::uint64_t limit, backed, used, blocks, rebuilds;
};
inline void arena_figures(Mapping* mapping, ArenaFigures& figures) noexcept {
    const auto& h = mapping->arena.header();
    figures = ArenaFigures{h.limit_units.load(std::memory_order_relaxed) * arena::kUnit,
                           h.backed_units.load(std::memory_order_relaxed) * arena::kUnit,
                           h.used_units.load(std::memory_order_relaxed) * arena::kUnit,
                           h.blocks.load(std::memory_order_relaxed), h.rebuilds.load(std::memory_order_relaxed)};
}
inline void set_arena_limit(Mapping* mapping, std::uint64_t bytes) noexcept { mapping->arena.set_limit(bytes); }

}  // namespace treadle::core
