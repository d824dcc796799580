// arena/heap.hpp: the allocator of an arena. Every method is called inside the arena's critical section.
//
// Promise: blocks of any size up to the arena's, aligned to 16 bytes, from 113 bytes on to 64; nothing is touched before
// the system has promised its pages (System); the limit is met with nullptr, never with a signal; free memory beyond
// kRetainedUnits goes back to the system at once; a death at any instruction leaves primary data from which rebuild()
// makes a sound heap again.
//
// Small blocks are slots of 64 B .. 32 KiB (kSlotBytes) in units of 64 KiB, each with a free list; larger ones are
// runs of whole units, first fit from bins by the logarithm of their length, merged with free neighbours when freed.
//
//   step (allocate)                          death after it
//   a run is split: second head written      an entry inside a run: not reached by a walk
//   first head shortened        (publish)    two free runs
//   slot.serial = 0, carved + 1              a free slot
//   header filled, serial = new (publish)    a block without references or owner: rebuild() frees it
//   step (free)
//   serial = 0                  (publish)    free; the books are computed anew
//   heads of neighbours merged  (publish)    one free run
//
// What belongs to a block (owner) dies with it. Children are listed, so that this costs what there is to free. What a block's
// bytes have handles of it may hold (Holds): that lives as long as the block does. Two objects that hold each other never go.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "layout.hpp"

namespace treadle::arena {

template <class World, class System>
class Heap {
public:
    using RunT = Run<World>;
    using BlockT = Block<World>;

    static constexpr std::uint32_t kRetainedUnits = (128u << 20) / kUnit;
    static constexpr std::uint32_t kReserveUnits = (2u << 20) / kUnit;
    static constexpr std::uint32_t kSmallestStep = (256u << 10) / kUnit, kLargestStep = (4u << 20) / kUnit;

    Heap(char* base, System& system) noexcept : base_(base), system_(system) {}

    Header<World>& header() const noexcept { return *reinterpret_cast<Header<World>*>(base_); }
    BlockT* block_at(Offset at) const noexcept { return reinterpret_cast<BlockT*>(base_ + at); }
    Offset offset_of_block(const void* block) const noexcept { return static_cast<Offset>(static_cast<const char*>(block) - base_); }
    BlockRef ref_to(const BlockT* block) const noexcept {
        return make_ref(offset_of_block(block), block->serial.load(std::memory_order_relaxed));
    }

    // A block of `bytes` (its header included) with no reference yet; belongs to `owner` if that is not null. Null: limit.
    BlockT* allocate(std::uint64_t bytes, Kind kind, BlockT* owner = nullptr, Budget budget = Budget::usual) noexcept {
        BlockT* block =
            bytes <= kLargestSlot ? allocate_slot(slot_class_for(bytes), budget) : allocate_large(units_of(bytes), budget);
        if (block == nullptr) return nullptr;
        block->refs.store(0, std::memory_order_relaxed);
        block->kind = static_cast<std::uint16_t>(kind);
        block->bytes = bytes;
        block->first_child = block->prev_child = block->next_child = block->name = 0;
        block->owner.store(0, std::memory_order_relaxed);
        const std::uint64_t serial = next_serial();
        block->serial.store(serial, std::memory_order_release);  // publish
        bump(header().blocks, 1);
        if (owner != nullptr) set_owner(block, owner);
        return block;
    }

    // Frees the block and all that belongs to it and is not referenced by a process besides.
    void free(BlockT* block) noexcept {
        free_family(block);
        // Objects that it held, and that may hold others in turn: one after another, since such chains may be long.
        while (header().forsaken != 0) {
            BlockT* next = child_at(header().forsaken);
            header().forsaken = next->next_child;
            next->next_child = 0;
            free_family(next);
        }
    }

    // Keeps objects alive as long as the block lives. They are alive. False: the limit.
    bool hold(BlockT* block, const BlockRef* objects, std::uint32_t count) noexcept {
        auto* holds = reinterpret_cast<HoldsT*>(allocate(HoldsT::bytes_for(count), Kind::holds));
        if (holds == nullptr) return false;
        for (std::uint32_t i = 0; i < count; ++i) holds->objects[i] = objects[i];
        set_owner(&holds->block, block);
        for_each_held(holds, [](BlockT* held) { count_reference(held, 1); });
        return true;
    }

    // Gives the block to another one, or (null) to nobody.
    void set_owner(BlockT* block, BlockT* owner) noexcept {
        if (BlockT* former = resolve(block->owner.load(std::memory_order_relaxed))) unlink_child(block, former);
        block->owner.store(owner == nullptr ? 0 : ref_to(owner), std::memory_order_release);
        if (owner != nullptr) link_child(block, owner);
    }

    // The live block that `ref` means, or null. Safe on any value: what a stranger scribbled is never followed.
    BlockT* resolve(BlockRef ref) const noexcept {
        if (ref == 0) return nullptr;
        BlockT* block = block_if_valid(offset_of(ref));
        if (block == nullptr) return nullptr;
        const std::uint64_t serial = block->serial.load(std::memory_order_acquire);
        return serial != 0 && (serial & 0xffffffff) == ref >> 32 ? block : nullptr;
    }

    // A block's memory, if one can begin at this offset (it may be free).
    BlockT* block_if_valid(Offset at) const noexcept {
        if (at < kHeapAt || at >= kCapacity || at % (1u << kGrainShift) != 0) return nullptr;
        std::uint32_t unit = static_cast<std::uint32_t>(at / kUnit);
        if (unit >= header().top.load(std::memory_order_acquire)) return nullptr;
        const std::uint64_t head = run(unit).head.load(std::memory_order_acquire);
        const Offset within = at % kUnit;
        if (state_of(head) == RunState::large) return within == 0 ? block_at(at) : nullptr;
        if (state_of(head) != RunState::small) return nullptr;
        const std::uint32_t size = kSlotBytes[slot_class_of(head)];
        const std::uint32_t slot = static_cast<std::uint32_t>(within) / size;
        const std::uint32_t carved = run(unit).carved.load(std::memory_order_acquire);  // SYNC carve→resolve: the slot's serial
        return slot * size == within && slot < carved ? block_at(at) : nullptr;
    }

    // What belongs to the block; `visit` may free the child it is given.
    template <class Visit>
    void for_each_child(BlockT* owner, Visit&& visit) noexcept {
        for (std::uint32_t child = owner->first_child; child != 0;) {
            BlockT* block = child_at(child);
            child = block->next_child;
            visit(block);
        }
    }

    // Of the block and all that belongs to it.
    std::uint64_t bytes_of(const BlockT* block) const noexcept {
        std::uint64_t bytes = block->bytes;
        for (std::uint32_t child = block->first_child; child != 0; child = child_at(child)->next_child)
            bytes += bytes_of(child_at(child));
        return bytes;
    }

    template <class Visit>
    void for_each_block(Visit&& visit) noexcept {
        for_each_run([&](std::uint32_t unit, std::uint64_t head) {
            if (state_of(head) == RunState::large) {
                BlockT* block = block_at(Offset{unit} * kUnit);
                if (block->serial.load(std::memory_order_relaxed) != 0) visit(block);
            } else if (state_of(head) == RunState::small) {
                const std::uint32_t size = kSlotBytes[slot_class_of(head)];
                for (std::uint32_t slot = 0; slot < run(unit).carved.load(std::memory_order_relaxed); ++slot) {
                    BlockT* block = block_at(Offset{unit} * kUnit + Offset{slot} * size);
                    if (block->serial.load(std::memory_order_relaxed) != 0) visit(block);
                }
            }
        });
    }

    // Computes all derived data anew. `count_references(heap)` is called when all counts are zero and must restore them
    // from the process tables.
    template <class CountReferences>
    void rebuild(CountReferences&& count_references) noexcept {
        Header<World>& h = header();
        bump(h.rebuilds, 1);
        for_each_block([&](BlockT* block) {
            block->refs.store(0, std::memory_order_relaxed);
            block->first_child = block->prev_child = block->next_child = 0;
        });
        h.forsaken = 0;
        count_references(*this);
        for_each_block([&](BlockT* block) {
            if (HoldsT* holds = as_holds(block)) for_each_held(holds, [](BlockT* held) { count_reference(held, 1); });
        });
        // What nobody refers to is free; then what belonged to it, or was held by it.
        for (bool freed = true; freed;) {
            freed = false;
            for_each_block([&](BlockT* block) {
                if (resolve(block->owner.load(std::memory_order_relaxed)) != nullptr) return;
                if (block->refs.load(std::memory_order_relaxed) != 0) return block->owner.store(0, std::memory_order_relaxed);
                block->serial.store(0, std::memory_order_relaxed);
                if (HoldsT* holds = as_holds(block)) for_each_held(holds, [](BlockT* held) { count_reference(held, -1); });
                freed = true;
            });
        }
        for (auto& bin : h.free_bins) bin = 0;
        for (auto& bin : h.hole_bins) bin = 0;
        for (auto& list : h.class_lists) list = 0;
        std::uint64_t backed = 0, used = 0, blocks = 0;
        std::uint32_t last = 0;
        RunState last_state = RunState::none;
        for_each_run([&](std::uint32_t unit, std::uint64_t head) {
            RunState state = state_of(head);
            const std::uint32_t length = length_of(head);
            RunT& entry = run(unit);
            entry.listed = 0;
            if (state == RunState::large && block_at(Offset{unit} * kUnit)->serial.load(std::memory_order_relaxed) == 0) {
                state = RunState::free;
                set_head(unit, length, state);
            }
            if (state == RunState::small && relink_slots(unit) == 0) {
                state = RunState::free;
                set_head(unit, length, state);
            }
            if (state != RunState::hole) backed += length;
            if (state == RunState::large || state == RunState::small) {
                used += length;
                blocks += state == RunState::large ? 1 : entry.used;
            }
            if (last != 0 && state == last_state && (state == RunState::free || state == RunState::hole)) {
                set_head(last, length_of(run(last).head.load(std::memory_order_relaxed)) + length, state);
            } else {
                last = unit;
                last_state = state;
            }
        });
        h.backed_units.store(backed, std::memory_order_relaxed);
        h.used_units.store(used, std::memory_order_relaxed);
        h.blocks.store(blocks, std::memory_order_relaxed);
        for_each_run([&](std::uint32_t unit, std::uint64_t head) {
            run(unit + length_of(head) - 1).first = unit;
            if (state_of(head) == RunState::free || state_of(head) == RunState::hole) link_run(unit);
            if (state_of(head) == RunState::small) list_if_room(unit);
        });
        for_each_block([&](BlockT* block) {
            if (BlockT* owner = resolve(block->owner.load(std::memory_order_relaxed))) link_child(block, owner);
        });
    }

private:
    static constexpr RunState state_of(std::uint64_t head) noexcept { return static_cast<RunState>(head & 0xff); }
    static constexpr unsigned slot_class_of(std::uint64_t head) noexcept { return (head >> 8) & 0xff; }
    static constexpr std::uint32_t length_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head >> 32); }
    static constexpr std::uint32_t units_of(std::uint64_t bytes) noexcept {
        return bytes >= kCapacity ? kUnits : static_cast<std::uint32_t>((bytes + kUnit - 1) / kUnit);
    }
    static constexpr unsigned bin_of(std::uint32_t length) noexcept { return static_cast<unsigned>(std::bit_width(length)) - 1; }

    RunT& run(std::uint32_t unit) const noexcept { return reinterpret_cast<RunT*>(base_ + kRunsAt)[unit]; }
    void set_head(std::uint32_t unit, std::uint32_t length, RunState state, unsigned slot_class = 0) noexcept {
        run(unit).head.store((std::uint64_t{length} << 32) | (slot_class << 8) | static_cast<std::uint64_t>(state),
                             std::memory_order_release);
    }
    template <class T>
    static void bump(typename World::template Atom<T>& counter, std::int64_t by) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + static_cast<T>(by), std::memory_order_relaxed);
    }
    std::uint64_t next_serial() noexcept {
        // Never zero in its lower half, which is what a BlockRef keeps.
        std::uint64_t serial = header().next_serial.load(std::memory_order_relaxed) + 1;
        if ((serial & 0xffffffff) == 0) ++serial;
        header().next_serial.store(serial, std::memory_order_relaxed);
        return serial;
    }

    template <class Visit>
    void for_each_run(Visit&& visit) noexcept {
        const std::uint32_t top = header().top.load(std::memory_order_relaxed);
        for (std::uint32_t unit = kFirstUnit; unit < top;) {
            const std::uint64_t head = run(unit).head.load(std::memory_order_relaxed);
            visit(unit, head);
            unit += length_of(head);
        }
    }

    void free_family(BlockT* block) noexcept {
        while (block->first_child != 0) {
            BlockT* child = child_at(block->first_child);
            unlink_child(child, block);
            child->owner.store(0, std::memory_order_relaxed);
            if (child->refs.load(std::memory_order_relaxed) == 0) free_family(child);
        }
        if (BlockT* owner = resolve(block->owner.load(std::memory_order_relaxed))) unlink_child(block, owner);
        block->serial.store(0, std::memory_order_release);  // publish
        if (HoldsT* holds = as_holds(block)) let_go(holds);
        bump(header().blocks, -1);
        release_space(block);
    }

    // What blocks hold.
    using HoldsT = Holds<World>;
    static HoldsT* as_holds(BlockT* block) noexcept {
        return block->kind == static_cast<std::uint16_t>(Kind::holds) ? reinterpret_cast<HoldsT*>(block) : nullptr;
    }
    static void count_reference(BlockT* block, std::int32_t by) noexcept {
        block->refs.store(block->refs.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(by), std::memory_order_relaxed);
    }
    template <class Visit>
    void for_each_held(HoldsT* holds, Visit&& visit) noexcept {
        for (std::uint64_t i = 0; i < holds->count(); ++i)
            if (BlockT* held = resolve(holds->objects[i])) visit(held);
    }
    void let_go(HoldsT* holds) noexcept {
        for_each_held(holds, [this](BlockT* held) {
            count_reference(held, -1);
            if (held->refs.load(std::memory_order_relaxed) != 0 || resolve(held->owner.load(std::memory_order_relaxed)) != nullptr) return;
            held->next_child = header().forsaken;
            header().forsaken = grain(offset_of_block(held));
        });
    }

    // Children: a doubly linked list of grains.
    static std::uint32_t grain(Offset at) noexcept { return static_cast<std::uint32_t>(at >> kGrainShift); }
    BlockT* child_at(std::uint32_t g) const noexcept { return block_at(Offset{g} << kGrainShift); }

    void link_child(BlockT* child, BlockT* owner) noexcept {
        child->prev_child = 0;
        child->next_child = owner->first_child;
        const std::uint32_t self = grain(offset_of_block(child));
        if (owner->first_child != 0) child_at(owner->first_child)->prev_child = self;
        owner->first_child = self;
    }
    void unlink_child(BlockT* child, BlockT* owner) noexcept {
        if (child->prev_child != 0) child_at(child->prev_child)->next_child = child->next_child;
        else owner->first_child = child->next_child;
        if (child->next_child != 0) child_at(child->next_child)->prev_child = child->prev_child;
        child->prev_child = child->next_child = 0;
    }

    // Runs.
    std::uint32_t* bins(RunState state) noexcept { return state == RunState::free ? header().free_bins : header().hole_bins; }
    void link_run(std::uint32_t unit) noexcept {
        const std::uint64_t head = run(unit).head.load(std::memory_order_relaxed);
        std::uint32_t& bin = bins(state_of(head))[bin_of(length_of(head))];
        run(unit).prev = 0;
        run(unit).next = bin;
        if (bin != 0) run(bin).prev = unit;
        bin = unit;
        run(unit + length_of(head) - 1).first = unit;
    }
    void unlink_run(std::uint32_t unit) noexcept {
        const std::uint64_t head = run(unit).head.load(std::memory_order_relaxed);
        RunT& entry = run(unit);
        if (entry.prev != 0) run(entry.prev).next = entry.next;
        else bins(state_of(head))[bin_of(length_of(head))] = entry.next;
        if (entry.next != 0) run(entry.next).prev = entry.prev;
    }
    std::uint32_t find_run(RunState state, std::uint32_t length) noexcept {
        for (unsigned bin = bin_of(length); bin < kBins; ++bin)
            for (std::uint32_t unit = bins(state)[bin]; unit != 0; unit = run(unit).next)
                if (length_of(run(unit).head.load(std::memory_order_relaxed)) >= length) return unit;
        return 0;
    }
    // Makes a free or hole run of at least `length` units exactly that long; the rest stays as it was.
    void split(std::uint32_t unit, std::uint32_t length) noexcept {
        const std::uint64_t head = run(unit).head.load(std::memory_order_relaxed);
        if (length_of(head) == length) return;
        set_head(unit + length, length_of(head) - length, state_of(head));
        set_head(unit, length, state_of(head));
        link_run(unit + length);
    }

    // A run of `length` units, backed, in no list, still marked free. 0: the limit.
    std::uint32_t take_run(std::uint32_t length, Budget budget) noexcept {
        if (header().used_units.load(std::memory_order_relaxed) + length > limit_for(budget)) return 0;
        for (int attempt = 0; attempt < 3; ++attempt) {
            if (const std::uint32_t unit = find_run(RunState::free, length)) {
                unlink_run(unit);
                split(unit, length);
                return unit;
            }
            if (attempt == 1) release_free_runs();  // free runs, none long enough: their pages may be had elsewhere
            refill(length, budget);
        }
        return 0;
    }

    std::uint64_t limit_for(Budget budget) const noexcept {
        return header().limit_units.load(std::memory_order_relaxed) + (budget == Budget::reserve ? kReserveUnits : 0);
    }

    // Makes a free run of `length` units or more out of a hole or from beyond the top.
    bool refill(std::uint32_t length, Budget budget) noexcept {
        Header<World>& h = header();
        const std::uint64_t limit = limit_for(budget);
        const std::uint64_t backed = h.backed_units.load(std::memory_order_relaxed);
        if (backed + length > limit) return false;
        std::uint64_t step = backed / 8;  // grow in proportion, so that the system calls stay rare
        step = step < kSmallestStep ? kSmallestStep : step > kLargestStep ? kLargestStep : step;
        // What is taken from the reserve is no more than is needed: the rest would be anybody's.
        if (step < length || budget == Budget::reserve) step = length;
        if (backed + step > limit) step = limit - backed;
        if (const std::uint32_t unit = find_run(RunState::hole, length)) {
            unlink_run(unit);
            const std::uint32_t have = length_of(run(unit).head.load(std::memory_order_relaxed));
            const std::uint32_t take = step < have ? static_cast<std::uint32_t>(step) : have;
            split(unit, take);
            if (!system_.back(Offset{unit} * kUnit, std::uint64_t{take} * kUnit)) {
                merge_and_link(unit);
                return false;
            }
            set_head(unit, take, RunState::free);
            bump(h.backed_units, take);
            merge_and_link(unit);
            return true;
        }
        const std::uint32_t top = h.top.load(std::memory_order_relaxed);
        if (top + length > kUnits) return false;
        if (top + step > kUnits) step = kUnits - top;
        const std::uint32_t take = static_cast<std::uint32_t>(step);
        // The entries of the new units live in pages of their own, which must be backed too.
        const Offset entries = (kRunsAt + Offset{top} * sizeof(RunT)) & ~Offset{4095};
        const Offset entries_end = (kRunsAt + Offset{top + take} * sizeof(RunT) + 4095) & ~Offset{4095};
        if (!system_.back(entries, entries_end - entries)) return false;
        if (!system_.back(Offset{top} * kUnit, std::uint64_t{take} * kUnit)) return false;
        set_head(top, take, RunState::free);
        h.top.store(top + take, std::memory_order_release);  // publish
        bump(h.backed_units, take);
        merge_and_link(top);
        return true;
    }

    // Puts a free or hole run, in no list, into its bin, as one with its neighbours of the same state.
    void merge_and_link(std::uint32_t unit) noexcept {
        const std::uint64_t head = run(unit).head.load(std::memory_order_relaxed);
        const RunState state = state_of(head);
        std::uint32_t length = length_of(head);
        const std::uint32_t next = unit + length;
        if (next < header().top.load(std::memory_order_relaxed)) {
            const std::uint64_t after = run(next).head.load(std::memory_order_relaxed);
            if (state_of(after) == state) {
                unlink_run(next);
                length += length_of(after);
                set_head(unit, length, state);
            }
        }
        if (unit > kFirstUnit) {
            const std::uint32_t before = run(unit - 1).first;
            if (state_of(run(before).head.load(std::memory_order_relaxed)) == state) {
                unlink_run(before);
                length += unit - before;
                unit = before;
                set_head(unit, length, state);
            }
        }
        link_run(unit);
    }

    void free_run(std::uint32_t unit, std::uint32_t length) noexcept {
        Header<World>& h = header();
        bump(h.used_units, -std::int64_t{length});
        const std::uint64_t idle = h.backed_units.load(std::memory_order_relaxed) - h.used_units.load(std::memory_order_relaxed);
        if (idle > kRetainedUnits) {
            punch(unit, length);
        } else {
            set_head(unit, length, RunState::free);
        }
        run(unit + length - 1).first = unit;
        merge_and_link(unit);
    }
    void punch(std::uint32_t unit, std::uint32_t length) noexcept {
        set_head(unit, length, RunState::hole);  // first: memory that may be gone is never called free
        system_.unback(Offset{unit} * kUnit, std::uint64_t{length} * kUnit);
        bump(header().backed_units, -std::int64_t{length});
    }
    void release_free_runs() noexcept {
        for (unsigned bin = 0; bin < kBins; ++bin)
            while (const std::uint32_t unit = header().free_bins[bin]) {
                unlink_run(unit);
                punch(unit, length_of(run(unit).head.load(std::memory_order_relaxed)));
                merge_and_link(unit);
            }
    }

    // Blocks.
    BlockT* allocate_large(std::uint32_t length, Budget budget) noexcept {
        const std::uint32_t unit = take_run(length, budget);
        if (unit == 0) return nullptr;
        BlockT* block = block_at(Offset{unit} * kUnit);
        block->serial.store(0, std::memory_order_relaxed);
        run(unit + length - 1).first = unit;
        set_head(unit, length, RunState::large);
        bump(header().used_units, length);
        return block;
    }

    BlockT* allocate_slot(unsigned slot_class, Budget budget) noexcept {
        std::uint32_t unit = header().class_lists[slot_class];
        if (unit == 0) {
            unit = take_run(1, budget);
            if (unit == 0) return nullptr;
            RunT& fresh = run(unit);
            fresh.carved.store(0, std::memory_order_relaxed);
            fresh.used = fresh.free_slot = fresh.listed = 0;
            fresh.first = unit;
            set_head(unit, 1, RunState::small, slot_class);
            bump(header().used_units, 1);
            list_if_room(unit);
        }
        RunT& entry = run(unit);
        const std::uint32_t size = kSlotBytes[slot_class];
        BlockT* block;
        if (entry.free_slot != 0) {
            block = block_at(Offset{unit} * kUnit + Offset{entry.free_slot - 1u} * size);
            entry.free_slot = block->next_free;
        } else {
            const std::uint16_t carved = entry.carved.load(std::memory_order_relaxed);
            block = block_at(Offset{unit} * kUnit + Offset{carved} * size);
            block->serial.store(0, std::memory_order_relaxed);
            entry.carved.store(static_cast<std::uint16_t>(carved + 1), std::memory_order_release);  // publish; SYNC carve→resolve
        }
        ++entry.used;
        if (entry.used == slots_in_unit(slot_class)) unlist(unit, slot_class);
        return block;
    }

    void release_space(BlockT* block) noexcept {
        const Offset at = offset_of_block(block);
        const std::uint32_t unit = static_cast<std::uint32_t>(at / kUnit);
        const std::uint64_t head = run(unit).head.load(std::memory_order_relaxed);
        if (state_of(head) == RunState::large) {
            free_run(unit, length_of(head));
            return;
        }
        RunT& entry = run(unit);
        const unsigned slot_class = slot_class_of(head);
        block->next_free = entry.free_slot;
        entry.free_slot = static_cast<std::uint16_t>(1 + (at % kUnit) / kSlotBytes[slot_class]);
        --entry.used;
        // The last empty unit of a class is kept, so that one block made and dropped in turn costs no run.
        const bool spare = header().class_lists[slot_class] != 0 &&
                           (header().class_lists[slot_class] != unit || entry.next != 0);
        if (entry.used == 0 && spare) {
            if (entry.listed) unlist(unit, slot_class);
            free_run(unit, 1);
        } else {
            list_if_room(unit);
        }
    }

    void list_if_room(std::uint32_t unit) noexcept {
        RunT& entry = run(unit);
        const unsigned slot_class = slot_class_of(entry.head.load(std::memory_order_relaxed));
        if (entry.listed || entry.used == slots_in_unit(slot_class)) return;
        std::uint32_t& list = header().class_lists[slot_class];
        entry.listed = 1;
        entry.prev = 0;
        entry.next = list;
        if (list != 0) run(list).prev = unit;
        list = unit;
    }
    void unlist(std::uint32_t unit, unsigned slot_class) noexcept {
        RunT& entry = run(unit);
        if (entry.prev != 0) run(entry.prev).next = entry.next;
        else header().class_lists[slot_class] = entry.next;
        if (entry.next != 0) run(entry.next).prev = entry.prev;
        entry.listed = 0;
    }

    // Rebuilds a unit's free list; returns the slots in use.
    std::uint32_t relink_slots(std::uint32_t unit) noexcept {
        RunT& entry = run(unit);
        const std::uint32_t size = kSlotBytes[slot_class_of(entry.head.load(std::memory_order_relaxed))];
        entry.used = entry.free_slot = 0;
        for (std::uint32_t slot = entry.carved.load(std::memory_order_relaxed); slot-- > 0;) {
            BlockT* block = block_at(Offset{unit} * kUnit + Offset{slot} * size);
            if (block->serial.load(std::memory_order_relaxed) != 0) {
                ++entry.used;
            } else {
                block->next_free = entry.free_slot;
                entry.free_slot = static_cast<std::uint16_t>(1 + slot);
            }
        }
        return entry.used;
    }

    char* base_;
    System& system_;
};

}  // namespace treadle::arena
