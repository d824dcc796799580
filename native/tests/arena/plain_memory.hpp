// arena/plain_memory.hpp: memory of this process as the machine that an arena lives on.
//
// Pages that were not promised, or were given back, are out of bounds: to touch one is a segmentation fault. Promises can
// be refused, and processes are alive until they are declared dead.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <sys/mman.h>

#include "treadle/arena/arena.hpp"
#include "treadle/arena/handles.hpp"
#include "treadle/platform/world.hpp"

namespace plain {

using namespace treadle::arena;
using treadle::platform::SharedWorld;

class Memory {
public:
    Memory() noexcept {
        void* at = mmap(nullptr, kCapacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) std::abort();
        base_ = static_cast<char*>(at);
    }
    Memory(const Memory&) = delete;
    ~Memory() { munmap(base_, kCapacity); }

    char* base() const noexcept { return base_; }

    // What an arena asks of its system.
    bool back(Offset at, std::uint64_t bytes) noexcept {
        if (refusals != 0) {
            --refusals;
            return false;
        }
        ++promises;
        return mprotect(base_ + at, bytes, PROT_READ | PROT_WRITE) == 0;
    }
    void unback(Offset at, std::uint64_t bytes) noexcept {
        returned += bytes;
        madvise(base_ + at, bytes, MADV_DONTNEED);
        mprotect(base_ + at, bytes, PROT_NONE);
    }
    bool alive(std::int32_t pid, std::uint64_t) const noexcept { return !dead[pid % kPids].load(std::memory_order_seq_cst); }
    bool boot_alive(std::int32_t pid, std::uint64_t start) const noexcept { return alive(pid, start); }
    bool pending(std::uint32_t) const noexcept { return pending_children; }

    static constexpr int kPids = 4096;
    std::atomic<bool> dead[kPids]{};
    bool pending_children = true;
    unsigned refusals = 0, promises = 0;
    std::uint64_t returned = 0;

private:
    char* base_;
};

using PlainArena = Arena<SharedWorld, Memory>;
using PlainHandles = Handles<SharedWorld, Memory>;
using PlainBlock = Block<SharedWorld>;

inline constexpr std::uint64_t kIdentity[2] = {0x1234, 0x5678};

// The figures that an arena keeps as it goes.
struct Figures {
    std::uint64_t backed, used, blocks;
    friend bool operator==(const Figures&, const Figures&) = default;
};
template <class ArenaT>
Figures figures_of(ArenaT& arena) {
    const auto& h = arena.header();
    return {h.backed_units.load(), h.used_units.load(), h.blocks.load()};
}

// Units cut into slots of which none is in use: kept while the arena runs, given up by rebuild().
template <class ArenaT>
std::uint64_t idle_units(ArenaT& arena) {
    const auto* runs = reinterpret_cast<const Run<SharedWorld>*>(reinterpret_cast<const char*>(&arena.header()) + kRunsAt);
    std::uint64_t idle = 0;
    for (std::uint32_t unit = kFirstUnit; unit < arena.header().top.load();) {
        const std::uint64_t head = runs[unit].head.load();
        idle += static_cast<RunState>(head & 0xff) == RunState::small && runs[unit].used == 0;
        unit += static_cast<std::uint32_t>(head >> 32);
    }
    return idle;
}

}  // namespace plain
