// memory_ops.hpp: plain memory of the arena, which a Value, an Array or an ndarray lies in, and atomic integers in it.
//
//   0       the block's header
//   48      MemoryHead: what reports call it
//   96      the data, if it has at most 16 bytes: a number fits in a lock's slot
//   128     the data, else: arrays begin with a cache line
//
// Deaths: the block is made in one step of the arena's (heap.hpp). It is filled by its maker before anybody else can know of
// it; a maker that dies meanwhile leaves a block without references. Each operation on an integer is one instruction: it has
// happened entirely, or not at all.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "objects.hpp"

namespace treadle::core {

struct MemoryHead {
    char label[48];
};
inline constexpr std::uint64_t kSmallData = arena::kBlockHeader + sizeof(MemoryHead), kSmallBytes = 16;
inline constexpr std::uint64_t kData = 128;
static_assert(kSmallData + kSmallBytes == arena::kLockSlot && kSmallData % 16 == 0);

constexpr std::uint64_t memory_data_at(std::uint64_t bytes) noexcept { return bytes <= kSmallBytes ? kSmallData : kData; }

// The block's own size says which of the two it is: there is no second figure that could contradict it.
inline std::uint64_t memory_bytes(const SharedBlock* block) noexcept {
    return block->bytes - (block->bytes <= kSmallData + kSmallBytes ? kSmallData : kData);
}
inline char* memory_data(SharedBlock* block) noexcept {
    return reinterpret_cast<char*>(block) + memory_data_at(memory_bytes(block));
}
inline MemoryHead* memory_head(SharedBlock* block) noexcept { return reinterpret_cast<MemoryHead*>(body_of(block)); }

// The data is as whoever had it before has left it. Holds the interpreter on entry and return.
inline bool make_memory(Mapping* mapping, Token token, std::uint64_t bytes, const char* label, Handle& handle) noexcept {
    if (bytes > arena::kCapacity) return false;
    return make_block(mapping, token, handle, [&]() -> SharedBlock* {
        SharedBlock* block = mapping->arena.heap.allocate(memory_data_at(bytes) + bytes, Kind::memory);
        if (block == nullptr) return nullptr;
        copy_label(memory_head(block)->label, sizeof(MemoryHead::label), label);
        return block;
    });
}

// ---- Integers of 1, 2, 4 or 8 bytes, naturally aligned, as the low bits of 64
//
// All are sequentially consistent: what a program does with several counters is to look as if it had happened in one order,
// and on x86-64 only `store` costs more for it.

// Calls f with an atomic reference to what lies there.
template <class Operation>
std::uint64_t on_integer(void* at, unsigned width, Operation f) noexcept {
    switch (width) {
        case 1: return f(std::atomic_ref(*static_cast<std::uint8_t*>(at)));
        case 2: return f(std::atomic_ref(*static_cast<std::uint16_t*>(at)));
        case 4: return f(std::atomic_ref(*static_cast<std::uint32_t*>(at)));
        default: return f(std::atomic_ref(*static_cast<std::uint64_t*>(at)));
    }
}
template <class Reference>
using integer_of = typename Reference::value_type;

inline std::uint64_t integer_load(void* at, unsigned width) noexcept {
    return on_integer(at, width, [](auto integer) { return integer.load(); });
}
// For who holds the object's lock, which orders it.
inline void integer_write(void* at, unsigned width, std::uint64_t bits) noexcept {
    on_integer(at, width, [bits](auto integer) {
        integer.store(static_cast<integer_of<decltype(integer)>>(bits), std::memory_order_relaxed);
        return std::uint64_t{0};
    });
}
inline void integer_store(void* at, unsigned width, std::uint64_t bits) noexcept {
    on_integer(at, width, [bits](auto integer) {
        integer.store(static_cast<integer_of<decltype(integer)>>(bits));
        return std::uint64_t{0};
    });
}
inline std::uint64_t integer_exchange(void* at, unsigned width, std::uint64_t bits) noexcept {
    return on_integer(at, width, [bits](auto integer) { return integer.exchange(static_cast<integer_of<decltype(integer)>>(bits)); });
}
// Returns what was there. Wraps around.
inline std::uint64_t integer_fetch_add(void* at, unsigned width, std::uint64_t bits) noexcept {
    return on_integer(at, width, [bits](auto integer) { return integer.fetch_add(static_cast<integer_of<decltype(integer)>>(bits)); });
}
inline bool integer_compare_exchange(void* at, unsigned width, std::uint64_t expected, std::uint64_t bits) noexcept {
    return on_integer(at, width, [=](auto integer) -> std::uint64_t {
        using T = integer_of<decltype(integer)>;
        auto seen = static_cast<T>(expected);
        return integer.compare_exchange_strong(seen, static_cast<T>(bits)) ? 1 : 0;
    }) != 0;
}

}  // namespace treadle::core
