// map/entries.hpp: what happens to the entries of a shared map. Every method runs inside the map's section; those that say
// so, inside the arena's as well.
//
// Promise: a death at any instruction leaves the map as it was before the step or as it is after it, which one store decides;
// the rest is computed anew by recover(), which whoever enters the section next calls, and which may die as well.
//
//   step of put                              death here
//   version = odd                            recover() finds nothing wrong
//   block made and filled in, its large      nobody's: the arena's rebuild() frees it; or the map's, and of no live entry:
//     parts given to the map                   recover() frees them
//   block given to the map                   still `made`: freed by recover()
//   place = live   (publish)                 the entry is there. In another's place it has that one's sequence, and the later
//                                              serial: recover() frees the former
//   into its bucket, the order, the counts   computed anew
//   the former: gone, freed                  freed by recover()
//   a bucket split                           buckets.hpp
//
//   step of remove                           death here
//   place = gone   (publish)                 the entry is gone; recover() frees it and its large parts
//   out of its bucket, the order; freed      the same
//
//   step of clear                            death here
//   floor = next sequence   (publish)        the map is empty; recover() frees what is below the floor
//   the order becomes the waste              the same; else each further step frees some of it
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "buckets.hpp"
#include "layout.hpp"

namespace treadle::map {

struct Key {
    const char* bytes;  // equal keys have equal ones
    std::uint32_t size, hash;
};
// Bytes, up to kLargestPart of them; or (bytes null) a block that this process refers to and that has no owner, with a Large's
// head; or nothing.
struct Part {
    const char* bytes = nullptr;
    std::uint64_t size = 0;
    BlockRef large = 0;

    std::uint16_t stored() const noexcept {
        return static_cast<std::uint16_t>(large != 0 ? sizeof(LargeName) | kLargeMark : size);
    }
    void copy_to(char* to) const noexcept {
        const LargeName name{large, size};
        if (large != 0) std::memcpy(to, &name, sizeof name);
        else if (size != 0) std::memcpy(to, bytes, size);
    }
};

template <class World, class Member>
class Entries {
public:
    using State = MapState<World>;
    using EntryT = Entry<World>;
    using LargeT = Large<World>;

    Entries(State* state, Member& member) noexcept : q(state), m(member), buckets_(state, member) {}

    // The entry of the key; null: there is none, or `look` does not hold any more.
    template <class Looking>
    EntryT* find(const Key& key, const Looking& look) const noexcept {
        const auto* head = buckets_.head_of(key.hash, look);
        if (head == nullptr) return nullptr;
        for (std::uint32_t grain = head->load(std::memory_order_relaxed); grain != 0;) {
            if (!look.holds()) return nullptr;
            EntryT* entry = buckets_.entry_at(grain);
            const std::uint64_t link = entry->link.load(std::memory_order_relaxed);
            if (hash_of(link) == key.hash) {
                const Sizes sizes = Sizes::of(entry->sizes.load(std::memory_order_relaxed));
                if (!look.holds()) return nullptr;
                if (sizes.key == key.size && equal_racy(entry->content(), key.bytes, key.size)) return entry;
            }
            grain = next_of(link);
        }
        return nullptr;
    }
    EntryT* find(const Key& key) const noexcept { return find(key, Inside{}); }

    // The entry that is meant, if it is live and this map's.
    EntryT* resolve(BlockRef ref) const noexcept {
        Block<World>* block = m.arena.heap.resolve(ref);
        if (block == nullptr || static_cast<arena::Kind>(block->kind) != arena::Kind::map_entry ||
            block->owner.load(std::memory_order_relaxed) != m.arena.heap.ref_to(&q->block))
            return nullptr;
        auto* entry = reinterpret_cast<EntryT*>(block);
        return is_live(entry) ? entry : nullptr;
    }
    EntryT* entry_at(std::uint32_t grain) const noexcept { return buckets_.entry_at(grain); }

    // All that follows: inside the arena's section, and within a step.

    // In the place of `former`, which has the key, or (null) as the newest. `form` counts where there is no former. Null: the
    // limit; then nothing has changed.
    EntryT* put(const Key& key, const Part& form, const Part& value, EntryT* former) noexcept {
        EntryT* entry = make(key, form, value, former);
        if (entry == nullptr) return nullptr;
        publish(entry, Standing::live);
        count(entry, 1);
        if (former == nullptr) {
            ++q->next_sequence;
            append(entry);
            buckets_.add(entry, key.hash);
            bump(q->count, 1);
            buckets_.grow_if_due();
        } else {
            count(former, -1);
            take_place(former, entry);
            buckets_.replace(former, entry);
            publish(former, Standing::gone);
            discard(former, true);
        }
        return entry;
    }

    void remove(EntryT* entry) noexcept {
        publish(entry, Standing::gone);
        count(entry, -1);
        bump(q->count, -1);
        take_place(entry, nullptr);
        buckets_.replace(entry, nullptr);
        discard(entry, false);
        buckets_.shrink_if_due();
    }

    // What was in it is waste from now on.
    void clear() noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->floor.store(q->next_sequence, std::memory_order_relaxed);  // publish
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (q->oldest != 0) {
            entry_at(q->newest)->newer = q->waste;
            q->waste = q->oldest;
        }
        forget_order();
        buckets_.clear(kFirstBuckets);
        buckets_.drop_spare_segments(0);
    }
    // Frees up to `most` entries of the waste; whether there is more.
    bool free_waste(std::uint32_t most) noexcept {
        for (; most != 0 && q->waste != 0; --most) {
            EntryT* entry = entry_at(q->waste);
            q->waste = entry->newer;
            discard(entry, false);
        }
        return q->waste != 0;
    }

    std::uint64_t memory() const noexcept {
        return q->block.bytes + q->bytes + q->large_bytes + buckets_.bytes();
    }

    // Settles what a death has left.
    void recover() noexcept {
        buckets_.recover_directory();
        forget_order();
        q->waste = 0;
        ++q->mended;
        if (q->next_sequence < q->floor.load(std::memory_order_relaxed)) q->next_sequence = q->floor.load(std::memory_order_relaxed);
        std::uint64_t entries = 0;
        Sorting live(*this);
        m.arena.heap.for_each_child(&q->block, [&](Block<World>* block) {
            if (static_cast<arena::Kind>(block->kind) != arena::Kind::map_entry) return;
            auto* entry = reinterpret_cast<EntryT*>(block);
            if (!is_live(entry)) return m.arena.heap.free(block);
            live.add(entry);
            ++entries;
        });
        std::uint64_t buckets = entries < kFirstBuckets ? kFirstBuckets : entries;
        buckets_.clear(buckets < buckets_.capacity() ? buckets : buckets_.capacity());
        for (std::uint32_t grain = live.sorted(); grain != 0;) {
            EntryT* entry = entry_at(grain);
            grain = entry->newer;
            const std::uint64_t sequence = sequence_of(entry->place.load(std::memory_order_relaxed));
            // A later one in the same place has taken it.
            if (grain != 0 && sequence_of(entry_at(grain)->place.load(std::memory_order_relaxed)) == sequence) {
                m.arena.heap.free(&entry->block);
                continue;
            }
            append(entry);
            buckets_.add(entry, hash_of(entry->link.load(std::memory_order_relaxed)));
            bump(q->count, 1);
            count(entry, 1);
            if (sequence >= q->next_sequence) q->next_sequence = sequence + 1;
        }
        m.arena.heap.for_each_child(&q->block, [&](Block<World>* block) {
            switch (static_cast<arena::Kind>(block->kind)) {
                case arena::Kind::map_segment:
                case arena::Kind::map_directory:
                    if (!buckets_.uses(block)) m.arena.heap.free(block);
                    break;
                case arena::Kind::message:
                    if (!is_part(block)) release(block);
                    break;
                default: break;  // an entry, or its name
            }
        });
        buckets_.drop_spare_segments();
    }

private:
    using Sizes = map::Sizes;

    template <class Atom>
    static void bump(Atom& counter, std::int64_t by) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(by), std::memory_order_relaxed);
    }
    static Sizes sizes_of(const EntryT* entry) noexcept { return Sizes::of(entry->sizes.load(std::memory_order_relaxed)); }
    bool is_live(const EntryT* entry) const noexcept {
        const std::uint64_t place = entry->place.load(std::memory_order_relaxed);
        return standing_of(place) == Standing::live && sequence_of(place) >= q->floor.load(std::memory_order_relaxed);
    }
    // The step's one store: nothing of it may be moved to its other side. (The section orders it for the living.)
    static void publish(EntryT* entry, Standing standing) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        entry->place.store(make_place(sequence_of(entry->place.load(std::memory_order_relaxed)), standing), std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    EntryT* make(const Key& key, const Part& form, const Part& value, EntryT* former) noexcept {
        auto& heap = m.arena.heap;
        const Sizes old = former == nullptr ? Sizes{} : sizes_of(former);
        const Sizes sizes{key.size, former == nullptr ? form.stored() : old.form, value.stored()};
        auto* entry = reinterpret_cast<EntryT*>(heap.allocate(sizeof(EntryT) + sizes.content(), arena::Kind::map_entry));
        if (entry == nullptr) return nullptr;
        const std::uint64_t sequence = former == nullptr ? q->next_sequence : sequence_of(former->place.load(std::memory_order_relaxed));
        entry->place.store(make_place(sequence, Standing::made), std::memory_order_relaxed);
        entry->link.store(make_link(key.hash, 0), std::memory_order_relaxed);
        entry->sizes.store(sizes.packed(), std::memory_order_relaxed);
        entry->older = entry->newer = 0;
        std::memcpy(entry->content(), key.bytes, key.size);
        char* form_at = entry->content() + sizes.form_at();
        if (former == nullptr) form.copy_to(form_at);
        else std::memcpy(form_at, former->content() + old.form_at(), part_bytes(old.form));
        value.copy_to(entry->content() + sizes.value_at());
        if (former == nullptr) own(form, key.hash);
        own(value, key.hash);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        heap.set_owner(&entry->block, &q->block);
        return entry;
    }
    void own(const Part& part, std::uint32_t hash) noexcept {
        if (part.large == 0) return;
        Block<World>* block = m.arena.heap.resolve(part.large);
        reinterpret_cast<LargeT*>(block)->hash = hash;
        m.arena.heap.set_owner(block, &q->block);
    }

    // Large parts.
    LargeName large_at(const EntryT* entry, std::uint64_t at) const noexcept {
        LargeName name;
        std::memcpy(&name, entry->content() + at, sizeof name);
        return name;
    }
    template <class Visit>
    void for_each_large(const EntryT* entry, Visit&& visit, bool form = true) const noexcept {
        const Sizes sizes = sizes_of(entry);
        if (form && is_large(sizes.form)) visit(large_at(entry, sizes.form_at()));
        if (is_large(sizes.value)) visit(large_at(entry, sizes.value_at()));
    }
    bool is_part(const Block<World>* block) const noexcept {
        const BlockRef ref = m.arena.heap.ref_to(block);
        const auto hash = static_cast<std::uint32_t>(reinterpret_cast<const LargeT*>(block)->hash);
        const auto* head = buckets_.head_of(hash, Inside{});
        for (std::uint32_t grain = head->load(std::memory_order_relaxed); grain != 0;) {
            const EntryT* entry = entry_at(grain);
            bool found = false;
            for_each_large(entry, [&](const LargeName& name) { found = found || name.block == ref; });
            if (found) return true;
            grain = next_of(entry->link.load(std::memory_order_relaxed));
        }
        return false;
    }
    // Who reads a large part refers to it.
    void release(Block<World>* block) noexcept {
        m.arena.heap.set_owner(block, nullptr);
        if (block->refs.load(std::memory_order_relaxed) == 0) m.arena.heap.free(block);
    }
    // `keep_form`: another entry has it now.
    void discard(EntryT* entry, bool keep_form) noexcept {
        for_each_large(entry, [&](const LargeName& name) {
            if (Block<World>* block = m.arena.heap.resolve(name.block)) release(block);
        }, !keep_form);
        m.arena.heap.free(&entry->block);
    }
    void count(const EntryT* entry, std::int64_t by) noexcept {
        q->bytes += static_cast<std::uint64_t>(by) * entry->block.bytes;
        for_each_large(entry, [&](const LargeName& name) {
            q->large += static_cast<std::uint64_t>(by);
            q->large_bytes += static_cast<std::uint64_t>(by) * name.bytes;
        });
    }

    // The order.
    void forget_order() noexcept {
        q->oldest = q->newest = 0;
        q->count.store(0, std::memory_order_relaxed);
        q->bytes = q->large = q->large_bytes = 0;
    }
    void append(EntryT* entry) noexcept {
        const std::uint32_t self = buckets_.grain_of(entry);
        entry->older = q->newest;
        entry->newer = 0;
        (q->newest != 0 ? entry_at(q->newest)->newer : q->oldest) = self;
        q->newest = self;
    }
    // The place of `former` is that of `other` (null: nobody's) from now on.
    void take_place(EntryT* former, EntryT* other) noexcept {
        const std::uint32_t self = other == nullptr ? 0 : buckets_.grain_of(other);
        if (other != nullptr) {
            other->older = former->older;
            other->newer = former->newer;
        }
        (former->older != 0 ? entry_at(former->older)->newer : q->oldest) = other == nullptr ? former->newer : self;
        (former->newer != 0 ? entry_at(former->newer)->older : q->newest) = other == nullptr ? former->older : self;
    }

    // Entries as they come, linked by `newer` in the order of sequence and serial in the end: runs of one, two, four, ...
    // entries, merged as the digits of a binary counter are carried.
    class Sorting {
    public:
        explicit Sorting(const Entries& entries) noexcept : e(entries) {}
        void add(EntryT* entry) noexcept {
            entry->newer = 0;
            std::uint32_t run = e.buckets_.grain_of(entry);
            unsigned i = 0;
            for (; runs_[i] != 0; runs_[i++] = 0) run = merged(runs_[i], run);
            runs_[i] = run;
        }
        std::uint32_t sorted() noexcept {
            std::uint32_t all = 0;
            for (const std::uint32_t run : runs_) all = run == 0 ? all : all == 0 ? run : merged(run, all);
            return all;
        }

    private:
        bool before(const EntryT* a, const EntryT* b) const noexcept {
            const std::uint64_t left = sequence_of(a->place.load(std::memory_order_relaxed));
            const std::uint64_t right = sequence_of(b->place.load(std::memory_order_relaxed));
            if (left != right) return left < right;
            return a->block.serial.load(std::memory_order_relaxed) < b->block.serial.load(std::memory_order_relaxed);
        }
        std::uint32_t merged(std::uint32_t a, std::uint32_t b) const noexcept {
            std::uint32_t first = 0;
            std::uint32_t* last = &first;
            while (a != 0 && b != 0) {
                std::uint32_t& least = before(e.entry_at(a), e.entry_at(b)) ? a : b;
                *last = least;
                last = &e.entry_at(least)->newer;
                least = *last;
            }
            *last = a != 0 ? a : b;
            return first;
        }
        const Entries& e;
        std::uint32_t runs_[33] = {};
    };

    State* q;
    Member& m;
    Buckets<World, Member> buckets_;
};

}  // namespace treadle::map
