// map/map.hpp: maps that processes share: from keys to values, both of them bytes, in the order in which the keys came.
//
// Promise: linearizable; robust: a change happens entirely or not at all, and a death at any instruction costs nobody else
// more than the look that finds it and one walk over the map (entries.hpp, recover). Readers do not keep each other, nor
// writers, waiting (section.hpp). No step takes longer in a large map than in a small one, but for recover(), a snapshot, and
// memory that the arena has to get for an entry.
//
// Two bytes of difference in a key make another key: what is equal is decided by who encodes them. Large parts lie in blocks
// of their own, which who reads one refers to; so they are copied outside of all sections.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "entries.hpp"
#include "layout.hpp"
#include "section.hpp"

namespace treadle::map {

inline constexpr std::uint32_t kNoSlot = ~std::uint32_t{0};

// 32 bits of a hash of bytes, for whoever knows the seed hard to foresee: products folded.
inline std::uint32_t hash_bytes(const char* bytes, std::uint64_t size, std::uint64_t seed) noexcept {
    constexpr std::uint64_t kOdd = 0x9e37'79b9'7f4a'7c15, kOther = 0xd6e8'feb8'6659'fd93;
    const auto fold = [](std::uint64_t a, std::uint64_t b) {
        const auto product = static_cast<unsigned __int128>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    };
    std::uint64_t hash = seed ^ (size * kOdd);
    for (; size >= 8; size -= 8, bytes += 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes, 8);
        hash = fold(hash ^ word, kOther) + kOdd;
    }
    std::uint64_t rest = 0;
    std::memcpy(&rest, bytes, size);
    return static_cast<std::uint32_t>(fold(fold(hash ^ rest, kOther) ^ seed, kOdd) >> 16);
}

// What was found under a key. The value's bytes are copied to the reader's room (kLargestPart), or lie in a block that this
// process refers to by the slot from now on.
struct Found {
    BlockRef entry = 0;  // which value it was
    std::uint32_t bytes = 0;
    std::uint32_t slot = kNoSlot;
    LargeName large{};
};

// When a put or removal is to happen.
struct Condition {
    enum Kind { always, absent, same } kind = always;
    BlockRef entry = 0;  // same: that is still what the key has
};

// Copies of entries, end to end: a Record each, the key, its form and the value behind it, padded.
struct Record {
    std::uint64_t sizes;
    BlockRef entry;
    std::uint32_t form_slot, value_slot;  // of large parts: this process's references
};
struct Basket {
    char* data = nullptr;
    std::uint64_t room = 0;
    std::uint64_t size = 0;
    std::uint64_t records = 0;
    std::uint64_t needed = 0;  // no_room: so much
    bool values = true;        // or keys alone
};

struct Figures {
    std::uint64_t count, buckets, bytes, memory, large;
    std::uint32_t mended;
};

// `Member` is this process in the arena: arena, handles, process (arena/mapping.hpp).
template <class World, class Member>
class Map {
public:
    using State = MapState<World>;
    using EntryT = Entry<World>;

    Map(State* state, Member& member) noexcept : q(state), m(member) {}

    // Makes a map, inside the arena's section. Null: the limit.
    static State* make(Member& member) noexcept {
        auto& heap = member.arena.heap;
        auto* state = reinterpret_cast<State*>(heap.allocate(sizeof(State), arena::Kind::map));
        if (state == nullptr) return nullptr;
        std::memset(static_cast<void*>(&state->block + 1), 0, sizeof(State) - sizeof state->block);
        state->seed = heap.header().identity[0] ^ state->block.serial.load(std::memory_order_relaxed);
        if (Buckets<World, Member>(state, member).make_first()) return state;
        heap.free(&state->block);
        return nullptr;
    }

    Key key(const char* bytes, std::uint32_t size) const noexcept { return {bytes, size, hash_bytes(bytes, size, q->seed)}; }

    // The value of the key. `out`: room for kLargestPart, or null if it is not asked for. done, blocked, empty (there is none),
    // or no_memory (for the reference to a large one).
    template <class Who>
    Result attempt_find(Who& who, const Key& key, char* out, Found& found, Wait& wait) noexcept {
        found = Found{};
        Result result = Result::done;
        const Entries<World, Member> all(q, m);
        if (section().look(who, [&](const auto& look) { return try_find(all, key, out, found, look, result); })) return result;
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        EntryT* entry = all.find(key);
        result = entry == nullptr ? Result::empty : read_out(who, entry, out, found, wait);
        section().leave();
        return result;
    }

    // done, blocked, gone (the condition does not hold), or no_memory: then nothing has changed. `form` counts for a new key.
    // `put`: which value it is.
    template <class Who>
    Result attempt_put(Who& who, const Key& key, const Part& form, const Part& value, Condition condition, BlockRef& put,
                       Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        EntryT* former = entries().find(key);
        Result result = holds(condition, former) ? m.arena.enter(who, wait) : Result::gone;
        if (result == Result::done) {
            section().begin();
            EntryT* entry = entries().put(key, form, value, former);
            if (entry == nullptr) result = Result::no_memory;
            else put = m.arena.heap.ref_to(&entry->block);
            entries().free_waste(kWasteAtOnce);
            section().end();
            m.arena.leave();
        }
        section().leave();
        return result;
    }

    // `change(old, bytes, new)` writes what the value is to be to `new` (kLargestPart), and returns its size; 0: it does not
    // want to, and `found` is what there is. Of no value it is told null. done, blocked, gone (it did not want to), or no_memory.
    template <class Who, class Change>
    Result attempt_change(Who& who, const Key& key, const Part& form, char* out, Found& found, Change&& change, Wait& wait) noexcept {
        found = Found{};
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        EntryT* former = entries().find(key);
        Part value{out, 0, 0};
        const std::uint16_t stored = former == nullptr ? 0 : sizes_of(former).value;
        if (!is_large(stored)) value.size = change(former == nullptr ? nullptr : value_of(former), std::uint32_t{stored}, out);
        Result result = value.size == 0 ? Result::gone : m.arena.enter(who, wait);
        if (result == Result::done) {
            section().begin();
            if (entries().put(key, form, value, former) == nullptr) result = Result::no_memory;
            section().end();
            m.arena.leave();
        }
        section().leave();
        found.bytes = static_cast<std::uint32_t>(value.size);
        return result;
    }

    // Removes the key, if the condition holds. done, blocked, empty (it was not there), or gone (it was another value).
    template <class Who>
    Result attempt_remove(Who& who, const Key& key, Condition condition, Wait& wait) noexcept {
        return attempt_take(who, key, condition, nullptr, [](const char*) { return true; }, wait);
    }
    // The same, and copies its value to `out` first: no_room, and nothing is removed, if the value is large or `simple` says no.
    template <class Who, class Simple>
    Result attempt_pop(Who& who, const Key& key, char* out, Found& found, Simple&& simple, Wait& wait) noexcept {
        found = Found{};
        return attempt_take(who, key, Condition{}, &found, [&](const char* value) {
            if (value == nullptr || !simple(value)) return false;
            std::memcpy(out, value, found.bytes);
            return true;
        }, wait);
    }

    // The entry that was found, wherever it stands now. done, blocked, or gone.
    template <class Who>
    Result attempt_remove_entry(Who& who, BlockRef ref, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        Result result = m.arena.enter(who, wait);
        if (result == Result::done) {
            EntryT* entry = entries().resolve(ref);
            if (entry == nullptr) result = Result::gone;
            else remove(entry);
            m.arena.leave();
        }
        section().leave();
        return result;
    }

    // Empties the map: at once for everybody. The memory comes back by attempt_free_waste, and with each step besides.
    template <class Who>
    Result attempt_clear(Who& who, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        const Result result = m.arena.enter(who, wait);
        if (result == Result::done) {
            section().begin();
            entries().clear();
            section().end();
            m.arena.leave();
        }
        section().leave();
        return result;
    }
    // done: there is more; blocked; or empty.
    template <class Who>
    Result attempt_free_waste(Who& who, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        Result result = q->waste == 0 ? Result::empty : m.arena.enter(who, wait);
        if (result == Result::done) {
            section().begin();
            if (!entries().free_waste(kWasteAtATime)) result = Result::empty;
            section().end();
            m.arena.leave();
        }
        section().leave();
        return result;
    }

    // Copies all entries, in order. done, blocked, no_room (see Basket), or no_memory for the references: then the slots of the
    // records that were copied are the caller's to drop.
    template <class Who>
    Result attempt_copy(Who& who, Basket& basket, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        basket.size = basket.records = 0;
        basket.needed = q->bytes;  // a record is less than an entry
        Result result = basket.needed > basket.room ? Result::no_room : Result::done;
        const bool refers = q->large != 0 && result == Result::done;
        if (refers) result = m.arena.enter(who, wait);
        if (result == Result::done) {
            for (std::uint32_t grain = q->oldest; grain != 0 && result == Result::done;) {
                EntryT* entry = entries().entry_at(grain);
                if (!copy_entry(entry, basket)) result = Result::no_memory;
                grain = entry->newer;
            }
            if (refers) m.arena.leave();
        }
        section().leave();
        return result;
    }
    // The newest alone. As attempt_copy, and empty.
    template <class Who>
    Result attempt_copy_newest(Who& who, Basket& basket, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        basket.size = basket.records = 0;
        EntryT* entry = q->newest == 0 ? nullptr : entries().entry_at(q->newest);
        basket.needed = entry == nullptr ? 0 : entry->block.bytes;
        Result result = entry == nullptr ? Result::empty : basket.needed > basket.room ? Result::no_room : Result::done;
        const bool refers = q->large != 0 && result == Result::done;
        if (refers) result = m.arena.enter(who, wait);
        if (result == Result::done) {
            if (!copy_entry(entry, basket)) result = Result::no_memory;
            if (refers) m.arena.leave();
        }
        section().leave();
        return result;
    }

    // How many entries there are. done or blocked.
    template <class Who>
    Result attempt_count(Who& who, std::uint64_t& count, Wait& wait) noexcept {
        if (section().look(who, [&](const auto&) {
                count = q->count.load(std::memory_order_relaxed);
                return true;
            }))
            return Result::done;
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        count = q->count.load(std::memory_order_relaxed);
        section().leave();
        return Result::done;
    }

    // Passes through the section: who has just taken the lock knows then that nobody is inside any more who had not seen it.
    template <class Who>
    Result attempt_pass(Who& who, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        section().leave();
        return Result::done;
    }
    template <class Who>
    Result attempt_figures(Who& who, Figures& figures, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        figures = Figures{q->count.load(std::memory_order_relaxed), q->buckets.load(std::memory_order_relaxed), q->bytes + q->large_bytes,
                          entries().memory(), q->large, q->mended};
        section().leave();
        return Result::done;
    }
    // The same, whoever holds the lock: an observer does not wait for it. If the map changes all the time they may be of no one
    // instant.
    Figures observed() const noexcept {
        Figures figures{};
        for (int i = 0; i < kObservations; ++i) {
            const Look<World> look(q->words);
            std::uint64_t sums[3];  // bytes, large_bytes, large
            copy_racy(reinterpret_cast<char*>(sums), reinterpret_cast<const char*>(&q->bytes), sizeof sums);
            std::uint32_t sizes[3];  // segments, directory_room, mended
            copy_racy(reinterpret_cast<char*>(sizes), reinterpret_cast<const char*>(&q->segments), sizeof sizes);
            figures.count = q->count.load(std::memory_order_relaxed);
            figures.buckets = q->buckets.load(std::memory_order_relaxed);
            figures.bytes = sums[0] + sums[1];
            figures.memory = q->block.bytes + figures.bytes + Buckets<World, Member>::bytes_of(sizes[0], sizes[1]);
            figures.large = sums[2];
            figures.mended = sizes[2];
            if (look.at_rest() && look.holds()) break;
            World::pause();
        }
        return figures;
    }

    bool locked_against(word::Token me) const noexcept { return Section<World, Member>(q->words, m).locked_against(me); }

private:
    static constexpr std::uint32_t kWasteAtOnce = 4, kWasteAtATime = 256;
    static constexpr int kObservations = 6;

    Section<World, Member> section() noexcept { return Section<World, Member>(q->words, m); }
    Entries<World, Member> entries() noexcept { return Entries<World, Member>(q, m); }
    static Sizes sizes_of(const EntryT* entry) noexcept { return Sizes::of(entry->sizes.load(std::memory_order_relaxed)); }
    static const char* value_of(const EntryT* entry) noexcept { return entry->content() + sizes_of(entry).value_at(); }

    template <class Who>
    Result enter(Who& who, Wait& wait) noexcept {
        return section().enter(who, wait, [this](Who& w, Wait& waits) {
            if (m.arena.enter(w, waits) == Result::blocked) return Result::blocked;
            entries().recover();
            m.arena.leave();
            return Result::done;
        });
    }

    bool holds(Condition condition, const EntryT* former) const noexcept {
        switch (condition.kind) {
            case Condition::always: return true;
            case Condition::absent: return former == nullptr;
            case Condition::same: return former != nullptr && m.arena.heap.ref_to(&former->block) == condition.entry;
        }
        return false;
    }

    // One look; `result` says what it found. False: the look does not hold, or the section is needed.
    template <class Looking>
    bool try_find(const Entries<World, Member>& all, const Key& key, char* out, Found& found, const Looking& look,
                  Result& result) noexcept {
        const EntryT* entry = all.find(key, look);
        result = entry == nullptr ? Result::empty : Result::done;
        if (entry == nullptr) return true;
        const Sizes sizes = sizes_of(entry);
        found.entry = m.arena.heap.ref_to(&entry->block);
        if (out == nullptr) return true;
        if (!look.holds() || is_large(sizes.value)) return false;
        if constexpr (requires { World::yield_point("copy"); }) World::yield_point("copy");
        found.bytes = sizes.value;
        copy_racy(out, entry->content() + sizes.value_at(), sizes.value);
        return true;
    }
    template <class Who>
    Result read_out(Who& who, const EntryT* entry, char* out, Found& found, Wait& wait) noexcept {
        const Sizes sizes = sizes_of(entry);
        found.entry = m.arena.heap.ref_to(&entry->block);
        if (out == nullptr) return Result::done;
        if (!is_large(sizes.value)) {
            found.bytes = sizes.value;
            std::memcpy(out, value_of(entry), sizes.value);
            return Result::done;
        }
        if (m.arena.enter(who, wait) == Result::blocked) return Result::blocked;
        std::memcpy(&found.large, value_of(entry), sizeof found.large);
        found.slot = refer(found.large);
        m.arena.leave();
        return found.slot == kNoSlot ? Result::no_memory : Result::done;
    }
    std::uint32_t refer(const LargeName& name) noexcept {
        return m.handles.add(m.arena, m.process, m.arena.heap.resolve(name.block));
    }

    // `wanted(value)` is told the value, null if it is large, and says whether it is to be removed.
    template <class Who, class Wanted>
    Result attempt_take(Who& who, const Key& key, Condition condition, Found* found, Wanted&& wanted, Wait& wait) noexcept {
        if (enter(who, wait) == Result::blocked) return Result::blocked;
        EntryT* entry = entries().find(key);
        Result result = entry == nullptr ? Result::empty : holds(condition, entry) ? m.arena.enter(who, wait) : Result::gone;
        if (result == Result::done) {
            const std::uint16_t stored = sizes_of(entry).value;
            if (found != nullptr) found->bytes = is_large(stored) ? 0 : stored;
            if (wanted(is_large(stored) ? nullptr : value_of(entry))) remove(entry);
            else result = Result::no_room;
            m.arena.leave();
        }
        section().leave();
        return result;
    }
    void remove(EntryT* entry) noexcept {
        section().begin();
        entries().remove(entry);
        entries().free_waste(kWasteAtOnce);
        section().end();
    }

    // False: no memory for a reference; the record counts, with the slots that there are.
    bool copy_entry(const EntryT* entry, Basket& basket) noexcept {
        const Sizes sizes = sizes_of(entry);
        Sizes copied = sizes;
        if (!basket.values) copied.value = 0;
        Record record{copied.packed(), m.arena.heap.ref_to(&entry->block), kNoSlot, kNoSlot};
        bool referred = true;
        const auto refer_to = [&](std::uint32_t part, std::uint64_t at, std::uint32_t& slot) {
            if (!is_large(part) || !referred) return;
            LargeName name;
            std::memcpy(&name, entry->content() + at, sizeof name);
            slot = refer(name);
            referred = slot != kNoSlot;
        };
        refer_to(copied.form, sizes.form_at(), record.form_slot);
        refer_to(copied.value, sizes.value_at(), record.value_slot);
        char* at = basket.data + basket.size;
        std::memcpy(at, &record, sizeof record);
        std::memcpy(at + sizeof record, entry->content(), copied.content());
        basket.size += sizeof record + copied.content();
        ++basket.records;
        return referred;
    }

    State* q;
    Member& m;
};

}  // namespace treadle::map
