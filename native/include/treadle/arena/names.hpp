// arena/names.hpp: objects of an arena by name, for programs that know nothing else of each other.
//
// Promise: a name means one object at a time, from the instant it is added until the object is gone; what is found is live.
// Every method but name_of() runs inside the arena's critical section, which therefore decides who creates.
//
// A chunk of slots, and as many more as there are names, are kept alive as the chunks of records are (count_references).
// An entry belongs to its object and goes with it: its slot then resolves to nothing, which is what a free slot is. An
// object that is to stay without users (keep) belongs to the first chunk. So names need no recovery of their own.
//
//   step (add)                            death after it
//   a chunk made, then linked  (publish)  the arena has room for more names
//   entry made, owned by the object       goes with the object, which only the dead refers to
//   object.name set                       as above: nobody else has found the object yet
//   slot.hash, slot.entry      (publish)  named; goes with the object as long as it is not kept
//   step (keep)
//   may_persist = 1                       the file is looked into before it is called useless
//   object's owner = chunk     (publish)  kept
//   step (release)
//   object's owner = none      (publish)  lives while it is used: the books are computed anew
//   may_persist = 0                       (only if nothing else is kept)
#pragma once

#include <cstdint>
#include <cstring>

#include "heap.hpp"
#include "layout.hpp"

namespace treadle::arena {

inline constexpr std::uint32_t kLongestName = 240;         // bytes: the user's, and a part's suffix
inline constexpr std::uint32_t kLongestDescription = 512;  // bytes

struct Text {
    const char* data;
    std::uint32_t bytes;
    bool operator==(const Text& other) const noexcept {
        return bytes == other.bytes && std::memcmp(data, other.data, bytes) == 0;
    }
};

template <class World, class System>
class Names {
public:
    using HeapT = Heap<World, System>;
    using BlockT = Block<World>;
    using EntryT = NameEntry<World>;
    using ChunkT = NameChunk<World>;
    using SlotT = NameSlot<World>;

    explicit Names(HeapT& heap) noexcept : heap_(heap) {}

    static Text name_of(const EntryT* entry) noexcept {
        return {reinterpret_cast<const char*>(entry + 1), entry->name_bytes};
    }
    static Text description_of(const EntryT* entry) noexcept {
        return {reinterpret_cast<const char*>(entry + 1) + entry->name_bytes, entry->description_bytes};
    }
    BlockT* object_of(const EntryT* entry) const noexcept { return heap_.resolve(entry->object); }

    // The entry that names a live object, or null. Needs no section: neither changes while the object lives.
    const EntryT* entry_of(const BlockT* object) const noexcept {
        if (object->name == 0) return nullptr;
        const BlockT* block = heap_.block_if_valid(Offset{object->name} << kGrainShift);
        return block == nullptr ? nullptr : reinterpret_cast<const EntryT*>(block);
    }

    // The entry of that name, or null.
    EntryT* find(Text name) const noexcept {
        const std::uint32_t hash = hash_of(name);
        for (ChunkT* c = first(); c != nullptr; c = next(c))
            for (SlotT& slot : c->slots)
                if (slot.hash == hash)
                    if (EntryT* entry = entry_in(slot); entry != nullptr && name_of(entry) == name) return entry;
        return nullptr;
    }

    // The first entry in slot `cursor` or beyond, or null; moves the cursor behind it.
    EntryT* find_next(std::uint32_t& cursor) const noexcept {
        std::uint32_t begin = 0;  // of the chunk
        for (ChunkT* c = first(); c != nullptr; c = next(c), begin += kNamesPerChunk)
            while (cursor < begin + kNamesPerChunk)
                if (EntryT* entry = entry_in(c->slots[cursor++ - begin])) return entry;
        return nullptr;
    }

    // Names an object, to which the caller refers and which has no name. Nothing has that name yet. False: no memory.
    bool add(BlockT* object, Text name, Text description) noexcept {
        SlotT* slot = free_slot();
        if (slot == nullptr) return false;
        BlockT* block = heap_.allocate(sizeof(EntryT) + name.bytes + description.bytes, Kind::name, object);
        if (block == nullptr) return false;
        EntryT* entry = reinterpret_cast<EntryT*>(block);
        entry->object = heap_.ref_to(object);
        entry->name_bytes = static_cast<std::uint16_t>(name.bytes);
        entry->description_bytes = static_cast<std::uint16_t>(description.bytes);
        char* text = reinterpret_cast<char*>(entry + 1);
        std::memcpy(text, name.data, name.bytes);
        std::memcpy(text + name.bytes, description.data, description.bytes);
        object->name = static_cast<std::uint32_t>(heap_.offset_of_block(block) >> kGrainShift);
        slot->hash = hash_of(name);
        slot->entry.store(heap_.ref_to(block), std::memory_order_release);  // publish
        return true;
    }

    // Does the object stay when nobody uses it?
    bool keeps(const BlockT* object) const noexcept {
        const ChunkT* c = first();
        return c != nullptr && object->owner.load(std::memory_order_relaxed) == heap_.ref_to(&c->block);
    }
    // From now on it does. It has a name.
    void keep(BlockT* object) noexcept {
        if (keeps(object)) return;
        heap_.header().may_persist.store(1, std::memory_order_release);
        heap_.set_owner(object, &first()->block);  // publish
    }
    // From now on it does not, and is gone at once if nobody uses it.
    void release(BlockT* object) noexcept {
        if (!keeps(object)) return;
        heap_.set_owner(object, nullptr);  // publish
        if (object->refs.load(std::memory_order_relaxed) == 0) heap_.free(object);
        forget_persistence();
    }
    // A death may have left may_persist set with nothing kept.
    void forget_persistence() noexcept {
        const ChunkT* c = first();
        if (c == nullptr || c->block.first_child == 0) heap_.header().may_persist.store(0, std::memory_order_release);
    }

    // For rebuild(): the chunks are referred to by the header and by each other.
    void count_references() noexcept {
        for (ChunkT* c = first(); c != nullptr; c = next(c)) c->block.refs.store(1, std::memory_order_relaxed);
    }

private:
    static std::uint32_t hash_of(Text name) noexcept {
        std::uint32_t hash = 2166136261u;  // FNV-1a
        for (std::uint32_t i = 0; i < name.bytes; ++i) hash = (hash ^ static_cast<unsigned char>(name.data[i])) * 16777619u;
        return hash;
    }

    ChunkT* chunk(Offset at) const noexcept { return at == 0 ? nullptr : reinterpret_cast<ChunkT*>(heap_.block_at(at)); }
    ChunkT* first() const noexcept { return chunk(heap_.header().names.load(std::memory_order_acquire)); }
    ChunkT* next(const ChunkT* c) const noexcept { return chunk(c->next.load(std::memory_order_acquire)); }

    EntryT* entry_in(const SlotT& slot) const noexcept {
        BlockT* block = heap_.resolve(slot.entry.load(std::memory_order_relaxed));
        return block == nullptr ? nullptr : reinterpret_cast<EntryT*>(block);
    }

    // Slots are emptied only when none is left, all at once, so that adding a name costs no look at all the others.
    SlotT* free_slot() noexcept {
        if (SlotT* slot = empty_slot()) return slot;
        for (ChunkT* c = first(); c != nullptr; c = next(c))
            for (SlotT& slot : c->slots)
                if (entry_in(slot) == nullptr) slot.entry.store(0, std::memory_order_relaxed);
        if (SlotT* slot = empty_slot()) return slot;
        return add_chunk();
    }
    SlotT* empty_slot() const noexcept {
        for (ChunkT* c = first(); c != nullptr; c = next(c))
            for (SlotT& slot : c->slots)
                if (slot.entry.load(std::memory_order_relaxed) == 0) return &slot;
        return nullptr;
    }
    SlotT* add_chunk() noexcept {
        BlockT* block = heap_.allocate(sizeof(ChunkT), Kind::names);
        if (block == nullptr) return nullptr;
        block->refs.store(1, std::memory_order_relaxed);
        ChunkT* fresh = reinterpret_cast<ChunkT*>(block);
        fresh->next.store(0, std::memory_order_relaxed);
        for (SlotT& slot : fresh->slots) slot.entry.store(0, std::memory_order_relaxed);
        auto* link = &heap_.header().names;
        while (ChunkT* c = chunk(link->load(std::memory_order_relaxed))) link = &c->next;
        link->store(heap_.offset_of_block(block), std::memory_order_release);  // publish
        return &fresh->slots[0];
    }

    HeapT& heap_;
};

}  // namespace treadle::arena
