// channel/channel.hpp: two ends, a by-value ring towards each of them, and a doorbell for each.
//
//   ChannelState (block) -> ring to end 0 (QueueState, a block that belongs to this one)
//                        -> ring to end 1 (absent in a channel of one direction: end 0 receives, end 1 sends)
//
// `come` says of each end whether anybody has taken it yet: of a channel with a name, whose ends are taken one by one. Who holds an
// end is the kernel's to say; that nobody does means the end of all only if somebody once did.
//
// Messages are the rings' items: sent and received entirely or not at all (ring/queue.hpp). Freed with the block, when no
// process refers to it any more.
#pragma once

#include <cstdint>
#include <cstring>

#include "../arena/layout.hpp"
#include "../ring/queue.hpp"
#include "doorbell.hpp"

namespace treadle::channel {

template <class World>
struct ChannelState {
    arena::Block<World> block;
    arena::Offset rings[2];  // towards that end; 0: none
    char label[48];
    typename World::template Atom<std::uint32_t> come;
    struct alignas(64) {
        Doorbell<World> bell;
    } ends[2];
};

inline constexpr std::uint32_t kNobodyYet = 0, kBothEnds = 3;

// Makes a channel, inside the arena's section. `come`: whose ends are taken. Null: the limit.
template <class World, class Member>
ChannelState<World>* make(Member& member, bool duplex, std::uint64_t max_bytes, std::uint32_t come = kBothEnds) noexcept {
    auto& heap = member.arena.heap;
    using State = ChannelState<World>;
    auto* state = reinterpret_cast<State*>(heap.allocate(sizeof(State), arena::Kind::channel));
    if (state == nullptr) return nullptr;
    std::memset(static_cast<void*>(&state->block + 1), 0, sizeof(State) - sizeof state->block);
    state->come.store(come, std::memory_order_relaxed);
    for (int side = 0; side < (duplex ? 2 : 1); ++side) {
        auto* ring = ring::Queue<World, Member>::make(member, 0, max_bytes);
        if (ring == nullptr) {
            heap.free(&state->block);
            return nullptr;
        }
        heap.set_owner(&ring->block, &state->block);
        state->rings[side] = heap.offset_of_block(ring);
    }
    return state;
}

}  // namespace treadle::channel
