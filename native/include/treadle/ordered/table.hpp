// ordered/table.hpp: where each item stands: the ready ones as a heap, those on lease behind them.
//
// Promise: the first of n ready items at once, put and take in O(log n), a lease's end in O(1) beside that; an item that
// comes back gets its old place, since its rank and sequence are its own. Every method runs inside the queue's section. All
// of it is derived: after a death it is made anew from the items (append, finish). There is room for every item of the queue, ready or
// not, before it is put: so nothing needs memory to come back.
//
// A heap of four: a parent's children lie in 64 bytes. An entry's rank is the key's first eight bytes as a number, or the
// complement of the sequence where the newest is first; the item itself is looked at only if two ranks are the same.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "layout.hpp"

namespace treadle::ordered {

template <class World, class Member>
class Places {
public:
    using State = OrderedState<World>;
    using ItemT = Item<World>;
    using TableT = Table<World>;

    Places(State* state, Member& member) noexcept : q(state), m(member) {}

    std::uint64_t capacity() const noexcept { return table()->capacity; }
    std::uint64_t ready() const noexcept { return q->size.load(std::memory_order_relaxed); }
    std::uint64_t leased() const noexcept { return q->leased.load(std::memory_order_relaxed); }

    ItemT* first() const noexcept { return item_of(table()->entries[0]); }

    void add(ItemT* item) noexcept { insert(Entry{rank_of(item), m.arena.heap.ref_to(&item->block)}); }
    void remove_first() noexcept {
        Entry* e = table()->entries;
        const std::uint64_t left = ready() - 1;
        if (left != 0) sink(e, left, 0, e[left]);
        count(q->size, left);
    }
    // The first one goes on lease.
    void lease_first() noexcept {
        TableT* t = table();
        const Entry first = t->entries[0];
        const std::uint64_t place = leased();
        remove_first();  // first: with the table full its last entry is the place that is needed
        item_of(first)->place = static_cast<std::uint32_t>(place);
        from_the_back(t, place) = first;
        count(q->leased, place + 1);
    }
    // It does not stand in the table any more.
    void end_lease(ItemT* item) noexcept {
        TableT* t = table();
        const std::uint64_t last = leased() - 1;
        const Entry moved = from_the_back(t, last);
        from_the_back(t, item->place) = moved;
        item_of(moved)->place = item->place;
        count(q->leased, last);
    }
    void come_back(ItemT* item) noexcept {
        const Entry entry = from_the_back(table(), item->place);
        end_lease(item);
        insert(entry);
    }
    // `visit` may end the lease it is given.
    template <class Visit>
    void for_each_lease(Visit&& visit) noexcept {
        for (std::uint64_t i = leased(); i-- > 0;) visit(item_of(from_the_back(table(), i)));
    }

    // Room for so many items, ready or not. Inside the arena's section. False: the limit.
    bool reserve(std::uint64_t items) noexcept {
        std::uint64_t larger = capacity();
        if (items <= larger) return true;
        while (larger < items) larger *= 2;
        return resize(larger);
    }
    // Gives back what a queue does not need that was much longer before.
    void shrink() noexcept {
        const std::uint64_t now = capacity();
        if (now > kFirstCapacity && (ready() + leased()) * 8 < now) resize(now / 2);
    }

    // The table made anew, item by item. The counts change at the end alone: who looks without the section must not see a
    // queue empty that never was.
    struct Filling {
        std::uint64_t ready = 0, leased = 0;
    };
    void append(Filling& filling, ItemT* item, bool on_lease) noexcept {
        const Entry entry{rank_of(item), m.arena.heap.ref_to(&item->block)};
        if (on_lease) {
            item->place = static_cast<std::uint32_t>(filling.leased);
            from_the_back(table(), filling.leased++) = entry;
        } else {
            table()->entries[filling.ready++] = entry;
        }
    }
    void finish(const Filling& filling) noexcept {
        Entry* e = table()->entries;
        for (std::uint64_t i = filling.ready / kArity + 1; i-- > 0;)
            if (i < filling.ready) sink(e, filling.ready, i, e[i]);
        count(q->leased, filling.leased);
        count(q->size, filling.ready);
    }

private:
    static constexpr std::uint64_t kArity = 4;

    TableT* table() const noexcept { return reinterpret_cast<TableT*>(m.arena.heap.block_at(arena::offset_of(q->table))); }
    ItemT* item_of(const Entry& entry) const noexcept {
        return reinterpret_cast<ItemT*>(m.arena.heap.block_at(arena::offset_of(entry.item)));
    }
    static Entry& from_the_back(TableT* t, std::uint64_t place) noexcept { return t->entries[t->capacity - 1 - place]; }

    // Read by who looks without the section (SYNC count→announce, in queue.hpp).
    template <class Atom>
    static void count(Atom& counter, std::uint64_t value) noexcept {
        counter.store(value, std::memory_order_seq_cst);
    }

    std::uint64_t rank_of(ItemT* item) const noexcept {
        if (q->order == Order::newest_first) return ~item->sequence;
        std::uint64_t rank = 0;
        for (std::uint32_t i = 0; i < 8; ++i)
            rank = rank << 8 | (i < item->key_bytes ? static_cast<unsigned char>(item->key()[i]) : 0u);
        return rank;
    }
    bool before(const Entry& a, const Entry& b) const noexcept {
        if (a.rank != b.rank) return a.rank < b.rank;
        ItemT *x = item_of(a), *y = item_of(b);
        const std::uint32_t both = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
        if (const int order = std::memcmp(x->key(), y->key(), both)) return order < 0;
        if (x->key_bytes != y->key_bytes) return x->key_bytes < y->key_bytes;
        return x->sequence < y->sequence;
    }

    void insert(const Entry& entry) noexcept {
        Entry* e = table()->entries;
        const std::uint64_t size = ready();
        std::uint64_t at = size;
        while (at != 0 && before(entry, e[(at - 1) / kArity])) {
            e[at] = e[(at - 1) / kArity];
            at = (at - 1) / kArity;
        }
        e[at] = entry;
        count(q->size, size + 1);
    }
    // Puts the entry at `at` or below it, in a heap of that size.
    void sink(Entry* e, std::uint64_t size, std::uint64_t at, const Entry entry) noexcept {
        for (;;) {
            const std::uint64_t begin = at * kArity + 1;
            if (begin >= size) break;
            const std::uint64_t end = begin + kArity < size ? begin + kArity : size;
            std::uint64_t least = begin;
            for (std::uint64_t i = begin + 1; i < end; ++i)
                if (before(e[i], e[least])) least = i;
            if (!before(e[least], entry)) break;
            e[at] = e[least];
            at = least;
        }
        e[at] = entry;
    }

    bool resize(std::uint64_t entries) noexcept {
        TableT* t = table();
        auto* next = reinterpret_cast<TableT*>(m.arena.heap.allocate(TableT::bytes_for(entries), arena::Kind::table, &q->block));
        if (next == nullptr) return false;
        next->capacity = entries;
        std::memcpy(next->entries, t->entries, ready() * sizeof(Entry));
        const std::uint64_t out = leased();
        if (out != 0) std::memcpy(&from_the_back(next, out - 1), &from_the_back(t, out - 1), out * sizeof(Entry));
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->table = m.arena.heap.ref_to(&next->block);  // publish
        std::atomic_signal_fence(std::memory_order_seq_cst);
        m.arena.heap.free(&t->block);
        return true;
    }

    State* q;
    Member& m;
};

}  // namespace treadle::ordered
