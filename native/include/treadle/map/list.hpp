// map/list.hpp: lists that processes share: of values that are words or bytes.
//
// Promise: linearizable; robust: a change happens entirely or not at all, however many values it is of, and a death at any
// instruction costs nobody else more than the look that finds it and one walk over the list (cells.hpp, recover). Readers do
// not keep each other, nor writers, waiting (section.hpp). At the end, and of one cell, a change takes the same time however
// long the list is, but where the array grows or shrinks: then it is copied; so it is by changes of several cells within.
//
// An index is as Python's: a negative one counts from the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "cells.hpp"
#include "list_layout.hpp"
#include "map.hpp"
#include "section.hpp"

namespace treadle::map {

// What was found at an index: a plain cell; bytes that were copied to the reader's room (kLargestPart); or a message, which this
// process refers to by the slot from now on.
struct FoundItem {
    Cell cell = 0;
    BlockRef value = 0;  // which one it was, if the cell is not plain
    std::uint32_t bytes = 0;
    std::uint32_t slot = kNoSlot;
};

// When a change is to happen.
struct ListCondition {
    enum Kind { always, same, unchanged } kind = always;
    Cell cell = 0;               // same: this is still what is there
    BlockRef value = 0;
    std::uint64_t version = 0;   // unchanged: nobody has changed the list since
};

// Copies of items, end to end: the cell, and, if it is not plain, a CopiedItem with its bytes behind it, padded.
struct CopiedItem {
    BlockRef value;
    std::uint32_t bytes, slot;  // of a message: this process's reference, and no bytes
};
struct ItemBasket {
    char* data = nullptr;
    std::uint64_t room = 0;
    std::uint64_t size = 0;
    std::uint64_t items = 0;
    std::uint64_t needed = 0;   // no_room: so much
    std::uint64_t version = 0;  // of the list when they were copied
    std::uint64_t first = 0;    // the index of the first of them
};

struct ListFigures {
    std::uint64_t length, capacity, bytes, memory, large;
    std::uint32_t mended;
};

// `Member` is this process in the arena: arena, handles, process (arena/mapping.hpp).
template <class World, class Member>
class List {
public:
    using State = ListState<World>;
    using CellsT = Cells<World, Member>;

    List(State* state, Member& member) noexcept : q(state), m(member) {}

    // Makes a list, inside the arena's section. Null: the limit.
    static State* make(Member& member) noexcept {
        auto& heap = member.arena.heap;
        auto* state = reinterpret_cast<State*>(heap.allocate(sizeof(State), arena::Kind::list));
        if (state == nullptr) return nullptr;
        std::memset(static_cast<void*>(&state->block + 1), 0, sizeof(State) - sizeof state->block);
        if (CellsT(state, member).make_first()) return state;
        heap.free(&state->block);
        return nullptr;
    }

    // The item at the index. `out`: room for kLargestPart. done, blocked, empty (there is none), or no_memory (for the reference
    // to a message).
    template <class Who>
    Result attempt_find(Who& who, std::int64_t index, char* out, FoundItem& found, Wait& wait) noexcept {
        Result result = Result::done;
        if (section().look(who, [&](const auto& look) { return try_find(index, out, found, look, result); })) return result;
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        std::uint64_t at;
        result = !place_of(index, cells().length(), at) ? Result::empty : read_item(who, cells().cell(at), out, found, wait);
        section().leave();
        return result;
    }

    // How many items there are. done or blocked.
    template <class Who>
    Result attempt_count(Who& who, std::uint64_t& count, Wait& wait) noexcept {
        if (section().look(who, [&](const auto& look) { return try_length(count, look) != nullptr; })) return Result::done;
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        count = cells().length();
        section().leave();
        return Result::done;
    }

    // Puts `count` items in the place of a slice, all or none of them. done, blocked, gone (the condition does not hold; the
    // version is that of the whole list), no_room (a slice with another step than 1 has `replaced` items, not `count`), or
    // no_memory: then nothing has changed.
    template <class Who>
    Result attempt_replace(Who& who, const Slice& slice, const Item* items, std::uint64_t count, const ListCondition& condition,
                           std::uint64_t& replaced, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        const Range range = slice.of(cells().length());
        replaced = range.count;
        Result result = !holds(condition, 0)                           ? Result::gone
                        : slice.step != 1 && count != range.count ? Result::no_room
                                                                       : Result::done;
        if (result == Result::done && (count != 0 || range.count != 0)) result = change(who, range, items, count, wait);
        section().leave();
        return result;
    }
    // Takes a slice out. As attempt_replace.
    template <class Who>
    Result attempt_remove(Who& who, const Slice& slice, const ListCondition& condition, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        const Range range = slice.of(cells().length());
        Result result = holds(condition, 0) ? Result::done : Result::gone;
        if (result == Result::done && range.count != 0) result = change(who, range, nullptr, 0, wait);
        section().leave();
        return result;
    }

    // Puts one item in another's place, or (null) takes it out. done, blocked, empty (there is none), gone (the condition does
    // not hold), or no_memory.
    template <class Who>
    Result attempt_set(Who& who, std::int64_t index, const Item* item, const ListCondition& condition, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        std::uint64_t at;
        Result result = !place_of(index, cells().length(), at) ? Result::empty : holds(condition, at) ? Result::done : Result::gone;
        if (result == Result::done) result = change(who, {at, 1, 1}, item, item != nullptr, wait);
        section().leave();
        return result;
    }
    // Takes one out, and copies it to `out` first: no_room, and nothing is taken, if it is a message or `simple` says no. Else as
    // attempt_set.
    template <class Who, class Simple>
    Result attempt_pop(Who& who, std::int64_t index, char* out, FoundItem& found, Simple&& simple, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        std::uint64_t at;
        Result result = place_of(index, cells().length(), at) ? Result::done : Result::empty;
        if (result == Result::done) {
            found = FoundItem{cells().cell(at), 0, 0, kNoSlot};
            if (in_message(found.cell)) result = Result::no_room;
            else if (!is_plain(found.cell)) result = copy_value(found, out) && simple(out) ? Result::done : Result::no_room;
        }
        if (result == Result::done) result = change(who, {at, 1, 1}, nullptr, 0, wait);
        section().leave();
        return result;
    }
    // `alter(cell, bytes, size, item)` says what is to come instead of a cell, or of its bytes, in `item`; false: it does not want
    // to, and nothing changes. Of a message it is not asked. done, blocked, empty, gone (it did not want to), or no_memory.
    template <class Who, class Alter>
    Result attempt_alter(Who& who, std::int64_t index, Item& item, Alter&& alter, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        std::uint64_t at;
        Result result = place_of(index, cells().length(), at) ? Result::done : Result::empty;
        if (result == Result::done) {
            const Cell cell = cells().cell(at);
            const auto* value = is_plain(cell) ? nullptr : reinterpret_cast<const Value<World>*>(cells().block_of(cell));
            if (in_message(cell) || !alter(cell, value == nullptr ? nullptr : value->content(), value == nullptr ? 0 : value->size(), item))
                result = Result::gone;
        }
        if (result == Result::done) result = change(who, {at, 1, 1}, &item, 1, wait);
        section().leave();
        return result;
    }

    // Puts the items into another order: order(i) is where the one comes from that is to be the i-th. done, blocked, gone (the
    // list has been changed since), or no_memory: then nothing has changed.
    template <class Who, class Order>
    Result attempt_arrange(Who& who, Order&& order, const ListCondition& condition, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        Result result = holds(condition, 0) ? Result::done : Result::gone;
        const std::uint64_t length = cells().length();
        if (result == Result::done && length > 1) result = m.arena.enter(who, wait);
        if (result == Result::done && length > 1) {
            section().begin();
            if (!cells().arrange([&](std::uint64_t i) { return order(i, length); })) result = Result::no_memory;
            section().end();
            m.arena.leave();
        }
        section().leave();
        return result;
    }

    // After a change of very many: done: there is more to free; blocked; or empty.
    template <class Who>
    Result attempt_free_waste(Who& who, Wait& wait) noexcept {
        if (q->waste == 0) return Result::empty;  // what others see of it does not matter
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        Result result = q->waste == 0 ? Result::empty : m.arena.enter(who, wait);
        if (result == Result::done) {
            section().begin();
            if (!cells().free_waste(kWasteAtATime)) result = Result::empty;
            section().end();
            m.arena.leave();
        }
        section().leave();
        return result;
    }

    // Copies a slice. done, blocked, no_room (see ItemBasket), or no_memory for the references: then the slots of what was
    // copied are the caller's to drop.
    template <class Who>
    Result attempt_copy(Who& who, const Slice& slice, ItemBasket& basket, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        const Range range = slice.of(cells().length());
        basket.size = basket.items = 0;
        basket.version = q->words.version.load(std::memory_order_relaxed);
        basket.first = range.first;
        basket.needed = bytes_of(range);
        Result result = basket.needed > basket.room ? Result::no_room : Result::done;
        const bool refers = q->large != 0 && result == Result::done;
        if (refers) result = m.arena.enter(who, wait);
        if (result == Result::done) {
            for (std::uint64_t i = 0; i < range.count && result == Result::done; ++i)
                if (!copy_item(cells().cell(range[i]), basket)) result = Result::no_memory;
            if (refers) m.arena.leave();
        }
        section().leave();
        return result;
    }

    // Passes through the section: who has just taken the lock knows then that nobody is inside any more who had not seen it.
    template <class Who>
    Result attempt_pass(Who& who, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        section().leave();
        return Result::done;
    }
    // Whoever holds the lock: an observer does not wait for it. If the list changes all the time they may be of no one instant.
    ListFigures figures() const noexcept {
        ListFigures figures{};
        for (int i = 0; i < kObservations; ++i) {
            const Look<World> look(q->words);
            const Array<World>* array = try_length(figures.length, look);
            std::uint64_t block_bytes = 0, blocks[4] = {};  // values, bytes, large, large_bytes
            if (array == nullptr) continue;
            copy_racy(reinterpret_cast<char*>(&block_bytes), reinterpret_cast<const char*>(&array->block.bytes), sizeof block_bytes);
            copy_racy(reinterpret_cast<char*>(blocks), reinterpret_cast<const char*>(&q->values), sizeof blocks);
            figures.capacity = (block_bytes - Array<World>::kHead) / sizeof(Cell);
            figures.bytes = blocks[1] + blocks[3];
            figures.memory = q->block.bytes + block_bytes + figures.bytes;
            figures.large = blocks[2];
            figures.mended = q->mended;
            if (look.holds()) break;
        }
        return figures;
    }

    bool locked_against(word::Token me) const noexcept { return Section<World, Member>(q->words, m).locked_against(me); }

private:
    static constexpr std::uint64_t kWasteAtATime = 1024;
    static constexpr int kObservations = 100;

    Section<World, Member> section() noexcept { return Section<World, Member>(q->words, m); }
    CellsT cells() const noexcept { return CellsT(q, m); }

    template <class Who>
    Result enter(Who& who, Wait& wait) noexcept {
        return section().enter(who, wait, [this](Who& w, Wait& waits) {
            if (m.arena.enter(w, waits) == Result::blocked) return Result::blocked;
            cells().recover();
            m.arena.leave();
            return Result::done;
        });
    }
    // Inside the section.
    template <class Who>
    Result change(Who& who, const Range& range, const Item* items, std::uint64_t count, Wait& wait) noexcept {
        if (cells().is_simple(range, items, count)) {
            section().begin();
            cells().replace(range, items, count);
            section().end();
            return Result::done;
        }
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        section().begin();
        const bool changed = cells().replace(range, items, count);
        cells().free_waste(CellsT::kWasteAtOnce);
        section().end();
        m.arena.leave();
        return changed ? Result::done : Result::no_memory;
    }

    static bool place_of(std::int64_t index, std::uint64_t length, std::uint64_t& at) noexcept {
        at = static_cast<std::uint64_t>(index) + (index < 0 ? length : 0);
        return at < length;
    }
    bool holds(const ListCondition& condition, std::uint64_t at) const noexcept {
        switch (condition.kind) {
            case ListCondition::always: return true;
            case ListCondition::unchanged: return q->words.version.load(std::memory_order_relaxed) == condition.version;
            case ListCondition::same: {
                const Cell cell = cells().cell(at);
                return cell == condition.cell && (is_plain(cell) || m.arena.heap.ref_to(cells().block_of(cell)) == condition.value);
            }
        }
        return false;
    }

    // One look. Null: it does not hold.
    template <class Looking>
    const Array<World>* try_length(std::uint64_t& length, const Looking& look) const noexcept {
        const Offset at = q->array.load(std::memory_order_relaxed);
        if (!look.holds()) return nullptr;
        const Array<World>* array = cells().array_at(at);
        length = array->length.load(std::memory_order_relaxed);
        return array;
    }
    // False: the look does not hold, or the section is needed.
    template <class Looking>
    bool try_find(std::int64_t index, char* out, FoundItem& found, const Looking& look, Result& result) const noexcept {
        std::uint64_t length, at;
        const Array<World>* array = try_length(length, look);
        if (array == nullptr || !look.holds()) return false;
        result = place_of(index, length, at) ? Result::done : Result::empty;
        if (result == Result::empty) return true;
        found = FoundItem{array->cells[at].load(std::memory_order_relaxed), 0, 0, kNoSlot};
        if (is_plain(found.cell)) return true;
        if (!look.holds() || in_message(found.cell)) return false;
        const auto* value = reinterpret_cast<const Value<World>*>(cells().block_of(found.cell));
        std::uint64_t bytes;
        copy_racy(reinterpret_cast<char*>(&bytes), reinterpret_cast<const char*>(&value->block.bytes), sizeof bytes);
        found.value = m.arena.heap.ref_to(&value->block);
        if (!look.holds()) return false;
        if constexpr (requires { World::yield_point("copy"); }) World::yield_point("copy");
        found.bytes = static_cast<std::uint32_t>(bytes - sizeof *value);
        copy_racy(out, value->content(), found.bytes);
        return true;
    }
    // Inside the section.
    bool copy_value(FoundItem& found, char* out) const noexcept {
        const auto* value = reinterpret_cast<const Value<World>*>(cells().block_of(found.cell));
        found.value = m.arena.heap.ref_to(&value->block);
        found.bytes = static_cast<std::uint32_t>(value->size());
        std::memcpy(out, value->content(), found.bytes);
        return true;
    }
    template <class Who>
    Result read_item(Who& who, Cell cell, char* out, FoundItem& found, Wait& wait) noexcept {
        found = FoundItem{cell, 0, 0, kNoSlot};
        if (is_plain(cell)) return Result::done;
        if (!in_message(cell)) {
            copy_value(found, out);
            return Result::done;
        }
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        refer(cell, found.value, found.slot);
        m.arena.leave();
        return found.slot == kNoSlot ? Result::no_memory : Result::done;
    }
    bool refer(Cell cell, BlockRef& value, std::uint32_t& slot) noexcept {
        Block<World>* block = cells().block_of(cell);
        value = m.arena.heap.ref_to(block);
        slot = m.handles.add(m.arena, m.process, block);
        return slot != kNoSlot;
    }

    std::uint64_t bytes_of(const Range& range) const noexcept {
        std::uint64_t bytes = range.count * sizeof(Cell);
        for (std::uint64_t i = 0; i < range.count && q->values != 0; ++i) {
            const Cell cell = cells().cell(range[i]);
            if (!is_plain(cell)) bytes += sizeof(CopiedItem);
            if (!is_plain(cell) && !in_message(cell))
                bytes += padded(cells().block_of(cell)->bytes - sizeof(Value<World>));
        }
        return bytes;
    }
    // False: no memory for a reference; the item counts.
    bool copy_item(Cell cell, ItemBasket& basket) noexcept {
        char* at = basket.data + basket.size;
        std::memcpy(at, &cell, sizeof cell);
        basket.size += sizeof cell;
        ++basket.items;
        if (is_plain(cell)) return true;
        const auto* value = reinterpret_cast<const Value<World>*>(cells().block_of(cell));
        CopiedItem item{m.arena.heap.ref_to(&value->block), 0, kNoSlot};
        bool referred = true;
        if (in_message(cell)) {
            referred = refer(cell, item.value, item.slot);
        } else {
            item.bytes = static_cast<std::uint32_t>(value->size());
            std::memcpy(at + sizeof cell + sizeof item, value->content(), item.bytes);
        }
        std::memcpy(at + sizeof cell, &item, sizeof item);
        basket.size += sizeof item + padded(item.bytes);
        return referred;
    }

    State* q;
    Member& m;
};

}  // namespace treadle::map
