// map/cells.hpp: what happens to the cells of a shared list. Every method runs inside the list's section, and within a step;
// those that say so, inside the arena's as well.
//
// Promise: a death at any instruction leaves the list as it was before the step or as it is after it, which one store decides;
// the rest is computed anew by recover(), which whoever enters the section next calls, and which may die as well.
//
//   step                                     death here
//   version = odd                            recover() finds nothing wrong
//   a value's block made and filled in       the list's, and in no cell that counts: freed by recover()
//
//   one cell changed
//     the cell   (publish)                   before: the new value is freed by recover(); after: the former one
//   at the end
//     cells beyond the length                not there
//     the length   (publish)                 there; or, of what went, freed by recover()
//   one cell put in within                   the hole, which does not count, moves from the end to its place
//     the length + 1; hole there             as it was
//     a neighbour into the hole, the hole    as it was: what is there twice is the hole
//       to the neighbour's; again
//     the cell, then no hole   (publish)     it is there
//   one cell taken out within
//     the hole is there   (publish)          gone; recover() closes the hole
//     moves to the end; the length - 1       the same
//   all other changes
//     another array, filled in               the list's, and not its array: freed by recover()
//     it is the list's   (publish)           the change is made; recover() frees the former, and what is in no cell
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "entries.hpp"
#include "list_layout.hpp"

namespace treadle::map {

// What is to be put into a cell: the cell as it is, if it is not 0; else bytes in a block that is made for them, or a message.
struct Item {
    Cell plain = 0;
    Part part{};
};

// Which cells: `count` of them from `first` on.
struct Range {
    std::uint64_t first, count;
    std::int64_t step;
    std::uint64_t operator[](std::uint64_t i) const noexcept { return first + i * static_cast<std::uint64_t>(step); }
};
// As Python has it: negative indexes count from the end, and what lies outside is cut off.
struct Slice {
    std::int64_t start, stop, step;

    Range of(std::uint64_t length) const noexcept {
        const auto n = static_cast<std::int64_t>(length);
        const auto within = [&](std::int64_t at) {
            if (at < 0) at += n;
            if (at < 0) return step < 0 ? std::int64_t{-1} : std::int64_t{0};
            return at >= n ? (step < 0 ? n - 1 : n) : at;
        };
        const std::int64_t from = within(start), to = within(stop);
        std::uint64_t count = 0;
        if (step > 0 && from < to) count = static_cast<std::uint64_t>((to - from - 1) / step + 1);
        if (step < 0 && to < from) count = static_cast<std::uint64_t>((from - to - 1) / -step + 1);
        return {static_cast<std::uint64_t>(from), count, count == 1 ? 1 : step};
    }
};
inline constexpr Slice kAtTheEnd{INT64_MAX, INT64_MAX, 1}, kAll{0, INT64_MAX, 1};

template <class World, class Member>
class Cells {
public:
    using State = ListState<World>;
    using ArrayT = Array<World>;
    using ValueT = Value<World>;
    using BlockT = Block<World>;

    static constexpr std::uint64_t kWasteAtOnce = 1024;  // cells that a step frees; more are left to others

    Cells(State* state, Member& member) noexcept : q(state), m(member) {}

    ArrayT* array() const noexcept { return array_at(q->array.load(std::memory_order_relaxed)); }
    ArrayT* array_at(Offset at) const noexcept { return reinterpret_cast<ArrayT*>(m.arena.heap.block_at(at)); }
    std::uint64_t length() const noexcept { return array()->length.load(std::memory_order_relaxed); }
    Cell cell(std::uint64_t index) const noexcept { return array()->cells[index].load(std::memory_order_relaxed); }
    BlockT* block_of(Cell cell) const noexcept { return m.arena.heap.block_at(block_in(cell)); }

    // Can the change be made without memory, and without giving any back? Then the arena's section is not needed.
    bool is_simple(const Range& range, const Item* items, std::uint64_t count) const noexcept {
        const std::uint64_t had = length(), capacity = array()->capacity();
        if (range.count > 1 || count > 1 || q->waste != 0) return false;
        if (count != 0 && items->plain == 0) return false;
        if (range.count != 0 && !is_plain(cell(range.first))) return false;
        return count == range.count || (count != 0 ? had < capacity : !shrinks(had - 1, capacity));
    }

    // Puts `count` items in the place of a range; of one with another step than 1, as many as there were, or none. False: the
    // limit; then nothing has changed. Inside the arena's section, unless it is simple.
    bool replace(const Range& range, const Item* items, std::uint64_t count) noexcept {
        const std::uint64_t had = length();
        const bool ends = range.first + range.count == had;
        if (range.count == 1 && count == 1) return set(range.first, *items);
        if (range.step != 1) return count != 0 ? assign(range, items) : erase(range);
        if (count == 0 && (ends || range.count == 1)) return cut(range, ends);
        if (range.count == 0 && had + count <= array()->capacity()) {
            if (ends) return append(items, count);
            if (count == 1) return insert(range.first, *items);
        }
        return remake(had - range.count + count, range, [&](ArrayT* to, const ArrayT* from) {
            copy(to, 0, from, 0, range.first);
            if (!make(to, range.first, items, count)) return false;
            copy(to, range.first + count, from, range.first + range.count, had - range.first - range.count);
            return true;
        });
    }

    // The list becomes what it is in another order: cell i is what cell order(i) was. Inside the arena's section; false: the limit.
    template <class Order>
    bool arrange(Order&& order) noexcept {
        const std::uint64_t had = length();
        return remake(had, {0, 0, 1}, [&](ArrayT* to, const ArrayT* from) {
            for (std::uint64_t i = 0; i < had; ++i) put(to, i, from->cells[order(i)].load(std::memory_order_relaxed));
            return true;
        });
    }

    // Frees up to `most` cells of the waste; whether there is more. Inside the arena's section.
    bool free_waste(std::uint64_t most) noexcept {
        if (q->waste == 0) return false;
        ArrayT* former = array_at(Offset{q->waste} << arena::kGrainShift);
        for (; most != 0 && q->waste_left != 0; --most) discard(former->cells[--q->waste_left].load(std::memory_order_relaxed));
        if (q->waste_left != 0) return true;
        q->waste = 0;
        m.arena.heap.free(&former->block);
        return false;
    }

    // The first array of a new list, inside the arena's section. False: the limit.
    bool make_first() noexcept {
        ArrayT* first = make_array(0);
        if (first == nullptr) return false;
        q->array.store(m.arena.heap.offset_of_block(first), std::memory_order_relaxed);
        q->hole = kNoHole;
        return true;
    }

    // Settles what a death has left. Inside the arena's section.
    void recover() noexcept {
        ++q->mended;
        q->waste = 0;
        q->waste_left = q->values = q->bytes = q->large = q->large_bytes = 0;
        if (q->hole < length()) close_hole();
        m.arena.heap.for_each_child(&q->block, [](BlockT* block) { block->next_free = 0; });
        const ArrayT* counts = array();
        for (std::uint64_t i = 0, n = length(); i < n; ++i) {
            const Cell cell = counts->cells[i].load(std::memory_order_relaxed);
            if (is_plain(cell)) continue;
            block_of(cell)->next_free = kInCell;
            count(cell, 1);
        }
        m.arena.heap.for_each_child(&q->block, [&](BlockT* block) {
            switch (static_cast<arena::Kind>(block->kind)) {
                case arena::Kind::list_array:
                    if (block != &counts->block) m.arena.heap.free(block);
                    break;
                case arena::Kind::list_value:
                case arena::Kind::message:
                    if (block->next_free != kInCell) release(block);
                    break;
                default: break;  // its name
            }
        });
    }

private:
    static constexpr std::uint16_t kInCell = 1;

    static void put(ArrayT* to, std::uint64_t index, Cell cell) noexcept { to->cells[index].store(cell, std::memory_order_relaxed); }
    static void copy(ArrayT* to, std::uint64_t at, const ArrayT* from, std::uint64_t first, std::uint64_t count) noexcept {
        for (std::uint64_t i = 0; i < count; ++i) put(to, at + i, from->cells[first + i].load(std::memory_order_relaxed));
    }
    // The step's one store: nothing of it may be moved to its other side. (The section orders it for the living.)
    template <class Atom, class T>
    static void publish(Atom& word, T value) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        word.store(value, std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    void move_hole(std::uint64_t to) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        q->hole = to;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    // A quarter in use: half of it, or less, would do.
    static bool shrinks(std::uint64_t length, std::uint64_t capacity) noexcept {
        return capacity > (ArrayT::kSmallest - ArrayT::kHead) / sizeof(Cell) && length <= capacity / 4;
    }

    // One cell changed.
    bool set(std::uint64_t index, const Item& item) noexcept {
        const Cell former = cell(index), other = make(item);
        if (other == 0) return false;
        publish(array()->cells[index], other);
        discard(former);
        return true;
    }
    // At the end.
    bool append(const Item* items, std::uint64_t count) noexcept {
        ArrayT* cells = array();
        const std::uint64_t had = length();
        if (!make(cells, had, items, count)) return false;
        publish(cells->length, had + count);
        return true;
    }
    bool cut(const Range& range, bool ends) noexcept {
        const std::uint64_t left = length() - range.count;
        if ((range.count > kWasteAtOnce || shrinks(left, array()->capacity())) && remade_without(range, left)) return true;
        if (!ends) {
            take_out(range.first);
            return true;
        }
        ArrayT* cells = array();
        publish(cells->length, left);
        for (std::uint64_t i = 0; i < range.count; ++i) discard(cells->cells[left + i].load(std::memory_order_relaxed));
        return true;
    }
    bool remade_without(const Range& range, std::uint64_t left) noexcept {
        return remake(left, range, [&](ArrayT* to, const ArrayT* from) {
            copy(to, 0, from, 0, range.first);
            copy(to, range.first, from, range.first + range.count, left - range.first);
            return true;
        });
    }
    // One put in within, or taken out.
    bool insert(std::uint64_t index, const Item& item) noexcept {
        const Cell other = make(item);
        if (other == 0) return false;
        ArrayT* cells = array();
        const std::uint64_t had = length();
        move_hole(had);
        publish(cells->length, had + 1);
        for (std::uint64_t i = had; i != index; --i) {
            put(cells, i, cells->cells[i - 1].load(std::memory_order_relaxed));
            move_hole(i - 1);
        }
        put(cells, index, other);
        move_hole(kNoHole);  // publish
        return true;
    }
    void take_out(std::uint64_t index) noexcept {
        const Cell former = cell(index);
        move_hole(index);  // publish
        close_hole();
        discard(former);
    }
    void close_hole() noexcept {
        ArrayT* cells = array();
        const std::uint64_t last = length() - 1;
        for (std::uint64_t i = q->hole; i != last; ++i) {
            put(cells, i, cells->cells[i + 1].load(std::memory_order_relaxed));
            move_hole(i + 1);
        }
        publish(cells->length, last);  // the hole is beyond it now
        move_hole(kNoHole);
    }
    // Others.
    bool assign(const Range& range, const Item* items) noexcept {
        const std::uint64_t had = length();
        return remake(had, range, [&](ArrayT* to, const ArrayT* from) {
            copy(to, 0, from, 0, had);
            std::uint64_t made = 0;
            for (Cell cell; made < range.count; put(to, range[made++], cell))
                if ((cell = make(items[made])) == 0) break;
            if (made == range.count) return true;
            while (made != 0) discard(to->cells[range[--made]].load(std::memory_order_relaxed));
            return false;
        });
    }
    bool erase(const Range& range) noexcept {
        const std::uint64_t had = length();
        const Range rising = range.step > 0 || range.count == 0 ? range : Range{range[range.count - 1], range.count, -range.step};
        return remake(had - range.count, range, [&](ArrayT* to, const ArrayT* from) {
            std::uint64_t gone = 0;
            for (std::uint64_t i = 0; i < had; ++i) {
                if (gone != rising.count && i == rising[gone]) ++gone;
                else put(to, i - gone, from->cells[i].load(std::memory_order_relaxed));
            }
            return true;
        });
    }
    // `fill(to, from)` writes the cells of the new array; what was in the range is nobody's then. False: the limit.
    template <class Fill>
    bool remake(std::uint64_t length, const Range& gone, Fill&& fill) noexcept {
        ArrayT* former = array();
        ArrayT* other = make_array(length);
        if (other == nullptr) return false;
        if (!fill(other, former)) {
            m.arena.heap.free(&other->block);
            return false;
        }
        other->length.store(length, std::memory_order_relaxed);
        publish(q->array, m.arena.heap.offset_of_block(other));
        if (gone.count <= kWasteAtOnce) {
            for (std::uint64_t i = 0; i < gone.count; ++i) discard(former->cells[gone[i]].load(std::memory_order_relaxed));
            m.arena.heap.free(&former->block);
            return true;
        }
        free_waste(~std::uint64_t{0});
        const Range rising = gone.step > 0 ? gone : Range{gone[gone.count - 1], gone.count, -gone.step};
        for (std::uint64_t i = 0; i < gone.count; ++i) put(former, i, former->cells[rising[i]].load(std::memory_order_relaxed));
        q->waste_left = gone.count;
        q->waste = static_cast<std::uint32_t>(m.arena.heap.offset_of_block(former) >> arena::kGrainShift);
        return true;
    }
    // To take something out of a full arena takes an array, too.
    ArrayT* make_array(std::uint64_t length) noexcept {
        const std::uint64_t had = q->array.load(std::memory_order_relaxed) == 0 ? 0 : this->length();
        const auto budget = length < had ? arena::Budget::reserve : arena::Budget::usual;
        if (length > arena::kCapacity / sizeof(Cell)) return nullptr;
        auto* made = reinterpret_cast<ArrayT*>(
            m.arena.heap.allocate(ArrayT::bytes_for(length), arena::Kind::list_array, &q->block, budget));
        if (made != nullptr) made->length.store(0, std::memory_order_relaxed);
        return made;
    }

    // Values.
    Cell make(const Item& item) noexcept {
        if (item.plain != 0) return item.plain;
        BlockT* block;
        if (item.part.large != 0) {
            block = m.arena.heap.resolve(item.part.large);
            m.arena.heap.set_owner(block, &q->block);
        } else {
            block = m.arena.heap.allocate(sizeof(ValueT) + item.part.size, arena::Kind::list_value, &q->block);
            if (block == nullptr) return 0;
            // A reader that has not looked yet may take what lay here before for cells.
            copy_racy(reinterpret_cast<ValueT*>(block)->content(), item.part.bytes, item.part.size);
        }
        const Cell cell = make_cell(static_cast<std::uint32_t>(m.arena.heap.offset_of_block(block) >> arena::kGrainShift),
                                    item.part.large != 0);
        count(cell, 1);
        return cell;
    }
    bool make(ArrayT* to, std::uint64_t at, const Item* items, std::uint64_t count) noexcept {
        for (std::uint64_t made = 0; made < count; ++made) {
            const Cell cell = make(items[made]);
            if (cell == 0) {
                while (made != 0) discard(to->cells[at + --made].load(std::memory_order_relaxed));
                return false;
            }
            put(to, at + made, cell);
        }
        return true;
    }
    // A message that was not put after all is not freed by this: this process refers to it.
    void discard(Cell cell) noexcept {
        if (is_plain(cell)) return;
        count(cell, -1);
        release(block_of(cell));
    }
    // Who reads a message refers to it.
    void release(BlockT* block) noexcept {
        m.arena.heap.set_owner(block, nullptr);
        if (block->refs.load(std::memory_order_relaxed) == 0) m.arena.heap.free(block);
    }
    void count(Cell cell, std::int64_t by) noexcept {
        const auto times = static_cast<std::uint64_t>(by);
        const std::uint64_t bytes = block_of(cell)->bytes;
        q->values += times;
        if (in_message(cell)) q->large += times, q->large_bytes += times * bytes;
        else q->bytes += times * bytes;
    }

    State* q;
    Member& m;
};

}  // namespace treadle::map
