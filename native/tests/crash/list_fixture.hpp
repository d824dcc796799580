// crash/list_fixture.hpp: a list whose users are killed: what the keeper and a victim do to it, and what a survivor finds in it.
// A value is a number: below kInBlocks a cell, from there on bytes in a block, and from kLargeItem on a message that holds an object.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "crash/queue_items.hpp"
#include "treadle/map/list.hpp"
#include "treadle/map/plain_cells.hpp"

namespace arena_crash {

namespace shared = treadle::map;
using ListOfKeeper = shared::List<SharedWorld, Keeper>;
using ListOfProcess = shared::List<SharedWorld, Mapping>;
using ListState = shared::ListState<SharedWorld>;
using shared::Part;
using shared::Slice;
using ListItem = shared::Item;

inline constexpr std::uint32_t kInBlocks = 100, kLargeItem = 1000, kMostItems = 80;
inline constexpr std::uint64_t kLargeBytes = 20'000, kLargeHead = sizeof(shared::Large<SharedWorld>) + 8;
using Numbers = std::vector<std::uint32_t>;

inline ListOfKeeper list_of(Keeper& member) noexcept { return ListOfKeeper(reinterpret_cast<ListState*>(object), member); }
inline ListOfProcess own_list() noexcept { return ListOfProcess(reinterpret_cast<ListState*>(own(object)), *self); }

// --- Values -----------------------------------------------------------------------------------------------------------

inline std::uint32_t block_bytes(std::uint32_t value) noexcept { return 8 + value % 50; }
inline char items_room[kMostItems][64];
inline std::uint32_t item_slot = SharedHandles::kNoSlot, held_slot = SharedHandles::kNoSlot;  // of the one message
inline ListItem prepared[kMostItems];
inline std::uint32_t prepared_count = 0;

template <class Member>
void prepare_items(Member& member, const Numbers& values) {
    prepared_count = 0;
    for (const std::uint32_t value : values) {
        char* room = items_room[prepared_count];
        ListItem& item = prepared[prepared_count++] = ListItem{};
        if (value < kInBlocks) {
            item.plain = shared::cell_of(std::int64_t{value});
            continue;
        }
        fill_item(room, value, block_bytes(value));
        item.part = Part{room, block_bytes(value), 0};
        if (value < kLargeItem) continue;
        auto& heap = member.arena.heap;
        SharedBlock* block = heap.allocate(kLargeHead + kLargeBytes, Kind::message);
        item_slot = member.handles.add(member.arena, member.process, block);
        fill_item(reinterpret_cast<char*>(block) + kLargeHead, value, kLargeBytes);
        SharedBlock* held = heap.allocate(100, Kind::lock);
        held_slot = member.handles.add(member.arena, member.process, held);
        const BlockRef ref = heap.ref_to(held);
        if (!heap.hold(block, &ref, 1)) give_up("no memory for what a value holds");
        item.part = Part{nullptr, kLargeBytes, heap.ref_to(block)};
    }
}

// --- What the keeper does in setups

inline std::uint64_t list_blocks = 0;  // live ones when the list is new and empty

inline void found_list() {
    found_arena();
    object = &ListOfKeeper::make(*keeper)->block;
    object_slot = keeper->handles.add(keeper->arena, keeper->process, object);
    list_blocks = keeper->arena.header().blocks.load();
}
inline void keeper_appends(const Numbers& values) {
    for (const std::uint32_t value : values) {
        std::uint64_t replaced;
        in_section(keeper->arena, keeper->caller(), [&] { prepare_items(*keeper, {value}); });
        require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
            return list_of(*keeper).attempt_replace(who, shared::kAtTheEnd, prepared, 1, {}, replaced, wait);
        }));
        if (value < kLargeItem) continue;
        drop_slot(*keeper, item_slot);
        drop_slot(*keeper, held_slot);
    }
}

// --- What a victim does

inline void prepare_own(const Numbers& values) {
    in_own_section([&] { prepare_items(*self, values); });
}
template <class Attempt>
void list_does(Attempt attempt) noexcept {
    if (victim_does(false, attempt) != Result::done) std::abort();
}
inline void replace_own(const Slice& slice) noexcept {
    std::uint64_t replaced;
    list_does([&](auto& who, Wait& wait) { return own_list().attempt_replace(who, slice, prepared, prepared_count, {}, replaced, wait); });
}
inline void remove_own(const Slice& slice) noexcept {
    list_does([&](auto& who, Wait& wait) { return own_list().attempt_remove(who, slice, {}, wait); });
}
inline void set_own(std::int64_t index) noexcept {
    list_does([&](auto& who, Wait& wait) { return own_list().attempt_set(who, index, prepared, {}, wait); });
}

// --- What a survivor finds

inline std::string list_of_numbers(const Numbers& numbers) {
    std::string text;
    for (const std::uint32_t number : numbers) text += std::to_string(number) + " ";
    return text;
}

inline std::string read_item(shared::Cell cell, BlockRef ref, const char* bytes, std::uint32_t size, std::uint32_t slot,
                             std::uint32_t& value) {
    if (shared::is_plain(cell)) {
        value = static_cast<std::uint32_t>(shared::integer_in(cell));
        return "";
    }
    std::uint64_t length = size;
    if (shared::in_message(cell)) {
        SharedBlock* block = self->arena.heap.resolve(ref);
        CRASH_REQUIRE(block != nullptr && slot != SharedHandles::kNoSlot);
        bytes = reinterpret_cast<const char*>(block) + kLargeHead;
        length = block->bytes - kLargeHead;
        CRASH_REQUIRE(length == kLargeBytes);
        const auto* holds = reinterpret_cast<treadle::arena::Holds<SharedWorld>*>(
            self->arena.heap.block_at(Offset{block->first_child} << kGrainShift));
        CRASH_REQUIRE(self->arena.heap.resolve(holds->objects[0]) != nullptr, "what a value holds is gone");
        in_section(self->arena, keeper->caller(), [&] { self->handles.drop(self->arena, self->process, slot); });
    }
    const std::uint32_t first = shared::in_message(cell) ? kLargeItem : kInBlocks;
    for (value = first; value < first + 100; ++value)
        if (is_item(bytes, value, length) && (first == kLargeItem || length == block_bytes(value))) return "";
    return "a value is none";
}

// All that is in the list, by a copy and, index by index, without the section.
inline std::string read_list(Numbers& numbers) {
    ListOfProcess list = own_list();
    std::vector<std::uint64_t> room(64 * 1024);
    shared::ItemBasket basket;
    basket.data = reinterpret_cast<char*>(room.data());
    basket.room = room.size() * 8;
    CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) { return list.attempt_copy(who, shared::kAll, basket, wait); }) == Result::done);
    const char* at = basket.data;
    for (std::uint64_t i = 0; i < basket.items; ++i) {
        shared::Cell cell;
        shared::CopiedItem item{0, 0, SharedHandles::kNoSlot};
        std::memcpy(&cell, at, sizeof cell);
        at += sizeof cell;
        if (!shared::is_plain(cell)) {
            std::memcpy(&item, at, sizeof item);
            at += sizeof item;
        }
        std::uint32_t value = 0, again = 0;
        if (const std::string wrong = read_item(cell, item.value, at, item.bytes, item.slot, value); !wrong.empty()) return wrong;
        at += shared::padded(item.bytes);
        numbers.push_back(value);
        shared::FoundItem found;
        alignas(8) char out[shared::kLargestPart];
        CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) {
            return list.attempt_find(who, static_cast<std::int64_t>(i), out, found, wait);
        }) == Result::done);
        if (const std::string wrong = read_item(found.cell, found.value, out, found.bytes, found.slot, again); !wrong.empty()) return wrong;
        CRASH_REQUIRE(again == value && found.cell == cell && found.value == item.value);
    }
    std::uint64_t count = 0;
    at_once(survivor(), [&](auto& who, Wait& wait) { return list.attempt_count(who, count, wait); });
    CRASH_REQUIRE(count == numbers.size(), "%llu and not %zu", static_cast<unsigned long long>(count), numbers.size());
    return "";
}

// The list serves: it takes new items, at its end and within, and gives them up; then it is empty, and nothing of it is left.
inline std::string list_goes_on(Numbers numbers) {
    ListOfProcess list = own_list();
    std::uint64_t replaced;
    for (const std::uint32_t value : {7u, 107u}) {
        const std::int64_t at = value == 7 ? 0 : INT64_MAX;
        in_section(self->arena, keeper->caller(), [&] { prepare_items(*self, {value}); });
        CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) {
            return list.attempt_replace(who, {at, at, 1}, prepared, 1, {}, replaced, wait);
        }) == Result::done);
        numbers.insert(value == 7 ? numbers.begin() : numbers.end(), value);
    }
    Numbers found;
    if (const std::string wrong = read_list(found); !wrong.empty()) return "afterwards: " + wrong;
    CRASH_REQUIRE(found == numbers, "%s", list_of_numbers(found).c_str());
    CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) { return list.attempt_remove(who, shared::kAll, {}, wait); }) == Result::done);
    const auto* state = reinterpret_cast<const ListState*>(own(object));
    CRASH_REQUIRE(state->values == 0 && state->bytes == 0 && state->large == 0 && state->waste == 0);
    return arena_is_sound(list_blocks);
}

}  // namespace arena_crash
