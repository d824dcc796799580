// map/layout.hpp: what a shared map consists of in the arena.
//
//   MapState (block) -> entries    one block each: sequence and standing, key, value
//                    -> large      values (and forms of keys) that are too large for their entry, one block each
//                    -> segments   the heads of the buckets, and the directory that lists them
//
// All of these belong to the map's block and die with it.
//
// Primary data: the entries with their `place`, the large blocks, and `floor`. An entry counts if it is live and not below
// the floor; of two with one sequence, the one that was made later (the greater serial of its block). Everything else is
// derived, and computed anew after a death.
#pragma once

#include <bit>
#include <cstdint>

#include "../arena/layout.hpp"
#include "section.hpp"

namespace treadle::map {

using arena::Block;
using arena::BlockRef;
using arena::Offset;

constexpr std::uint64_t padded(std::uint64_t bytes) noexcept { return (bytes + 7) & ~std::uint64_t{7}; }

// A part of an entry: up to kLargestPart bytes in it, or else a LargeName of a block of its own.
inline constexpr std::uint32_t kLargestPart = 8 * 1024;
inline constexpr std::uint32_t kLargeMark = 0x8000;
struct LargeName {
    BlockRef block;
    std::uint64_t bytes;
};
constexpr bool is_large(std::uint32_t part) noexcept { return (part & kLargeMark) != 0; }
constexpr std::uint32_t part_bytes(std::uint32_t part) noexcept { return part & ~kLargeMark; }

// The head of a large part's block, a message (arena::Kind); its bytes are the business of who made it.
template <class World>
struct Large {
    Block<World> block;
    std::uint64_t hash;  // of the key whose entry has it: where recovery looks whether one does
};

// place: 63..2 sequence | 1..0 Standing
enum class Standing : std::uint64_t { made = 0, live = 1, gone = 2 };
constexpr std::uint64_t make_place(std::uint64_t sequence, Standing standing) noexcept {
    return (sequence << 2) | static_cast<std::uint64_t>(standing);
}
constexpr std::uint64_t sequence_of(std::uint64_t place) noexcept { return place >> 2; }
constexpr Standing standing_of(std::uint64_t place) noexcept { return static_cast<Standing>(place & 3); }

// sizes: 63..32 bytes of the key | 31..16 of its form (0: the key is its own form) | 15..0 of the value; parts as above
struct Sizes {
    std::uint32_t key;
    std::uint16_t form, value;

    std::uint64_t packed() const noexcept { return (std::uint64_t{key} << 32) | (std::uint64_t{form} << 16) | value; }
    static Sizes of(std::uint64_t packed) noexcept {
        return {static_cast<std::uint32_t>(packed >> 32), static_cast<std::uint16_t>(packed >> 16), static_cast<std::uint16_t>(packed)};
    }
    std::uint64_t form_at() const noexcept { return padded(key); }
    std::uint64_t value_at() const noexcept { return form_at() + padded(part_bytes(form)); }
    std::uint64_t content() const noexcept { return value_at() + padded(part_bytes(value)); }
};

// Atoms are what readers read; the rest is touched inside the section alone.
template <class World>
struct Entry {
    template <class T>
    using Atom = typename World::template Atom<T>;

    Block<World> block;
    Atom<std::uint64_t> place;    // its store makes or unmakes the entry
    Atom<std::uint64_t> link;     // 63..32 hash | 31..0 derived: grain of the next in its bucket
    Atom<std::uint64_t> sizes;
    std::uint32_t older, newer;   // derived: neighbours in the order of sequence, as grains
    // the key, its form and the value follow, padded
    char* content() noexcept { return reinterpret_cast<char*>(this + 1); }
    const char* content() const noexcept { return reinterpret_cast<const char*>(this + 1); }
};
constexpr std::uint32_t hash_of(std::uint64_t link) noexcept { return static_cast<std::uint32_t>(link >> 32); }
constexpr std::uint32_t next_of(std::uint64_t link) noexcept { return static_cast<std::uint32_t>(link); }
constexpr std::uint64_t make_link(std::uint32_t hash, std::uint32_t next) noexcept { return (std::uint64_t{hash} << 32) | next; }

template <class World>
struct Segment {
    Block<World> block;
    typename World::template Atom<std::uint32_t> heads[1];  // grains of entries; those of buckets not in use mean nothing
    static std::uint64_t bytes_for(std::uint32_t buckets) noexcept { return sizeof(Block<World>) + std::uint64_t{buckets} * 4; }
};
template <class World>
struct Directory {
    Block<World> block;
    typename World::template Atom<std::uint32_t> segments[1];  // grains
    static std::uint64_t bytes_for(std::uint32_t room) noexcept { return sizeof(Block<World>) + std::uint64_t{room} * 4; }
};

inline constexpr std::uint32_t kFirstBuckets = 16, kFirstDirectory = 12;

template <class World>
struct MapState {
    template <class T>
    using Atom = typename World::template Atom<T>;

    Block<World> block;
    std::uint64_t seed;  // of the hashes

    alignas(64) SectionWords<World> words;  // guards all that follows
    Atom<std::uint64_t> buckets;         // derived: how many are in use
    Atom<Offset> directory;              // of an array of grains of segments: in here, or in a Directory
    Atom<std::uint64_t> count;           // derived
    Atom<std::uint64_t> floor;           // entries of a lower sequence are gone: its store clears the map
    std::uint64_t next_sequence;         // derived, but for the floor, below which it never is
    std::uint64_t bytes;                 // derived: of the entries
    std::uint64_t large_bytes;           // derived: of the large blocks
    std::uint64_t large;                 // derived: how many parts are large
    std::uint32_t oldest, newest;        // derived: ends of the order
    std::uint32_t waste;                 // derived: gone by the floor and not freed yet, linked by `newer`
    std::uint32_t segments;              // in the directory, from the front; its store comes after the entry's, before what goes
    std::uint32_t directory_room;
    std::uint32_t mended;                // how often a death was recovered from
    Atom<std::uint32_t> first_directory[kFirstDirectory];
    char label[56];
};

template <class World>
struct MapLayoutCheck {
    static_assert(sizeof(Entry<World>) == 80 && sizeof(Large<World>) == 56);
    static_assert(sizeof(SectionWords<World>) == 80);
    static_assert(sizeof(SectionWords<World>) % 8 == 0 && sizeof(MapState<World>) <= 512);
};

}  // namespace treadle::map
