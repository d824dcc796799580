// list_ops.hpp: what a shared list does, joined to the parking loop. (Messages: queue_ops.hpp; the user's lock: map_ops.hpp.)
//
// Every function holds the interpreter on entry and return. An `int` result is a word::Result, or kInterrupted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "await.hpp"
#include "bodies.hpp"
#include "map_ops.hpp"
#include "objects.hpp"
#include "queue_ops.hpp"
#include "sync_ops.hpp"
#include "treadle/map/list.hpp"
#include "treadle/map/plain_cells.hpp"

namespace treadle::core {

using SharedList = map::List<SharedWorld, Mapping>;
using ListState = SharedList::State;
using ListFound = map::FoundItem;
using ListItem = map::Item;
using ListCondition = map::ListCondition;
using ListBasket = map::ItemBasket;
using ListFigures = map::ListFigures;
using ListSlice = map::Slice;

static_assert(sizeof(map::ListLayoutCheck<SharedWorld>) != 0);

inline ListState* list_state_of(const Handle& h) noexcept { return reinterpret_cast<ListState*>(h.block); }
inline SharedList list_of(const Handle& h) noexcept { return SharedList(list_state_of(h), *h.mapping); }

inline bool make_list(Mapping* m, Token token, const char* label, Handle& h) noexcept {
    return make_block(m, token, h, [&]() -> SharedBlock* {
        ListState* state = SharedList::make(*m);
        if (state == nullptr) return nullptr;
        copy_label(state->label, sizeof state->label, label);
        LockBody<SharedWorld>* lock = reinterpret_cast<LockBody<SharedWorld>*>(&state->words.lock);
        copy_label(lock->label, sizeof lock->label, label);
        return &state->block;
    });
}
inline const char* list_label(const Handle& h) noexcept { return list_state_of(h)->label; }

template <class Attempt>
int list_does(const Handle& h, Token token, Attempt attempt) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(caller(h, token), attempt, Result::blocked, kForever, h.mapping, place_of(h));
    });
}
// What a change of very many left to be freed.
inline int after_list_change(const Handle& h, Token token, int result) noexcept {
    while (result == static_cast<int>(Result::done) &&
           briefly(h.mapping, token, [&](auto& who, Wait& wait) { return list_of(h).attempt_free_waste(who, wait); }) == Result::done) {
    }
    return result;
}

inline int list_find(const Handle& h, Token token, std::int64_t index, char* out, ListFound* found) noexcept {
    return list_does(h, token, [&](auto& who, Wait& wait) { return list_of(h).attempt_find(who, index, out, *found, wait); });
}
inline int list_replace(const Handle& h, Token token, const ListSlice& slice, const ListItem* items, std::uint64_t count,
                        std::uint64_t* replaced) noexcept {
    return after_list_change(h, token, list_does(h, token, [&](auto& who, Wait& wait) {
        return list_of(h).attempt_replace(who, slice, items, count, ListCondition{}, *replaced, wait);
    }));
}
inline int list_append(const Handle& h, Token token, const ListItem& item) noexcept {
    std::uint64_t replaced;
    return list_does(h, token, [&](auto& who, Wait& wait) {
        return list_of(h).attempt_replace(who, map::kAtTheEnd, &item, 1, ListCondition{}, replaced, wait);
    });
}
inline int list_remove(const Handle& h, Token token, const ListSlice& slice, const ListCondition& condition) noexcept {
    return after_list_change(
        h, token, list_does(h, token, [&](auto& who, Wait& wait) { return list_of(h).attempt_remove(who, slice, condition, wait); }));
}
// item null: takes it out.
inline int list_set(const Handle& h, Token token, std::int64_t index, const ListItem* item, const ListCondition& condition) noexcept {
    return list_does(h, token, [&](auto& who, Wait& wait) { return list_of(h).attempt_set(who, index, item, condition, wait); });
}
// no_room: it begins with the tag `not_this`, or is a message.
inline int list_pop(const Handle& h, Token token, std::int64_t index, char not_this, char* out, ListFound* found) noexcept {
    return list_does(h, token, [&](auto& who, Wait& wait) {
        return list_of(h).attempt_pop(who, index, out, *found, [=](const char* value) { return *value != not_this; }, wait);
    });
}
// Adds to a number in its cell; `sum` is its cell then. gone: there is something else, or the sum fits in none.
inline int list_add(const Handle& h, Token token, std::int64_t index, const MapNumber& n, bool is_real, map::Cell* sum) noexcept {
    ListItem item;
    const int result = list_does(h, token, [&](auto& who, Wait& wait) {
        return list_of(h).attempt_alter(who, index, item, [&](map::Cell cell, const char*, std::uint64_t, ListItem& to) {
            if (!map::is_plain(cell) || map::plain_kind(cell) == map::PlainKind::bytes) return false;
            if (map::plain_kind(cell) == map::PlainKind::integer && !is_real) {
                std::int64_t integer;
                to.plain = __builtin_add_overflow(map::integer_in(cell), n.integer, &integer) ? 0 : map::cell_of(integer);
            } else {
                const double number = map::plain_kind(cell) == map::PlainKind::real ? map::real_in(cell)
                                                                                    : static_cast<double>(map::integer_in(cell));
                to.plain = map::cell_of(number + (is_real ? n.real : static_cast<double>(n.integer)));
            }
            return to.plain != 0;
        }, wait);
    });
    *sum = item.plain;
    return result;
}
// order null: it is reversed.
inline int list_arrange(const Handle& h, Token token, const std::uint64_t* order, const ListCondition& condition) noexcept {
    return list_does(h, token, [&](auto& who, Wait& wait) {
        const auto from = [order](std::uint64_t i, std::uint64_t length) { return order == nullptr ? length - 1 - i : order[i]; };
        return list_of(h).attempt_arrange(who, from, condition, wait);
    });
}
inline int list_count(const Handle& h, Token token, std::uint64_t* count) noexcept {
    return list_does(h, token, [&](auto& who, Wait& wait) { return list_of(h).attempt_count(who, *count, wait); });
}
inline ListFigures list_figures(const Handle& h) noexcept { return list_of(h).figures(); }

// Items that were copied, one after another.
struct ListCopy {
    map::Cell cell;
    map::CopiedItem head;
    const char* bytes;
};
inline const char* read_copy(const char* at, ListCopy* copy) noexcept {
    std::memcpy(&copy->cell, at, sizeof copy->cell);
    at += sizeof copy->cell;
    copy->head = map::CopiedItem{0, 0, kNoSlot};
    if (map::is_plain(copy->cell)) return at;
    std::memcpy(&copy->head, at, sizeof copy->head);
    copy->bytes = at + sizeof copy->head;
    return copy->bytes + map::padded(copy->head.bytes);
}
inline void drop_copies(const Handle& h, ListBasket& basket, const char* from, std::uint64_t count) noexcept {
    ListCopy copy;
    for (; count != 0; --count) {
        from = read_copy(from, &copy);
        if (copy.head.slot != kNoSlot) drop_slot(h.mapping, copy.head.slot);
    }
    std::free(basket.data);
    basket = ListBasket{};
}
// Copies a slice to memory that is the caller's to drop. no_room: this process has none.
inline int list_copy(const Handle& h, Token token, const ListSlice& slice, ListBasket* basket) noexcept {
    constexpr std::uint64_t kFirstRoom = 1024;
    *basket = ListBasket{};
    basket->needed = kFirstRoom;
    for (int tries = 0;;) {
        const std::uint64_t room = basket->needed + basket->needed / 8;
        basket->data = static_cast<char*>(std::malloc(room));
        if (basket->data == nullptr) return static_cast<int>(Result::no_room);
        basket->room = room;
        const int result = await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) { return list_of(h).attempt_copy(who, slice, *basket, wait); },
            Result::blocked, kForever, h.mapping, place_of(h));
        if (result == static_cast<int>(Result::done)) return result;
        const std::uint64_t needed = basket->needed;
        const bool short_of_room = result == static_cast<int>(Result::no_room);
        drop_copies(h, *basket, basket->data, short_of_room ? 0 : basket->items);
        const bool again = result == static_cast<int>(Result::no_memory) && tries++ == 0 && sweep_released(h.mapping) != 0;
        if (!short_of_room && !again) return result;
        basket->needed = needed;
    }
}

// Messages.
inline void message_of_item(const Handle& h, arena::BlockRef ref, std::uint32_t slot, MessageHold* hold, std::uint64_t* bytes) noexcept {
    auto* message = reinterpret_cast<RingMessage*>(h.mapping->arena.heap.block_at(arena::offset_of(ref)));
    *hold = MessageHold{message, slot};
    *bytes = message->block.bytes - sizeof(RingMessage);
}

inline map::Cell cell_of_integer(std::int64_t number) noexcept { return map::cell_of(number); }
inline map::Cell cell_of_real(double number) noexcept { return map::cell_of(number); }
inline map::Cell cell_of_bytes(const char* bytes, std::uint32_t size) noexcept { return map::cell_of(bytes, size); }

// The lock. After it was taken: waits for who is inside and had not seen it.
inline void list_pass(const Handle& h) noexcept {
    briefly(h.mapping, lock_owner(map_lock_of(h)), [&](auto& who, Wait& wait) { return list_of(h).attempt_pass(who, wait); });
}

}  // namespace treadle::core
