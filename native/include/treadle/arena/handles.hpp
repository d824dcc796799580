// arena/handles.hpp: the references that this process holds, each at a slot of its table in the arena.
//
// Process-private memory beside the shared table: which slots are free, and where the table's chunks lie. Used inside the
// arena's critical section only, and copied by fork together with the table (Registry::copy_references keeps the slots).
#pragma once

#include <cstdint>
#include <cstdlib>

#include "arena.hpp"

namespace treadle::arena {

template <class World, class System>
class Handles {
public:
    using ArenaT = Arena<World, System>;
    using Entry = typename ArenaT::RegistryT::Entry;
    static constexpr std::uint32_t kNoSlot = ~std::uint32_t{0};

    Handles() = default;
    Handles(const Handles&) = delete;
    Handles& operator=(const Handles&) = delete;
    ~Handles() {
        std::free(chunks_);
        std::free(free_);
    }

    // Refers to the block; kNoSlot: no memory.
    std::uint32_t add(ArenaT& arena, std::uint32_t process, Block<World>* block) noexcept {
        const std::uint32_t slot = free_count_ != 0 ? free_[free_count_ - 1] : slots_;
        Entry* entry = entry_of(arena, process, slot);
        // Room to take the slot back is made now, so that drop() cannot fail.
        if (entry == nullptr || !reserve(slot + 1)) return kNoSlot;
        if (free_count_ != 0) --free_count_;
        else ++slots_;
        arena.registry.add_reference(*entry, block);
        return slot;
    }

    void drop(ArenaT& arena, std::uint32_t process, std::uint32_t slot) noexcept {
        if (Entry* entry = entry_of(arena, process, slot)) arena.registry.drop_reference(*entry);
        free_[free_count_++] = slot;
    }

    // In the child of a fork: the table is a copy, elsewhere.
    void forget_chunks() noexcept { known_ = 0; }

private:
    Entry* entry_of(ArenaT& arena, std::uint32_t process, std::uint32_t slot) noexcept {
        const std::uint32_t n = slot / kReferencesPerChunk;
        while (known_ <= n) {
            if (known_ == chunk_room_) {
                const std::uint32_t room = chunk_room_ == 0 ? 8 : chunk_room_ * 2;
                auto* larger = static_cast<ReferenceChunk<World>**>(std::realloc(chunks_, room * sizeof *chunks_));
                if (larger == nullptr) return nullptr;
                chunks_ = larger;
                chunk_room_ = room;
            }
            ReferenceChunk<World>* chunk = arena.registry.table_chunk(process, known_);
            if (chunk == nullptr) return nullptr;
            chunks_[known_++] = chunk;
        }
        return &chunks_[n]->entries[slot % kReferencesPerChunk];
    }

    bool reserve(std::uint32_t slots) noexcept {
        if (slots <= free_room_) return true;
        const std::uint32_t room = free_room_ < 64 ? 64 : free_room_ * 2;
        auto* larger = static_cast<std::uint32_t*>(std::realloc(free_, room * sizeof *free_));
        if (larger == nullptr) return false;
        free_ = larger;
        free_room_ = room;
        return slots <= room;
    }

    ReferenceChunk<World>** chunks_ = nullptr;
    std::uint32_t known_ = 0, chunk_room_ = 0;
    std::uint32_t* free_ = nullptr;
    std::uint32_t free_count_ = 0, free_room_ = 0;
    std::uint32_t slots_ = 0;
};

}  // namespace treadle::arena
