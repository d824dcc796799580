// map/list_layout.hpp: what a shared list consists of in the arena.
//
//   ListState (block) -> array      the cells, and how many there are
//                     -> values     those of up to kLargestPart bytes that fit in no cell, one block each
//                     -> messages   larger values
//
// All of these belong to the list's block and die with it. No block is in two cells.
//
// Primary data: which array it is, its length, its cells up to that, and the hole. Everything else is derived, and computed
// anew after a death; what no cell refers to is freed then.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "../arena/layout.hpp"
#include "layout.hpp"
#include "section.hpp"

namespace treadle::map {

// cell:  some of 2..0 set   a value that fits: the business of who makes it
//        000                63..4 grain of the value's block | 3 it is a message
//        0                  none: beyond the length
using Cell = std::uint64_t;
inline constexpr Cell kInBlock = 7, kInMessage = 8;
constexpr bool is_plain(Cell cell) noexcept { return (cell & kInBlock) != 0; }
constexpr bool in_message(Cell cell) noexcept { return (cell & (kInBlock | kInMessage)) == kInMessage; }
constexpr Cell make_cell(std::uint32_t grain, bool message) noexcept { return (Cell{grain} << 4) | (message ? kInMessage : 0); }
constexpr Offset block_in(Cell cell) noexcept { return (cell >> 4) << arena::kGrainShift; }

template <class World>
struct Array {
    Block<World> block;
    typename World::template Atom<std::uint64_t> length;  // its store makes or unmakes the cells at the end
    typename World::template Atom<Cell> cells[1];

    static constexpr std::uint64_t kHead = sizeof(Block<World>) + 8, kSmallest = 128;
    // As many cells as a block of a power of two has room for: so slots and runs are used up.
    static constexpr std::uint64_t bytes_for(std::uint64_t length) noexcept {
        const std::uint64_t bytes = std::bit_ceil(kHead + length * sizeof(Cell));
        return bytes < kSmallest ? kSmallest : bytes;
    }
    std::uint64_t capacity() const noexcept { return (block.bytes - kHead) / sizeof(Cell); }
};

// Of a value's size there is no more than the block's: a string of eleven characters takes 64 bytes.
template <class World>
struct Value {
    Block<World> block;
    std::uint64_t size() const noexcept { return block.bytes - sizeof block; }
    char* content() noexcept { return reinterpret_cast<char*>(this + 1); }
    const char* content() const noexcept { return reinterpret_cast<const char*>(this + 1); }
};

inline constexpr std::uint64_t kNoHole = ~std::uint64_t{0};

template <class World>
struct ListState {
    template <class T>
    using Atom = typename World::template Atom<T>;

    Block<World> block;
    std::uint64_t unused;

    alignas(64) SectionWords<World> words;  // guards all that follows; where a map has them
    Atom<Offset> array;          // its store makes all changes that are not at the end and not of one cell
    std::uint64_t hole;          // a cell that does not count, if below the length: one is on its way in or out
    std::uint64_t values;        // derived: cells that are not plain
    std::uint64_t bytes;         // derived: of values in blocks
    std::uint64_t large, large_bytes;  // derived: of messages
    std::uint64_t waste_left;    // derived: cells from the front of the waste that are still to be freed
    std::uint32_t waste;         // derived: grain of a former array, or 0
    std::uint32_t mended;        // how often a death was recovered from
    char label[56];
};

template <class World>
struct ListLayoutCheck {
    static_assert(sizeof(Value<World>) == 48 && Array<World>::kHead == 56 && sizeof(Array<World>) == 64);
    static_assert(offsetof(ListState<World>, large_bytes) == offsetof(ListState<World>, values) + 24);
    static_assert(sizeof(ListState<World>) <= 320 && offsetof(ListState<World>, words) == offsetof(MapState<World>, words));
};

}  // namespace treadle::map
