// map_ops.hpp: what a shared map does, joined to the parking loop. (Large parts are messages: queue_ops.hpp.)
//
// Every function holds the interpreter on entry and return. An `int` result is a word::Result, or kInterrupted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "await.hpp"
#include "bodies.hpp"
#include "objects.hpp"
#include "queue_ops.hpp"
#include "sync_ops.hpp"
#include "treadle/map/map.hpp"

namespace treadle::core {

using SharedMap = map::Map<SharedWorld, Mapping>;
using MapState = SharedMap::State;
using MapFound = map::Found;
using MapPart = map::Part;
using MapCondition = map::Condition;
using MapBasket = map::Basket;
using MapFigures = map::Figures;

static_assert(sizeof(map::MapLayoutCheck<SharedWorld>) != 0);
inline constexpr std::uint32_t kLargestPart = map::kLargestPart;

// A large part is a message, and the user's lock a lock.
static_assert(offsetof(map::Large<SharedWorld>, hash) == offsetof(RingMessage, birth));
static_assert(offsetof(map::SectionWords<SharedWorld>, lock) == 0 &&
              sizeof(LockBody<SharedWorld>) == sizeof(map::SectionWords<SharedWorld>::lock) +
                                                   sizeof(map::SectionWords<SharedWorld>::lock_report));

inline MapState* map_state_of(const Handle& h) noexcept { return reinterpret_cast<MapState*>(h.block); }
inline LockBody<SharedWorld>* map_lock(MapState* state) noexcept { return reinterpret_cast<LockBody<SharedWorld>*>(&state->words.lock); }
inline SharedMap map_of(const Handle& h) noexcept { return SharedMap(map_state_of(h), *h.mapping); }

inline bool make_map(Mapping* m, Token token, const char* label, Handle& h) noexcept {
    return make_block(m, token, h, [&]() -> SharedBlock* {
        MapState* state = SharedMap::make(*m);
        if (state == nullptr) return nullptr;
        copy_label(state->label, sizeof state->label, label);
        copy_label(map_lock(state)->label, sizeof map_lock(state)->label, label);
        return &state->block;
    });
}
inline const char* map_label(const Handle& h) noexcept { return map_state_of(h)->label; }

// Another reference of this process to the object. False: no memory.
inline bool share_handle(const Handle& h, Token token, Handle& out) noexcept {
    return Result::done == briefly(h.mapping, token, [&](auto& who, Wait& wait) {
        if (h.mapping->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t slot = h.mapping->handles.add(h.mapping->arena, h.mapping->process, h.block);
        if (slot != Handles::kNoSlot) out = Handle{h.mapping, h.block, h.serial, slot};
        h.mapping->arena.leave();
        return slot == Handles::kNoSlot ? Result::no_memory : Result::done;
    });
}

template <class Attempt>
int map_does(const Handle& h, Token token, Attempt attempt) noexcept {
    return with_memory_of_the_dead(h, [&] {
        return await<SharedWorld>(caller(h, token), attempt, Result::blocked, kForever, h.mapping, place_of(h));
    });
}

inline int map_find(const Handle& h, Token token, const char* key, std::uint32_t size, char* out, MapFound* found) noexcept {
    SharedMap shared = map_of(h);
    const map::Key k = shared.key(key, size);
    return map_does(h, token, [&](auto& who, Wait& wait) { return shared.attempt_find(who, k, out, *found, wait); });
}
inline int map_put(const Handle& h, Token token, const char* key, std::uint32_t size, const MapPart& form, const MapPart& value,
                   const MapCondition& condition) noexcept {
    SharedMap shared = map_of(h);
    const map::Key k = shared.key(key, size);
    arena::BlockRef put;
    return map_does(h, token, [&](auto& who, Wait& wait) { return shared.attempt_put(who, k, form, value, condition, put, wait); });
}
inline int map_remove(const Handle& h, Token token, const char* key, std::uint32_t size) noexcept {
    SharedMap shared = map_of(h);
    const map::Key k = shared.key(key, size);
    return map_does(h, token, [&](auto& who, Wait& wait) { return shared.attempt_remove(who, k, MapCondition{}, wait); });
}
// Only what begins with another tag than `not_this`, and is in the entry.
inline int map_pop(const Handle& h, Token token, const char* key, std::uint32_t size, char not_this, char* out, MapFound* found) noexcept {
    SharedMap shared = map_of(h);
    const map::Key k = shared.key(key, size);
    return map_does(h, token, [&](auto& who, Wait& wait) {
        return shared.attempt_pop(who, k, out, *found, [=](const char* value) { return *value != not_this; }, wait);
    });
}
inline int map_remove_entry(const Handle& h, Token token, arena::BlockRef entry) noexcept {
    return map_does(h, token, [&](auto& who, Wait& wait) { return map_of(h).attempt_remove_entry(who, entry, wait); });
}
inline int map_clear(const Handle& h, Token token) noexcept {
    const int result = map_does(h, token, [&](auto& who, Wait& wait) { return map_of(h).attempt_clear(who, wait); });
    while (result == static_cast<int>(Result::done) &&
           briefly(h.mapping, token, [&](auto& who, Wait& wait) { return map_of(h).attempt_free_waste(who, wait); }) == Result::done) {
    }
    return result;
}

// Numbers as the codec writes them: a tag, then eight bytes.
struct MapNumber {
    char tag;
    std::int64_t integer;
    double real;
};
inline constexpr std::uint32_t kNumberBytes = 9;
// Adds to the number that the key has (0, if it has none) one of the same tags. gone: it has something else, or the sum is none.
inline int map_add(const Handle& h, Token token, const char* key, std::uint32_t size, const MapPart& form, const MapNumber& n,
                   char int_tag, char float_tag, char* out, MapFound* found) noexcept {
    SharedMap shared = map_of(h);
    const map::Key k = shared.key(key, size);
    const auto add = [&](const char* old, std::uint32_t bytes, char* to) -> std::uint32_t {
        std::int64_t integer = 0;
        double real = 0;
        char tag = int_tag;
        if (old != nullptr) {
            if (bytes != kNumberBytes || (*old != int_tag && *old != float_tag)) return 0;
            tag = *old;
            if (tag == int_tag) std::memcpy(&integer, old + 1, 8);
            else std::memcpy(&real, old + 1, 8);
        }
        if (tag == int_tag && n.tag == int_tag) {
            if (__builtin_add_overflow(integer, n.integer, &integer)) return 0;
            std::memcpy(to + 1, &integer, 8);
        } else {
            real = (tag == int_tag ? static_cast<double>(integer) : real) + (n.tag == int_tag ? static_cast<double>(n.integer) : n.real);
            tag = float_tag;
            std::memcpy(to + 1, &real, 8);
        }
        *to = tag;
        return kNumberBytes;
    };
    return map_does(h, token, [&](auto& who, Wait& wait) { return shared.attempt_change(who, k, form, out, *found, add, wait); });
}

inline int map_count(const Handle& h, Token token, std::uint64_t* count) noexcept {
    return map_does(h, token, [&](auto& who, Wait& wait) { return map_of(h).attempt_count(who, *count, wait); });
}
inline MapFigures map_figures(const Handle& h) noexcept { return map_of(h).observed(); }

// Records, one after another.
struct MapRecord {
    map::Record head;
    map::Sizes sizes;
    const char* content;
};
inline const char* read_record(const char* at, MapRecord* record) noexcept {
    std::memcpy(&record->head, at, sizeof record->head);
    record->sizes = map::Sizes::of(record->head.sizes);
    record->content = at + sizeof record->head;
    return record->content + record->sizes.content();
}
inline void drop_records(const Handle& h, MapBasket& basket, const char* from, std::uint64_t count) noexcept {
    MapRecord record;
    for (; count != 0; --count) {
        from = read_record(from, &record);
        for (const std::uint32_t slot : {record.head.form_slot, record.head.value_slot})
            if (slot != kNoSlot) drop_slot(h.mapping, slot);
    }
    std::free(basket.data);
    basket = MapBasket{};
}
// Copies all entries (or the newest) to memory that is the caller's to drop. no_room: this process has none.
inline int map_copy(const Handle& h, Token token, bool newest, MapBasket* basket) noexcept {
    int tries = 0;
    for (;;) {
        const int result = await<SharedWorld>(
            caller(h, token), [&](auto& who, Wait& wait) {
                return newest ? map_of(h).attempt_copy_newest(who, *basket, wait) : map_of(h).attempt_copy(who, *basket, wait);
            }, Result::blocked, kForever, h.mapping, place_of(h));
        if (result != static_cast<int>(Result::no_room) && result != static_cast<int>(Result::no_memory)) return result;
        const bool room = result == static_cast<int>(Result::no_room);
        const std::uint64_t needed = basket->needed + basket->needed / 8 + 64;
        const bool values = basket->values;
        drop_records(h, *basket, basket->data, room ? 0 : basket->records);
        basket->values = values;
        if (!room && (tries++ != 0 || sweep_released(h.mapping) == 0)) return result;
        basket->data = static_cast<char*>(std::malloc(needed));
        if (basket->data == nullptr) return static_cast<int>(Result::no_room);
        basket->room = needed;
    }
}

// Large parts.
inline void message_of_large(const Handle& h, const map::LargeName& name, std::uint32_t slot, MessageHold* hold) noexcept {
    *hold = MessageHold{reinterpret_cast<RingMessage*>(h.mapping->arena.heap.block_at(arena::offset_of(name.block))), slot};
}
inline map::LargeName large_name(const char* at) noexcept {
    map::LargeName name;
    std::memcpy(&name, at, sizeof name);
    return name;
}
inline MapPart large_part(Mapping* m, const MessageHold& hold, std::uint64_t bytes) noexcept {
    return MapPart{nullptr, bytes, m->arena.heap.ref_to(&hold.message->block)};
}
inline std::uint64_t object_ref(const Handle& h) noexcept {
    return arena::make_ref(h.mapping->arena.heap.offset_of_block(h.block), h.serial);
}
inline const std::uint64_t* identity_of(const Handle& h) noexcept { return h.mapping->arena.header().identity; }
// The message keeps these objects, which this process refers to, alive. False: no memory.
inline bool hold_objects(Mapping* m, Token token, const MessageHold& hold, const std::uint64_t* objects, std::uint32_t count) noexcept {
    return Result::done == briefly(m, token, [&](auto& who, Wait& wait) {
        if (m->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        const bool held = m->arena.heap.hold(&hold.message->block, objects, count);
        m->arena.leave();
        return held ? Result::done : Result::no_memory;
    });
}

// The lock.
inline LockBody<SharedWorld>* map_lock_of(const Handle& h) noexcept { return map_lock(map_state_of(h)); }
inline bool map_locked_against(const Handle& h, Token token) noexcept { return map_of(h).locked_against(token); }
// After the lock was taken: waits for who is inside and had not seen it.
inline void map_pass(const Handle& h) noexcept {
    briefly(h.mapping, lock_owner(map_lock_of(h)), [&](auto& who, Wait& wait) { return map_of(h).attempt_pass(who, wait); });
}
// Is it a task of the calling thread's that holds the lock? Who waits for it here waits for ever.
inline bool map_locked_by_task_here(const Handle& h) noexcept {
    const auto* holder = h.mapping->arena.registry.participant_of(lock_owner(map_lock_of(h)));
    return holder != nullptr && holder->task && holder->process.load(std::memory_order_relaxed) == h.mapping->process &&
           holder->tid.load(std::memory_order_relaxed) == platform::current_tid();
}

// Are objects of this type equal, and hashed, as those of `base` are?
inline bool equals_as(PyObject* object, PyObject* base) noexcept {
    auto* type = reinterpret_cast<PyTypeObject*>(base);
    return Py_TYPE(object)->tp_richcompare == type->tp_richcompare && Py_TYPE(object)->tp_hash == type->tp_hash;
}

}  // namespace treadle::core
