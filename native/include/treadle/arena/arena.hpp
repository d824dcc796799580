// arena/arena.hpp: one shared memory with its allocator, its participants and its critical section.
//
// Promise: process-safe and robust. Whoever enters the section after a death inside it first mends the books
// (Heap::rebuild), so that every method of Heap and Registry sees them sound.
//
// `System` is what an arena asks of the machine it lives on:
//     bool back(Offset, bytes)      promise the pages of a range;  void unback(Offset, bytes)  give them back
//     bool alive(pid, birth), bool boot_alive(pid, boot_bits of its birth), bool pending(process record)
#pragma once

#include <cstdint>
#include <cstdlib>

#include "heap.hpp"
#include "layout.hpp"
#include "names.hpp"
#include "registry.hpp"

namespace treadle::arena {

template <class World, class System>
class Arena {
public:
    using HeapT = Heap<World, System>;
    using RegistryT = Registry<World, System>;
    using BlockT = Block<World>;

    Arena(char* base, System& system) noexcept : heap(base, system), registry(heap, system), names(heap), system_(system) {}

    // Makes an arena of zeroed memory; `boot` as in Header. False: not even its header could be backed.
    bool format(std::uint64_t limit_bytes, const std::uint64_t (&identity)[2], std::uint64_t namespaces,
                std::int32_t creator_pid, std::uint64_t creator_birth, std::int32_t creator_fd,
                std::uint64_t boot = 0) noexcept {
        if (!system_.back(0, kUnit)) return false;
        Header<World>& h = header();
        h.version = kLayoutVersion;
        h.header_bytes = sizeof(Header<World>);
        h.identity[0] = identity[0];
        h.identity[1] = identity[1];
        h.boot = boot;
        h.namespaces = namespaces;
        h.creator_pid = creator_pid;
        h.creator_birth = creator_birth;
        h.creator_fd = creator_fd;
        h.top.store(kFirstUnit, std::memory_order_relaxed);
        set_limit(limit_bytes);
        h.magic.store(kMagic, std::memory_order_release);
        return true;
    }

    Header<World>& header() const noexcept { return heap.header(); }
    bool recognised() const noexcept { return header().magic.load(std::memory_order_acquire) == kMagic; }
    void set_limit(std::uint64_t bytes) noexcept { header().limit_units.store(bytes / kUnit, std::memory_order_relaxed); }

    // done or blocked; after done, leave().
    template <class Who>
    word::Result enter(Who& who, word::Wait& wait) noexcept {
        const word::Result entered = header().mutex.attempt_enter(who, wait);
        if (entered == word::Result::blocked) return entered;
        if (entered == word::Result::owner_died) rebuild();
        return word::Result::done;
    }
    void leave() noexcept { header().mutex.release(); }

    // Computes all derived data anew.
    void rebuild() noexcept {
        heap.rebuild([this](HeapT&) {
            registry.count_references();
            names.count_references();
        });
    }

    HeapT heap;
    RegistryT registry;
    Names<World, System> names;

private:
    System& system_;
};

}  // namespace treadle::arena
