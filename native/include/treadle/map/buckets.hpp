// map/buckets.hpp: from a hash to a chain of entries. Derived data; every method but head_of runs inside the map's section.
//
// Linear hashing: there are as many buckets as entries, about, and with each entry that comes one bucket is split, with each
// two that go some are merged with the one they were split from. So no step takes longer in a large map than in a small one,
// and there is never a second table beside the first. Source: W. Litwin, "Linear hashing: a new tool for file and table
// addressing" (VLDB 1980).
//
// The heads lie in segments: 16, 16, 32, 64, ... 8192 of them, together 16384; then 16372 each, which is a unit of the arena.
// A split that finds no memory for a segment is left out: chains become longer, nothing fails.
//
//   step of growth                           death here
//   a larger directory filled (publish: its  a directory that is not the map's: freed by recovery
//     offset), the old one freed             the same, of the old one
//   a segment listed, then counted (publish) one that is not counted: freed by recovery
//   heads, links, number of buckets          computed anew
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "layout.hpp"

namespace treadle::map {

inline constexpr std::uint32_t kSmallSegments = 11, kInSmallSegments = 16384, kLargeSegment = 16372;

struct BucketPlace {
    std::uint32_t segment, index;
};
constexpr BucketPlace place_of_bucket(std::uint64_t bucket) noexcept {
    if (bucket < kFirstBuckets) return {0, static_cast<std::uint32_t>(bucket)};
    if (bucket < kInSmallSegments) {
        const auto order = static_cast<std::uint32_t>(std::bit_width(bucket));  // 5 and more
        return {order - 4, static_cast<std::uint32_t>(bucket) - (1u << (order - 1))};
    }
    const auto beyond = static_cast<std::uint32_t>(bucket - kInSmallSegments);
    return {kSmallSegments + beyond / kLargeSegment, beyond % kLargeSegment};
}
constexpr std::uint32_t buckets_in_segment(std::uint32_t segment) noexcept {
    return segment == 0 ? kFirstBuckets : segment < kSmallSegments ? kFirstBuckets << (segment - 1) : kLargeSegment;
}
constexpr std::uint64_t buckets_before_segment(std::uint32_t segment) noexcept {
    return segment == 0               ? 0
           : segment < kSmallSegments ? std::uint64_t{kFirstBuckets} << (segment - 1)
                                      : kInSmallSegments + std::uint64_t{segment - kSmallSegments} * kLargeSegment;
}
// The bucket of a hash where `buckets` are in use.
constexpr std::uint64_t bucket_of(std::uint32_t hash, std::uint64_t buckets) noexcept {
    const std::uint64_t half = std::bit_floor(buckets);
    const std::uint64_t bucket = hash & (2 * half - 1);
    return bucket < buckets ? bucket : bucket - half;
}

template <class World, class Member>
class Buckets {
public:
    using State = MapState<World>;
    using EntryT = Entry<World>;
    using SegmentT = Segment<World>;
    using DirectoryT = Directory<World>;
    using Head = typename World::template Atom<std::uint32_t>;

    Buckets(State* state, Member& member) noexcept : q(state), m(member) {}

    EntryT* entry_at(std::uint32_t grain) const noexcept {
        return reinterpret_cast<EntryT*>(m.arena.heap.block_at(Offset{grain} << arena::kGrainShift));
    }
    std::uint32_t grain_of(const void* block) const noexcept {
        return static_cast<std::uint32_t>(m.arena.heap.offset_of_block(block) >> arena::kGrainShift);
    }

    // Where the chain of the hash begins. Null: `look` does not hold any more, and nothing that was read was followed.
    template <class Looking>
    Head* head_of(std::uint32_t hash, const Looking& look) const noexcept {
        const BucketPlace place = place_of_bucket(bucket_of(hash, q->buckets.load(std::memory_order_relaxed)));
        const Offset directory = q->directory.load(std::memory_order_relaxed);
        if (!look.holds()) return nullptr;
        const auto* segments = reinterpret_cast<const Head*>(m.arena.heap.block_at(directory));
        const std::uint32_t segment = segments[place.segment].load(std::memory_order_relaxed);
        if (!look.holds()) return nullptr;
        return &segment_at(segment)->heads[place.index];
    }
    Head& head(std::uint32_t hash) noexcept { return *head_of(hash, Inside{}); }

    void add(EntryT* entry, std::uint32_t hash) noexcept {
        Head& first = head(hash);
        entry->link.store(make_link(hash, first.load(std::memory_order_relaxed)), std::memory_order_relaxed);
        first.store(grain_of(entry), std::memory_order_relaxed);
    }
    // The place of `former`, which is in its chain, is that of `other` (null: nobody's) from now on.
    void replace(EntryT* former, EntryT* other) noexcept {
        const std::uint64_t link = former->link.load(std::memory_order_relaxed);
        const std::uint32_t self = grain_of(former);
        if (other != nullptr) other->link.store(link, std::memory_order_relaxed);
        const std::uint32_t next = other != nullptr ? grain_of(other) : next_of(link);
        Head& first = head(hash_of(link));
        std::uint32_t grain = first.load(std::memory_order_relaxed);
        if (grain == self) return first.store(next, std::memory_order_relaxed);
        while (grain != 0) {
            EntryT* before = entry_at(grain);
            const std::uint64_t to = before->link.load(std::memory_order_relaxed);
            grain = next_of(to);
            if (grain == self) return before->link.store(make_link(hash_of(to), next), std::memory_order_relaxed);
        }
    }

    // The first segment; false: the limit. In a new map.
    bool make_first() noexcept {
        q->directory.store(own_directory(), std::memory_order_relaxed);
        q->directory_room = kFirstDirectory;
        if (!add_segment()) return false;
        clear(kFirstBuckets);
        return true;
    }
    // `buckets` are in use, and empty. There are segments for them.
    void clear(std::uint64_t buckets) noexcept {
        q->buckets.store(buckets, std::memory_order_relaxed);
        for (std::uint64_t i = 0; i < buckets; ++i) bucket(i).store(0, std::memory_order_relaxed);
    }
    std::uint64_t capacity() const noexcept { return buckets_before_segment(q->segments); }

    // Inside the arena's section, too, the rest.

    void grow_if_due() noexcept {
        for (int step = 0; step < 2; ++step) {
            const std::uint64_t buckets = q->buckets.load(std::memory_order_relaxed);
            if (q->count.load(std::memory_order_relaxed) <= buckets || (buckets == capacity() && !add_segment())) return;
            split(buckets);
        }
    }
    void shrink_if_due() noexcept {
        for (int step = 0; step < 2; ++step) {
            const std::uint64_t buckets = q->buckets.load(std::memory_order_relaxed);
            if (buckets == kFirstBuckets || 2 * q->count.load(std::memory_order_relaxed) >= buckets) return;
            merge(buckets - 1);
        }
        drop_spare_segments();
    }
    // One segment without a bucket in use may stay, so that a map that grows and shrinks there makes none each time.
    void drop_spare_segments(std::uint32_t spare = 1) noexcept {
        const std::uint32_t needed = place_of_bucket(q->buckets.load(std::memory_order_relaxed) - 1).segment + 1;
        while (q->segments > needed + spare) {
            SegmentT* last = segment_at(directory()[q->segments - 1].load(std::memory_order_relaxed));
            std::atomic_signal_fence(std::memory_order_seq_cst);
            --q->segments;
            std::atomic_signal_fence(std::memory_order_seq_cst);
            m.arena.heap.free(&last->block);
        }
        if (q->segments <= kFirstDirectory / 2 && q->directory_room != kFirstDirectory) move_directory(kFirstDirectory);
    }

    // Does the map use this block as a segment or directory?
    bool uses(const Block<World>* block) const noexcept {
        if (static_cast<arena::Kind>(block->kind) == arena::Kind::map_directory)
            return m.arena.heap.offset_of_block(block) + sizeof *block == q->directory.load(std::memory_order_relaxed);
        const std::uint32_t grain = grain_of(block);
        for (std::uint32_t i = 0; i < q->segments; ++i)
            if (directory()[i].load(std::memory_order_relaxed) == grain) return true;
        return false;
    }
    // Of the segments and the directory.
    std::uint64_t bytes() const noexcept { return bytes_of(q->segments, q->directory_room); }
    static std::uint64_t bytes_of(std::uint32_t segments, std::uint32_t directory_room) noexcept {
        return buckets_before_segment(segments) * 4 + segments * sizeof(Block<World>) +
               (directory_room == kFirstDirectory ? 0 : DirectoryT::bytes_for(directory_room));
    }
    // What a death between two stores may have left of it: the room follows from where the directory lies.
    void recover_directory() noexcept {
        const Offset at = q->directory.load(std::memory_order_relaxed);
        q->directory_room = at == own_directory()
                                ? kFirstDirectory
                                : static_cast<std::uint32_t>((m.arena.heap.block_at(at - sizeof(Block<World>))->bytes - sizeof(Block<World>)) / 4);
    }

private:
    Offset own_directory() const noexcept { return m.arena.heap.offset_of_block(q->first_directory); }
    SegmentT* segment_at(std::uint32_t grain) const noexcept {
        return reinterpret_cast<SegmentT*>(m.arena.heap.block_at(Offset{grain} << arena::kGrainShift));
    }
    Head* directory() const noexcept {
        return reinterpret_cast<Head*>(m.arena.heap.block_at(q->directory.load(std::memory_order_relaxed)));
    }
    Head& bucket(std::uint64_t index) const noexcept {
        const BucketPlace place = place_of_bucket(index);
        return segment_at(directory()[place.segment].load(std::memory_order_relaxed))->heads[place.index];
    }

    bool add_segment() noexcept {
        if (q->segments == q->directory_room && !move_directory(2 * q->directory_room)) return false;
        Block<World>* block =
            m.arena.heap.allocate(SegmentT::bytes_for(buckets_in_segment(q->segments)), arena::Kind::map_segment, &q->block);
        if (block == nullptr) return false;
        directory()[q->segments].store(grain_of(block), std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        ++q->segments;  // publish
        return true;
    }
    bool move_directory(std::uint32_t room) noexcept {
        Head* const old = directory();
        const Offset old_at = q->directory.load(std::memory_order_relaxed);
        Head* larger = q->first_directory;
        if (room != kFirstDirectory) {
            Block<World>* block = m.arena.heap.allocate(DirectoryT::bytes_for(room), arena::Kind::map_directory, &q->block);
            if (block == nullptr) return false;
            larger = reinterpret_cast<DirectoryT*>(block)->segments;
        }
        for (std::uint32_t i = 0; i < q->segments; ++i) larger[i].store(old[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->directory.store(m.arena.heap.offset_of_block(larger), std::memory_order_relaxed);  // publish
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->directory_room = room;
        if (old_at != own_directory()) m.arena.heap.free(m.arena.heap.block_at(old_at - sizeof(Block<World>)));
        return true;
    }

    // Bucket `added`, the first not in use, takes from the one that it is split from what belongs to it.
    void split(std::uint64_t added) noexcept {
        Head& from = bucket(added - std::bit_floor(added));
        std::uint32_t chains[2] = {0, 0};
        for (std::uint32_t grain = from.load(std::memory_order_relaxed); grain != 0;) {
            EntryT* entry = entry_at(grain);
            const std::uint64_t link = entry->link.load(std::memory_order_relaxed);
            std::uint32_t& chain = chains[bucket_of(hash_of(link), added + 1) == added];
            entry->link.store(make_link(hash_of(link), chain), std::memory_order_relaxed);
            chain = grain;
            grain = next_of(link);
        }
        from.store(chains[0], std::memory_order_relaxed);
        bucket(added).store(chains[1], std::memory_order_relaxed);
        q->buckets.store(added + 1, std::memory_order_relaxed);
    }
    // The last bucket in use goes into the one that it was split from.
    void merge(std::uint64_t last) noexcept {
        Head& into = bucket(last - std::bit_floor(last));
        for (std::uint32_t grain = bucket(last).load(std::memory_order_relaxed); grain != 0;) {
            EntryT* entry = entry_at(grain);
            const std::uint64_t link = entry->link.load(std::memory_order_relaxed);
            entry->link.store(make_link(hash_of(link), into.load(std::memory_order_relaxed)), std::memory_order_relaxed);
            into.store(grain, std::memory_order_relaxed);
            grain = next_of(link);
        }
        q->buckets.store(last, std::memory_order_relaxed);
    }

    State* q;
    Member& m;
};

}  // namespace treadle::map
