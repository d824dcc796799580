// names.hpp: objects by name: opened, listed, let go.
//
// Every function holds the interpreter on entry and return.
#pragma once

#include <cstdint>
#include <cstring>

#include "objects.hpp"
#include "treadle/arena/named.hpp"

namespace treadle::core {

using arena::Named;
using arena::NamedError;
using arena::NamedFailure;
using arena::Text;

inline constexpr std::uint32_t kLongestName = arena::kLongestName;
inline constexpr std::uint32_t kLongestDescription = arena::kLongestDescription;

inline Mapping* open_named_arena(const char* path, std::uint64_t limit, bool make, NamedFailure& failure) noexcept {
    const InterpreterReleased released;
    return Named::reach(path, limit, make, failure);
}

enum class NameOutcome : int { found, absent, different, full };

struct Description {
    char text[kLongestDescription];
    std::uint32_t bytes;
};

template <class Action>
void in_section(Mapping* mapping, Token token, Action action) noexcept {
    briefly(mapping, token, [&](auto& who, Wait& wait) {
        if (mapping->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        action(mapping->arena);
        mapping->arena.leave();
        return Result::done;
    });
}

// Refers to the object of that name; if there is none, `made` (unless null) gets the name. Inside the section, which so
// decides who creates. `keep`: it is to stay without users. Different: `existing` says what has the name.
inline NameOutcome open_name(Mapping* mapping, Token token, Text name, Text description, bool keep, const Handle* made,
                             Handle& handle, Description& existing) noexcept {
    NameOutcome outcome = NameOutcome::full;
    in_section(mapping, token, [&](auto& arena) {
        outcome = NameOutcome::full;
        const auto* entry = arena.names.find(name);
        if (entry == nullptr) {
            if (made == nullptr) {
                outcome = NameOutcome::absent;
                return;
            }
            if (!arena.names.add(made->block, name, description)) return;
            if (keep) arena.names.keep(made->block);
            handle = *made;
            outcome = NameOutcome::found;
            return;
        }
        const Text found = arena.names.description_of(entry);
        if (!(found == description)) {
            existing.bytes = found.bytes;
            std::memcpy(existing.text, found.data, found.bytes);
            outcome = NameOutcome::different;
            return;
        }
        SharedBlock* block = arena.names.object_of(entry);
        const std::uint32_t slot = mapping->handles.add(arena, mapping->process, block);
        if (slot == Handles::kNoSlot) return;
        handle = Handle{mapping, block, block->serial.load(std::memory_order_relaxed), slot};
        if (keep) arena.names.keep(block);
        outcome = NameOutcome::found;
    });
    return outcome;
}

// Frees what only the dead still use under that name, so that nobody meets it.
inline void sweep_name(Mapping* mapping, Token token, Text name) noexcept {
    bool doubtful = false;
    in_section(mapping, token, [&](auto& arena) {
        const auto* entry = arena.names.find(name);
        doubtful = entry != nullptr && !arena.names.keeps(arena.names.object_of(entry));
    });
    if (doubtful) sweep_released(mapping);
}

// The name of an object that this process refers to; empty: it has none.
inline Text name_of(const Handle& h) noexcept {
    if (h.mapping == nullptr || !h.mapping->member()) return Text{"", 0};
    const auto* entry = h.mapping->arena.names.entry_of(h.block);
    return entry == nullptr ? Text{"", 0} : h.mapping->arena.names.name_of(entry);
}

struct NameFigures {
    char name[kLongestName];
    Description description;
    std::uint32_t name_bytes;
    std::uint32_t users;      // processes, of whom `pids` has the first
    std::int32_t pids[64];
    std::uint64_t bytes;
    bool persistent;
    Ticket ticket;
};
// The next name from `cursor` on; false: there is none.
inline bool next_name(Mapping* mapping, Token token, std::uint32_t& cursor, NameFigures& f) noexcept {
    bool found = false;
    in_section(mapping, token, [&](auto& arena) {
        const auto* entry = arena.names.find_next(cursor);
        found = entry != nullptr;
        if (!found) return;
        SharedBlock* block = arena.names.object_of(entry);
        const Text name = arena.names.name_of(entry), description = arena.names.description_of(entry);
        std::memcpy(f.name, name.data, f.name_bytes = name.bytes);
        std::memcpy(f.description.text, description.data, f.description.bytes = description.bytes);
        f.persistent = arena.names.keeps(block);
        f.bytes = arena.heap.bytes_of(block);
        f.users = 0;
        arena.registry.for_each_user(block, [&](std::int32_t pid) {
            if (f.users < sizeof f.pids / sizeof *f.pids) f.pids[f.users] = pid;
            ++f.users;
        });
        write_ticket(Handle{mapping, block, block->serial.load(std::memory_order_relaxed), 0}, f.ticket);
    });
    return found;
}

inline std::uint32_t count_processes(Mapping* mapping, Token token) noexcept {
    std::uint32_t count = 0;
    in_section(mapping, token, [&](auto& arena) { count = arena.registry.live_processes(); });
    return count;
}
inline bool may_persist(Mapping* mapping) noexcept {
    return mapping->arena.header().may_persist.load(std::memory_order_acquire) != 0;
}

// The object of that name, and its parts (named like it, a slash, and more), are not to stay without users any more.
// Parts first: a death in between leaves what the name's next release finishes. Returns whether there was any.
inline bool release_name(Mapping* mapping, Token token, Text name) noexcept {
    bool found = false;
    in_section(mapping, token, [&](auto& arena) {
        std::uint32_t cursor = 0;
        while (const auto* entry = arena.names.find_next(cursor)) {
            const Text part = arena.names.name_of(entry);
            if (part.bytes <= name.bytes || part.data[name.bytes] != '/' || std::memcmp(part.data, name.data, name.bytes) != 0)
                continue;
            found = true;
            arena.names.release(arena.names.object_of(entry));
        }
        if (const auto* entry = arena.names.find(name)) {
            found = true;
            arena.names.release(arena.names.object_of(entry));
        }
    });
    return found;
}

}  // namespace treadle::core
