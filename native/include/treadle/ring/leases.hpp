// ring/leases.hpp: items out on lease: taken from the queue, but not gone until they are acknowledged.
//
// Promise: an item is at every instant in exactly one place: in the ring, out on lease, ready to be delivered again, or
// acknowledged. A lease belongs to a process; when it dies, whoever inspects makes the item ready again. All methods run
// inside the queue's head section.
//
//   lease(i) in the table, born at index i:  i >= taken: void (its maker died before it moved the head)
//                                            leased t | ready | leased t' ...   one store of `state` each
//   entry cleared (publish)                  acknowledged, or taken for good
//
// `leased` and `ready` decide whether anybody looks. So `leased` is at no instant too small, and when it goes down `ready`
// has gone up before: an item in the table is never behind two zeros.
//
//   step of lease_ready                      death here                step of nack             death here
//   dirty = 1, leased + 1                    recover() counts anew     dirty = 1                counted anew
//   state = leased   (publish)               leased to the dead        state = 0   (publish)    the item is ready
//   ready - 1                                the same                  ready + 1, leased - 1    the same
//   dirty = 0                                the same                  dirty = 0                the same
//
//   step of ack                              death here
//   acked, acked_slot, acked_done set        the entry stands: not acknowledged
//   entry = 0   (publish)                    recover() completes `done`
//   done = acked_done, acked = 0
//   lease freed, message disowned            collect() frees them
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "layout.hpp"

namespace treadle::ring {

template <class World, class Member>
class Leases {
public:
    using State = QueueState<World>;
    using LeaseT = Lease<World>;
    using TableT = LeaseTable<World>;
    using Result = word::Result;
    using Wait = word::Wait;

    Leases(State* state, Member& member) noexcept : q(state), m(member) {}

    // Makes a lease for the item at `index`, valid once the head has moved past it. Inside the arena's section.
    template <class Who, class Taken>
    Result make(Who& who, const Frame* frame, std::uint64_t index, LeaseName& name, Taken& got) noexcept {
        auto& heap = m.arena.heap;
        const std::uint64_t slot = free_slot();
        if (slot == kNone) return Result::no_memory;
        const bool is_message = frame->kind == FrameKind::message;
        auto* lease = reinterpret_cast<LeaseT*>(
            heap.allocate(sizeof(LeaseT) + padded(frame->size), arena::Kind::lease, &q->block, arena::Budget::reserve));
        if (lease == nullptr) return Result::no_memory;
        lease->birth = index;
        lease->frame = *frame;
        lease->message = 0;
        std::memcpy(lease->data(), frame + 1, padded(frame->size));
        lease->state.store((who.token << 4) | kLeased, std::memory_order_relaxed);
        if (is_message) {
            MessagePayload payload;
            std::memcpy(&payload, frame + 1, sizeof payload);
            lease->message = payload.message;
            if (!refer(payload.message, got)) {
                heap.free(&lease->block);
                return Result::no_memory;
            }
        }
        name = LeaseName{heap.ref_to(&lease->block), slot};
        std::atomic_signal_fence(std::memory_order_seq_cst);
        table()->entries[slot] = name.lease;
        q->leased.store(q->leased.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return Result::done;
    }

    // Hands out the oldest ready item again, on lease or for good.
    template <class Who, class Taken>
    Result lease_ready(Who& who, char* out, LeaseName& name, Taken& got, Wait& wait) noexcept {
        std::uint64_t slot;
        LeaseT* lease = oldest_ready(slot);
        if (lease == nullptr || m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        const bool referred = lease->message == 0 || refer(lease->message, got);
        m.arena.leave();
        if (!referred) return Result::no_memory;
        copy_out(lease, out, got);
        name = LeaseName{m.arena.heap.ref_to(&lease->block), slot};
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->head.set_dirty(1);
        change(q->leased, 1);
        lease->state.store((who.token << 4) | kLeased, std::memory_order_release);  // publish
        change(q->ready, -1);
        q->head.set_dirty(0);
        q->redelivered.store(q->redelivered.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return Result::done;
    }
    template <class Who, class Taken>
    Result take_ready(Who& who, char* out, Taken& got, Wait& wait) noexcept {
        std::uint64_t slot;
        LeaseT* lease = oldest_ready(slot);
        if (lease == nullptr || m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        if (lease->message != 0 && !refer(lease->message, got)) {
            m.arena.leave();
            return Result::no_memory;
        }
        copy_out(lease, out, got);
        q->head.set_dirty(1);
        table()->entries[slot] = 0;  // publish
        std::atomic_signal_fence(std::memory_order_seq_cst);
        change(q->ready, -1);
        q->redelivered.store(q->redelivered.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        dispose(lease);
        q->head.set_dirty(0);
        m.arena.leave();
        return Result::done;
    }

    template <class Who>
    Result ack(Who& who, LeaseName name, Wait& wait) noexcept {
        LeaseT* lease = held(name);
        if (lease == nullptr) return Result::gone;
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        q->acked_slot = name.slot;
        // Never more than was put: task_done() may have been called for this item already.
        const std::uint64_t done = q->done.load(std::memory_order_relaxed);
        q->acked_done = done < q->tail.version.load(std::memory_order_relaxed) >> 1 ? done + 1 : done;
        q->head.set_dirty(1);
        q->acked = name.lease;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        table()->entries[name.slot] = 0;  // publish
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->done.store(q->acked_done, std::memory_order_seq_cst);
        q->acked = 0;
        change(q->leased, -1);
        dispose(lease);
        q->head.set_dirty(0);
        m.arena.leave();
        return Result::done;
    }

    template <class Who>
    Result nack(Who&, LeaseName name) noexcept {
        LeaseT* lease = held(name);
        if (lease == nullptr) return Result::gone;
        give_back(lease);
        return Result::done;
    }

    // Makes the items of dead holders ready; returns how many.
    template <class Who>
    std::uint32_t inspect(Who& who) noexcept {
        std::uint32_t found = 0;
        word::Token living = who.token;  // holders often come in a row
        each([&](LeaseT* lease, std::uint64_t) {
            const std::uint64_t state = lease->state.load(std::memory_order_relaxed);
            if ((state & kLeased) == 0 || (state >> 4) == living) return;
            if (who.alive(state >> 4)) {
                living = state >> 4;
                return;
            }
            give_back(lease);
            ++found;
        });
        return found;
    }

    // May an item come back that the caller should wait for? Two that hold a lease each and wait for another item would wait
    // for each other: so who holds any does not wait.
    template <class Who>
    bool awaited(Who& who) noexcept {
        bool own = false, others = false;
        each([&](LeaseT* lease, std::uint64_t) {
            const std::uint64_t state = lease->state.load(std::memory_order_relaxed);
            if ((state & kLeased) != 0) ((state >> 4) == who.token ? own : others) = true;
        });
        return others && !own;
    }

    // For collect(), inside the arena's section: settles what a death left half done.
    void recover(std::uint64_t taken) noexcept {
        if (q->acked != 0) {
            TableT* t = table();
            if (t != nullptr && q->acked_slot < t->capacity && t->entries[q->acked_slot] != q->acked)
                q->done.store(q->acked_done, std::memory_order_seq_cst);
            q->acked = 0;
        }
        std::uint32_t leased = 0, ready = 0;
        each([&](LeaseT* lease, std::uint64_t slot) {
            if (lease->birth >= taken) table()->entries[slot] = 0;
            else ++((lease->state.load(std::memory_order_relaxed) & kLeased) != 0 ? leased : ready);
        });
        // In this order: `leased` is never too small, and a death between them must leave one that is not 0.
        q->ready.store(ready, std::memory_order_seq_cst);
        q->leased.store(leased, std::memory_order_seq_cst);
    }
    bool lists(BlockRef lease) noexcept {
        bool found = false;
        each([&](LeaseT* l, std::uint64_t) { found = found || m.arena.heap.ref_to(&l->block) == lease; });
        return found;
    }
    bool holds(BlockRef message) noexcept {
        bool found = false;
        each([&](LeaseT* l, std::uint64_t) { found = found || l->message == message; });
        return found;
    }

private:
    static constexpr std::uint64_t kNone = ~std::uint64_t{0};
    static constexpr std::uint64_t kFirstCapacity = 16;

    TableT* table() noexcept { return reinterpret_cast<TableT*>(m.arena.heap.resolve(q->leases)); }
    template <class Atom>
    static void change(Atom& counter, int by) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(by), std::memory_order_seq_cst);
    }

    template <class Visit>
    void each(Visit&& visit) noexcept {
        TableT* t = table();
        if (t == nullptr) return;
        for (std::uint64_t slot = 0; slot < t->capacity; ++slot)
            if (auto* lease = reinterpret_cast<LeaseT*>(m.arena.heap.resolve(t->entries[slot]))) visit(lease, slot);
    }

    LeaseT* oldest_ready(std::uint64_t& slot) noexcept {
        LeaseT* oldest = nullptr;
        each([&](LeaseT* lease, std::uint64_t at) {
            if ((lease->state.load(std::memory_order_relaxed) & kLeased) != 0) return;
            if (oldest != nullptr && oldest->birth <= lease->birth) return;
            oldest = lease;
            slot = at;
        });
        return oldest;
    }

    // The lease that is meant, if a thread of this process holds it.
    LeaseT* held(LeaseName name) noexcept {
        TableT* t = table();
        if (t == nullptr || name.slot >= t->capacity || t->entries[name.slot] != name.lease) return nullptr;
        auto* lease = reinterpret_cast<LeaseT*>(m.arena.heap.resolve(name.lease));
        if (lease == nullptr) return nullptr;
        const std::uint64_t state = lease->state.load(std::memory_order_relaxed);
        if ((state & kLeased) == 0) return nullptr;
        auto* holder = m.arena.registry.participant_of(state >> 4);
        return holder != nullptr && holder->process.load(std::memory_order_relaxed) == m.process ? lease : nullptr;
    }

    void give_back(LeaseT* lease) noexcept {
        q->head.set_dirty(1);
        lease->state.store(0, std::memory_order_release);  // publish
        change(q->ready, 1);
        change(q->leased, -1);
        q->head.set_dirty(0);
    }

    void copy_out(LeaseT* lease, char* out, auto& got) noexcept {
        if (lease->frame.deliveries != 0xffff) ++lease->frame.deliveries;
        std::memcpy(out, &lease->frame, sizeof(Frame));
        std::memcpy(out + sizeof(Frame), lease->data(), padded(lease->frame.size));
        got.items = 1;
        got.bytes = frame_bytes(lease->frame.size);
    }

    bool refer(BlockRef message, auto& got) noexcept {
        got.slot = m.handles.add(m.arena, m.process, m.arena.heap.resolve(message));
        return got.slot != ~std::uint32_t{0};
    }

    // The lease is out of the table: its memory goes, and its message belongs to whoever refers to it.
    void dispose(LeaseT* lease) noexcept {
        auto& heap = m.arena.heap;
        if (Block<World>* message = heap.resolve(lease->message)) {
            heap.set_owner(message, nullptr);
            if (message->refs.load(std::memory_order_relaxed) == 0) heap.free(message);
        }
        heap.free(&lease->block);
    }

    // Finds a slot, in a table of twice the size if need be. Inside the arena's section. kNone: the limit.
    std::uint64_t free_slot() noexcept {
        TableT* t = table();
        const std::uint64_t capacity = t == nullptr ? 0 : t->capacity;
        for (std::uint64_t slot = 0; slot < capacity; ++slot)
            if (t->entries[slot] == 0) return slot;
        const std::uint64_t larger = capacity == 0 ? kFirstCapacity : capacity * 2;
        auto* next = reinterpret_cast<TableT*>(
            m.arena.heap.allocate(TableT::bytes_for(larger), arena::Kind::table, &q->block, arena::Budget::reserve));
        if (next == nullptr) return kNone;
        next->capacity = larger;
        for (std::uint64_t slot = 0; slot < larger; ++slot) next->entries[slot] = slot < capacity ? t->entries[slot] : 0;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->leases = m.arena.heap.ref_to(&next->block);  // publish
        if (t != nullptr) m.arena.heap.free(&t->block);
        return capacity;
    }

    State* q;
    Member& m;
};

}  // namespace treadle::ring
