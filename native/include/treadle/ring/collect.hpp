// ring/collect.hpp: what a death in one of a queue's sections has left: freed by whoever enters that section next.
//
// Idempotent, so it may die as well. Which blocks are live follows from what is published: chunks by their order, messages
// by the index of their item, leases and their table by being listed. The tail's section makes blocks that lie beyond
// what was put, the head's frees those that lie before what was taken; each collects its own, so the ends need not meet.
#pragma once

#include "layout.hpp"
#include "leases.hpp"

namespace treadle::ring {

enum class Side { head, tail };

// Inside that side's section and the arena's.
template <class World, class Member>
void collect(QueueState<World>* q, Member& m, Side side) noexcept {
    auto& heap = m.arena.heap;
    Leases<World, Member> leases(q, m);
    const std::uint64_t tail = q->tail.version.load(std::memory_order_relaxed);
    const std::uint64_t head = q->head.version.load(std::memory_order_relaxed);
    const auto order_of = [&heap](Offset chunk) { return reinterpret_cast<Chunk<World>*>(heap.block_at(chunk))->order; };
    if (side == Side::head) leases.recover(head >> 1);
    heap.for_each_child(&q->block, [&](Block<World>* block) {
        switch (static_cast<arena::Kind>(block->kind)) {
            case arena::Kind::chunk: {
                const std::uint64_t order = reinterpret_cast<Chunk<World>*>(block)->order;
                if (side == Side::tail ? order > order_of(q->tail.cursors[tail & 1].chunk)
                                       : order < order_of(q->head.cursors[head & 1].chunk))
                    heap.free(block);
                break;
            }
            case arena::Kind::message: {
                const std::uint64_t birth = reinterpret_cast<Message<World>*>(block)->birth;
                if (side == Side::tail ? birth < (tail >> 1) : birth >= (head >> 1) || leases.holds(heap.ref_to(block))) break;
                heap.set_owner(block, nullptr);
                if (block->refs.load(std::memory_order_relaxed) == 0) heap.free(block);
                break;
            }
            case arena::Kind::lease:
                if (side == Side::head && !leases.lists(heap.ref_to(block))) heap.free(block);
                break;
            case arena::Kind::table:
                if (side == Side::head && heap.ref_to(block) != q->leases) heap.free(block);
                break;
            default: break;
        }
    });
}

}  // namespace treadle::ring
