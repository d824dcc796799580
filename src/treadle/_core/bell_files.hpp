// bell_files.hpp: the doorbells of a channel that has a name: two named pipes beside the file of names.
//
// Their paths hold the arena's identity, and the block's offset and serial, which no other block ever has. Who opens them refers
// to the block. So once the block is gone nobody can be about to open them, and whoever finds that may remove them: who
// drops the last reference; a process that leaves the arena; and, of the killed, the next to make such a channel, or `treadle gc`.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "names.hpp"
#include "objects.hpp"
#include "treadle/platform/bell_file.hpp"

namespace treadle::core {

using BellPath = char[4096 + 128];

constexpr unsigned long long printed(std::uint64_t number) noexcept { return number; }

// The beginning of the paths of all bells of that arena.
inline void write_bells_of(const char* names_path, const std::uint64_t* identity, BellPath& path) noexcept {
    std::snprintf(path, sizeof path, "%s.bell-%016llx%016llx-", names_path, printed(identity[0]), printed(identity[1]));
}
// False: this process cannot tell where the arena's file is.
inline bool write_bell_path(Mapping* m, Offset offset, std::uint64_t serial, std::uint32_t side, BellPath& path) noexcept {
    char names_path[4096];
    if (!m->system.has_file() || !platform::path_of_file(m->system.fd, names_path, sizeof names_path)) return false;
    write_bells_of(names_path, m->arena.header().identity, path);
    const std::size_t length = std::strlen(path);
    const int more = std::snprintf(path + length, sizeof path - length, "%llx-%llx-%u", printed(offset), printed(serial), side);
    return more > 0 && static_cast<std::size_t>(more) < sizeof path - length;
}

// Is a block with that serial there? Of one that is live this is never false.
inline bool block_is_there(Mapping* m, Offset offset, std::uint64_t serial) noexcept {
    const SharedBlock* block = m->arena.heap.block_if_valid(offset);
    return block != nullptr && serial != 0 && block->serial.load(std::memory_order_acquire) == serial;
}
// `rest`: what of a bell's name comes after the arena's identity.
inline bool bell_is_useless(Mapping* m, const char* rest) noexcept {
    unsigned long long offset = 0, serial = 0;
    unsigned side = 0;
    if (std::sscanf(rest, "%llx-%llx-%u", &offset, &serial, &side) != 3) return false;
    return m == nullptr || !block_is_there(m, offset, serial);
}

// Of a process that leaves the arena: what nobody uses any more. `m` null: it was the last, and the file is gone.
inline void remove_bells_at_leave(const char* names_path, const std::uint64_t* identity, Mapping* m) noexcept {
    BellPath path;
    write_bells_of(names_path, identity, path);
    platform::remove_bell_files(path, [m](const char* rest) { return bell_is_useless(m, rest); });
}

// `bell` is a path that was found before `m` was: null if there is no arena of names. Of another arena, which was there before
// this one, it is useless.
inline bool bell_file_is_useless(Mapping* m, const char* names_path, const char* bell) noexcept {
    BellPath path;
    if (m == nullptr) return true;
    write_bells_of(names_path, m->arena.header().identity, path);
    const std::size_t length = std::strlen(path);
    return std::strncmp(bell, path, length) != 0 || bell_is_useless(m, bell + length);
}

}  // namespace treadle::core
