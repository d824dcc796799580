// transit.hpp: whether a handle that was sent has arrived.
//
// Whoever pickles a handle keeps its object alive until the handle has arrived, or for a minute (transit.pxi). It notes the
// ticket's number in a table of its own in the object's arena; whoever has made a handle of the ticket clears that.
//
//   place    0 -> number (sender: the ticket is written) -> 0 (the first receiver, inside the arena's section, once it refers to
//            the object; or the sender, that waits no longer)
//
// A number is never used twice in one place, so a ticket that is used again, or late, acknowledges no other. Deaths: of the
// sender, whose table goes with its references, and then its tickets find nothing to clear; of a receiver before the clearing:
// the sender keeps the object for its minute.
#pragma once

#include <atomic>
#include <cstdint>

#include "bodies.hpp"
#include "treadle/arena/mapping.hpp"

namespace treadle::core {

using SharedTransit = TransitBody<SharedWorld>;

inline char* body_of(arena::SharedBlock* block) noexcept { return reinterpret_cast<char*>(block + 1); }

// Inside the arena's section; `transit` and `number` as any ticket has them, that may be forged.
template <class Heap>
void acknowledge(Heap& heap, arena::BlockRef transit, std::uint64_t number) noexcept {
    if (transit == 0 || number == 0) return;
    auto* block = heap.block_if_valid(arena::offset_of(transit));
    if (block == nullptr || block->kind != static_cast<std::uint16_t>(arena::Kind::transit)) return;
    const std::uint64_t serial = block->serial.load(std::memory_order_relaxed);
    if (serial == 0 || arena::make_ref(arena::offset_of(transit), serial) != transit) return;
    auto& place = reinterpret_cast<SharedTransit*>(body_of(block))->outstanding[number % kTransitPlaces];
    place.compare_exchange_strong(number, 0, std::memory_order_release, std::memory_order_relaxed);  // SYNC arrive→look
}

// For the sender.
inline void note_sent(SharedTransit* table, std::uint64_t number) noexcept {
    table->outstanding[number % kTransitPlaces].store(number, std::memory_order_relaxed);
}
inline bool has_arrived(SharedTransit* table, std::uint64_t number) noexcept {
    // SYNC arrive→look: the receiver's reference is there before the sender drops its own
    return table->outstanding[number % kTransitPlaces].load(std::memory_order_acquire) != number;
}
inline void await_no_longer(SharedTransit* table, std::uint64_t number) noexcept {
    table->outstanding[number % kTransitPlaces].compare_exchange_strong(number, 0, std::memory_order_relaxed,
                                                                        std::memory_order_relaxed);
}

}  // namespace treadle::core
