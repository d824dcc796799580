// ordered/items.hpp: what happens to the items of an ordered queue. Every method runs inside the queue's section; those that
// say so, inside the arena's as well.
//
// Promise: an item is at every instant in exactly one place; a death at any instruction is made good by recover(), which
// whoever enters the section next after it calls (dirty). It computes anew all that is derived, so it may die as well.
//
// An item is a block of its own, and where it is stands in its state word: each step is published by one store to it.
//
//   made  --put-->  ready  --get-->  got                       got, done: freed at once
//                   ready  --lease (by t)-->  out by t  --ack-->  done
//                   ready  <--nack, or the death of t's process--  out by t
//                   ready  --discard-->  done
//
//   step of put                              death here
//   enter both sections, dirty = 1           nothing
//   a larger table made, filled, (publish)   a table that is not listed: freed by recover()
//   block made and filled in, its message    nobody's: the arena's rebuild() frees it
//     given to it
//   block given to the queue                 still `made`: freed by recover()
//   state = ready   (publish)                the item is in the queue; recover() counts it: puts is behind no sequence
//   puts, its place in the table             the same
//   dirty = 0, leave, ring                   parks are bounded
//
//   step of get                              death here
//   enter both sections, dirty = 1, copy     nothing
//   (a reference to the message)             the reference goes with the sweep of its process
//   state = got   (publish)                  the item is gone; recover() frees it
//   out of the table, freed                  the same
//
//   step of lease                            death here
//   the other count of deliveries written    not the valid one
//   state = out by t, other count (publish)  leased to the dead: ready again once somebody inspects
//   from the heap to the leases              the same; derived
//
//   step of ack, discard                     death here
//   state = done, with the count of done     recover() takes the count from the state, which it never lowers
//     items that it makes  (publish)
//   done, out of the table, freed            the same
//
//   step of nack, inspect                    death here
//   state = ready   (publish)                ready; the table is made anew
//   from the leases to the heap              the same
//
// Only `redelivered`, a figure for reports, may be behind by one after a death.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "layout.hpp"
#include "table.hpp"

namespace treadle::ordered {

template <class World, class Member>
class Items {
public:
    using State = OrderedState<World>;
    using ItemT = Item<World>;

    Items(State* state, Member& member) noexcept : q(state), m(member), places_(state, member) {}

    // Surrounds steps.
    void begin() noexcept { set_dirty(1); }
    void end() noexcept { set_dirty(0); }

    // Room for so many more items; how many there is room for. Inside the arena's section.
    std::uint64_t reserve(std::uint64_t more) noexcept {
        const std::uint64_t there = places_.ready() + places_.leased();
        return places_.reserve(there + more) ? more : places_.capacity() - there;
    }
    // There is room. False: the limit. Inside the arena's section.
    bool put(const Record* record) noexcept {
        const std::uint64_t sequence = q->puts.load(std::memory_order_relaxed);
        ItemT* item = make(record, sequence);
        if (item == nullptr) return false;
        publish(item, Standing::ready, 0);
        q->puts.store(sequence + 1, std::memory_order_seq_cst);  // before the size: who sees the item sees it unfinished
        change(q->bytes, static_cast<std::int64_t>(weight(record)));
        places_.add(item);
        return true;
    }

    const Frame* first() noexcept { return places_.first()->frame(); }

    // Takes the first item: its frame is copied to `out`. False: no memory for the reference to its message. Inside the arena's
    // section.
    bool get_first(char* out, Taken& got) noexcept {
        ItemT* item = places_.first();
        if (is_message(item->frame()) && !refer(item, got)) return false;
        copy_out(item, out, got);
        publish(item, Standing::got, valid_count(item));
        forget_first(item);
        m.arena.heap.free(&item->block);  // its message stays, if that is referred to
        return true;
    }
    // Throws the first item away. Inside the arena's section.
    void discard_first() noexcept {
        ItemT* item = places_.first();
        const std::uint64_t done = declare_done(item);
        forget_first(item);
        finish(item, done);
    }
    void shrink() noexcept { places_.shrink(); }

    // The first item goes on lease to `holder`. If it is a message this process refers to it already.
    void lease_first(word::Token holder, char* out, LeaseName& name, Taken& got) noexcept {
        ItemT* item = places_.first();
        copy_out(item, out, got);
        const std::uint32_t delivered = item->delivered();
        const unsigned other = valid_count(item) ^ 1;
        item->deliveries[other] = delivered + 1;
        name = LeaseName{m.arena.heap.ref_to(&item->block), delivered + 1};
        publish(item, Standing::out, other, holder);
        change(q->bytes, -static_cast<std::int64_t>(item->weight()));
        places_.lease_first();
        change(delivered == 0 ? q->taken : q->redelivered, 1);
    }
    // False: no memory. Inside the arena's section.
    bool refer_to_first(Taken& got) noexcept { return refer(places_.first(), got); }

    // The item that is meant, if it is in this queue, and on that very lease to a thread of this process.
    ItemT* held(LeaseName name) noexcept {
        Block<World>* block = m.arena.heap.resolve(name.lease);
        if (block == nullptr || static_cast<arena::Kind>(block->kind) != arena::Kind::item ||
            block->owner.load(std::memory_order_relaxed) != m.arena.heap.ref_to(&q->block))
            return nullptr;
        auto* item = reinterpret_cast<ItemT*>(block);
        if (item->standing() != Standing::out || item->delivered() != name.slot) return nullptr;
        auto* holder = m.arena.registry.participant_of(holder_of(item));
        return holder != nullptr && holder->process.load(std::memory_order_relaxed) == m.process ? item : nullptr;
    }
    // Inside the arena's section.
    void ack(ItemT* item) noexcept {
        const std::uint64_t done = declare_done(item);
        places_.end_lease(item);
        finish(item, done);
    }
    void give_back(ItemT* item) noexcept {
        publish(item, Standing::ready, valid_count(item));
        change(q->bytes, static_cast<std::int64_t>(item->weight()));
        places_.come_back(item);
    }

    // Gives back what the dead hold; returns how many items.
    template <class Who>
    std::uint32_t inspect(Who& who) noexcept {
        std::uint32_t found = 0;
        word::Token living = who.token;  // holders often come in a row
        begin();
        places_.for_each_lease([&](ItemT* item) {
            if (holder_of(item) == living) return;
            if (who.alive(holder_of(item))) {
                living = holder_of(item);
                return;
            }
            give_back(item);
            ++found;
        });
        end();
        return found;
    }

    // May an item come back that the caller should wait for? Two that hold a lease each and wait for another item would wait
    // for each other: so who holds any does not wait.
    template <class Who>
    bool awaited(Who& who) noexcept {
        bool own = false, others = false;
        places_.for_each_lease([&](ItemT* item) { (holder_of(item) == who.token ? own : others) = true; });
        return others && !own;
    }

    // Settles what a death has left, and computes anew what is derived. Inside the arena's section.
    void recover() noexcept {
        auto& heap = m.arena.heap;
        std::uint64_t bytes = 0, never_out = 0;
        std::uint64_t puts = q->puts.load(std::memory_order_relaxed);
        typename Places<World, Member>::Filling filling;
        heap.for_each_child(&q->block, [&](Block<World>* block) {
            if (static_cast<arena::Kind>(block->kind) == arena::Kind::table && heap.ref_to(block) != q->table) heap.free(block);
            if (static_cast<arena::Kind>(block->kind) != arena::Kind::item) return;
            auto* item = reinterpret_cast<ItemT*>(block);
            const Standing standing = item->standing();
            if (standing == Standing::ready || standing == Standing::out) {
                places_.append(filling, item, standing == Standing::out);
                if (item->sequence >= puts) puts = item->sequence + 1;
                if (standing == Standing::out) return;
                bytes += item->weight();
                never_out += item->delivered() == 0;
            } else if (standing == Standing::done) {
                const std::uint64_t done = rest_of(item->state.load(std::memory_order_relaxed));
                const std::uint64_t before = q->done.load(std::memory_order_relaxed);
                finish(item, done > before ? done : before);
            } else {
                heap.free(block);
            }
        });
        q->puts.store(puts, std::memory_order_seq_cst);  // before the size, as in put()
        q->taken.store(puts - never_out, std::memory_order_relaxed);
        q->bytes.store(bytes, std::memory_order_seq_cst);
        places_.finish(filling);
    }

private:
    void set_dirty(std::uint32_t value) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->dirty.store(value, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    template <class Atom>
    static void change(Atom& counter, std::int64_t by) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(by), std::memory_order_seq_cst);
    }
    static unsigned valid_count(const ItemT* item) noexcept { return valid_count_of(item->state.load(std::memory_order_relaxed)); }
    static word::Token holder_of(const ItemT* item) noexcept { return rest_of(item->state.load(std::memory_order_relaxed)); }
    // The step's one store: nothing of it may be moved to its other side. (The section orders it for the living.)
    static void publish(ItemT* item, Standing standing, unsigned valid_count, std::uint64_t rest = 0) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        item->state.store(make_state(standing, valid_count, rest), std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    ItemT* make(const Record* record, std::uint64_t sequence) noexcept {
        auto& heap = m.arena.heap;
        const Frame* frame = record->frame();
        const std::uint32_t content = padded(record->key_bytes) + frame_bytes(frame->size);
        auto* item = reinterpret_cast<ItemT*>(heap.allocate(sizeof(ItemT) + content, arena::Kind::item));
        if (item == nullptr) return nullptr;
        item->state.store(make_state(Standing::made, 0), std::memory_order_relaxed);
        item->sequence = sequence;
        item->deliveries[0] = item->deliveries[1] = 0;
        item->key_bytes = record->key_bytes;
        std::memcpy(item->key(), record->key(), content);
        if (is_message(frame)) heap.set_owner(heap.resolve(message_of(frame).message), &item->block);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        heap.set_owner(&item->block, &q->block);
        return item;
    }

    // Returns what `done` will be: never more than was put, since task_done() may have been called for this item already.
    std::uint64_t declare_done(ItemT* item) noexcept {
        const std::uint64_t before = q->done.load(std::memory_order_relaxed);
        const std::uint64_t done = before < q->puts.load(std::memory_order_relaxed) ? before + 1 : before;
        publish(item, Standing::done, valid_count(item), done);
        return done;
    }
    void finish(ItemT* item, std::uint64_t done) noexcept {
        q->done.store(done, std::memory_order_seq_cst);
        std::atomic_signal_fence(std::memory_order_seq_cst);  // before the item goes, which is all that tells
        m.arena.heap.free(&item->block);
    }

    // The first item is published as gone: out of the table and the counts.
    void forget_first(ItemT* item) noexcept {
        change(q->bytes, -static_cast<std::int64_t>(item->weight()));
        places_.remove_first();
        change(item->delivered() == 0 ? q->taken : q->redelivered, 1);
    }

    void copy_out(ItemT* item, char* out, Taken& got) noexcept {
        const std::uint32_t size = frame_bytes(item->frame()->size);
        const std::uint32_t delivered = item->delivered();
        std::memcpy(out, item->frame(), size);
        reinterpret_cast<Frame*>(out)->deliveries = static_cast<std::uint16_t>(delivered < 0xffff ? delivered : 0xffff);
        got.bytes += size;
        ++got.items;
    }
    bool refer(ItemT* item, Taken& got) noexcept {
        got.slot = m.handles.add(m.arena, m.process, m.arena.heap.resolve(message_of(item->frame()).message));
        return got.slot != kNoSlot;
    }

    State* q;
    Member& m;
    Places<World, Member> places_;
};

}  // namespace treadle::ordered
