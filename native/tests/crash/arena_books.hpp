// crash/arena_books.hpp: audits an arena that nobody is in: every derived figure is computed here a second time, from
// the layout alone, and compared with what the arena believes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "crash/crash_case.hpp"
#include "treadle/arena/arena.hpp"

namespace arena_crash {

using namespace treadle::arena;

template <class World, class System>
class Books {
public:
    explicit Books(Arena<World, System>& arena) : arena_(arena), h_(arena.header()), base_(reinterpret_cast<char*>(&h_)) {}

    // "" or what is wrong.
    std::string check() {
        for (const auto part : {&Books::runs, &Books::lists, &Books::totals, &Books::serials, &Books::children,
                                &Books::references, &Books::participants, &Books::reactors})
            if (const std::string wrong = (this->*part)(); !wrong.empty()) return wrong;
        return "";
    }

    // Units cut into slots of which none is in use: kept by free(), given up by rebuild(). After check().
    std::uint64_t idle_units() const noexcept { return idle_units_; }
    std::uint64_t live_blocks() const noexcept { return live_.size(); }

private:
    using RunT = Run<World>;
    using BlockT = Block<World>;
    static unsigned long long number(std::uint64_t n) noexcept { return n; }

    struct Seen {
        std::uint32_t unit, length;
        RunState state;
        unsigned slot_class;
    };

    RunT& run(std::uint32_t unit) const noexcept { return reinterpret_cast<RunT*>(base_ + kRunsAt)[unit]; }
    BlockT* block_at(Offset at) const noexcept { return reinterpret_cast<BlockT*>(base_ + at); }
    BlockT* block_of_grain(std::uint32_t grain) const noexcept { return block_at(Offset{grain} << kGrainShift); }
    Offset offset(const BlockT* block) const noexcept {
        return static_cast<Offset>(reinterpret_cast<const char*>(block) - base_);
    }

    // Runs tile the units below the top, none lies beside a free one that it could be part of; slots are in use or free.
    std::string runs() {
        const std::uint32_t top = h_.top.load();
        for (std::uint32_t unit = kFirstUnit; unit < top;) {
            const std::uint64_t head = run(unit).head.load();
            const Seen seen{unit, static_cast<std::uint32_t>(head >> 32), static_cast<RunState>(head & 0xff),
                            static_cast<unsigned>((head >> 8) & 0xff)};
            CRASH_REQUIRE(seen.state > RunState::none && seen.state <= RunState::small, "unit %u: state %d", unit,
                          static_cast<int>(seen.state));
            CRASH_REQUIRE(seen.length != 0 && seen.length <= top - unit, "unit %u: length %u", unit, seen.length);
            CRASH_REQUIRE(run(unit + seen.length - 1).first == unit, "unit %u, length %u: the last says %u", unit,
                          seen.length, run(unit + seen.length - 1).first);
            const bool unused = seen.state == RunState::free || seen.state == RunState::hole;
            CRASH_REQUIRE(!unused || runs_.empty() || runs_.back().state != seen.state, "units %u and %u are not merged",
                          runs_.back().unit, unit);
            if (seen.state == RunState::large && block_at(Offset{unit} * kUnit)->serial.load() != 0)
                live_.push_back(block_at(Offset{unit} * kUnit));
            else
                CRASH_REQUIRE(seen.state != RunState::large, "unit %u: no block in a large run", unit);
            if (seen.state == RunState::small)
                if (const std::string wrong = slots(seen); !wrong.empty()) return wrong;
            runs_.push_back(seen);
            unit += seen.length;
        }
        return "";
    }

    std::string slots(const Seen& seen) {
        CRASH_REQUIRE(seen.length == 1 && seen.slot_class < kClasses);
        const RunT& entry = run(seen.unit);
        const std::uint32_t size = kSlotBytes[seen.slot_class];
        const std::uint32_t all = slots_in_unit(seen.slot_class);
        const std::uint32_t carved = entry.carved.load();
        CRASH_REQUIRE(carved <= all);
        std::uint32_t used = 0;
        for (std::uint32_t slot = 0; slot < carved; ++slot) {
            BlockT* block = block_at(Offset{seen.unit} * kUnit + Offset{slot} * size);
            if (block->serial.load() == 0) continue;
            live_.push_back(block);
            ++used;
        }
        CRASH_REQUIRE(entry.used == used, "unit %u: %u in use, and it says %u", seen.unit, used, entry.used);
        std::set<std::uint32_t> free;
        for (std::uint32_t next = entry.free_slot; next != 0;) {
            CRASH_REQUIRE(next <= carved && free.insert(next).second, "unit %u: free slot %u", seen.unit, next);
            BlockT* block = block_at(Offset{seen.unit} * kUnit + Offset{next - 1} * size);
            CRASH_REQUIRE(block->serial.load() == 0, "unit %u: slot %u is free and in use", seen.unit, next - 1);
            next = block->next_free;
        }
        CRASH_REQUIRE(free.size() == carved - used, "unit %u: %zu free slots of %u", seen.unit, free.size(),
                      carved - used);
        CRASH_REQUIRE((entry.listed != 0) == (used < all), "unit %u: listed %u", seen.unit, entry.listed);
        if (used == 0) ++idle_units_;
        return "";
    }

    // Each unused run is in its bin, each unit with a free slot in its class's list, and nothing else is.
    std::string lists() {
        std::map<std::uint32_t, Seen> due;
        for (const Seen& seen : runs_)
            if (seen.state != RunState::large && (seen.state != RunState::small || run(seen.unit).listed != 0))
                due.emplace(seen.unit, seen);
        const auto walk = [&](std::uint32_t first, auto belongs) -> std::string {
            for (std::uint32_t unit = first, before = 0; unit != 0; before = unit, unit = run(unit).next) {
                const auto found = due.find(unit);
                CRASH_REQUIRE(found != due.end() && belongs(found->second), "unit %u is in a wrong list", unit);
                CRASH_REQUIRE(run(unit).prev == before, "unit %u: prev %u, not %u", unit, run(unit).prev, before);
                due.erase(found);
            }
            return "";
        };
        for (unsigned bin = 0; bin < kBins; ++bin)
            for (const RunState state : {RunState::free, RunState::hole}) {
                const std::string wrong =
                    walk(state == RunState::free ? h_.free_bins[bin] : h_.hole_bins[bin], [&](const Seen& seen) {
                        return seen.state == state && seen.length >> bin == 1;
                    });
                if (!wrong.empty()) return wrong;
            }
        for (unsigned c = 0; c < kClasses; ++c) {
            const std::string wrong = walk(h_.class_lists[c], [&](const Seen& seen) {
                return seen.state == RunState::small && seen.slot_class == c;
            });
            if (!wrong.empty()) return wrong;
        }
        CRASH_REQUIRE(due.empty(), "unit %u is in no list", due.begin()->first);
        return "";
    }

    std::string totals() {
        std::uint64_t backed = 0, used = 0;
        for (const Seen& seen : runs_) {
            if (seen.state != RunState::hole) backed += seen.length;
            if (seen.state == RunState::large || seen.state == RunState::small) used += seen.length;
        }
        CRASH_REQUIRE(h_.backed_units.load() == backed, "%llu, not %llu", number(h_.backed_units.load()), number(backed));
        CRASH_REQUIRE(h_.used_units.load() == used, "%llu, not %llu", number(h_.used_units.load()), number(used));
        CRASH_REQUIRE(h_.blocks.load() == live_.size(), "%llu, not %zu", number(h_.blocks.load()), live_.size());
        const std::uint64_t most = h_.limit_units.load() + Heap<World, System>::kReserveUnits;
        CRASH_REQUIRE(backed <= most);
        return "";
    }

    std::string serials() {
        std::set<std::uint64_t> serials;
        for (const BlockT* block : live_) {
            const std::uint64_t serial = block->serial.load();
            CRASH_REQUIRE(serial <= h_.next_serial.load() && serials.insert(serial).second, "serial %llu", number(serial));
        }
        return "";
    }

    // What belongs to a block is in its list, once, and the owner lives.
    std::string children() {
        std::size_t owned = 0, listed = 0;
        for (BlockT* block : live_) {
            if (block->owner.load() != 0) {
                CRASH_REQUIRE(arena_.heap.resolve(block->owner.load()) != nullptr, "the owner of %llx is gone",
                              number(offset(block)));
                ++owned;
            }
            const BlockRef self = arena_.heap.ref_to(block);
            for (std::uint32_t child = block->first_child, before = 0; child != 0;) {
                BlockT* c = block_of_grain(child);
                CRASH_REQUIRE(++listed <= live_.size(), "a list of children has no end");
                CRASH_REQUIRE(c->serial.load() != 0 && c->owner.load() == self && c->prev_child == before,
                              "child %llx of %llx", number(offset(c)), number(offset(block)));
                before = child;
                child = c->next_child;
            }
        }
        CRASH_REQUIRE(owned == listed, "%zu blocks have an owner, %zu are listed", owned, listed);
        return "";
    }

    // Counts are what the tables say; and what nobody refers to or owns is not there.
    std::string references() {
        std::map<const BlockT*, std::uint32_t> counts;
        for (std::uint32_t i = 0; i < kDirectory; ++i)
            for (const std::uint32_t unit : {h_.process_chunks[i].load(), h_.participant_chunks[i].load()})
                if (unit != 0) ++counts[block_at(Offset{unit} * kUnit)];
        for (Offset at = h_.names.load(); at != 0; at = reinterpret_cast<const NameChunk<World>*>(base_ + at)->next.load())
            ++counts[block_at(at)];
        for (std::uint32_t i = 0; i < h_.process_limit.load(); ++i) {
            const auto& process = arena_.registry.process_at(i);
            if (process.state.load() == static_cast<std::uint32_t>(ProcessState::free)) continue;
            for (Offset at = process.references.load(); at != 0;) {
                const auto* chunk = reinterpret_cast<ReferenceChunk<World>*>(base_ + at);
                ++counts[&chunk->block];
                for (const auto& entry : chunk->entries)
                    if (entry.load() != 0) ++counts[block_of_grain(entry.load())];
                at = chunk->next.load();
            }
        }
        for (BlockT* block : live_) {
            if (static_cast<Kind>(block->kind) != Kind::holds) continue;
            const auto* holds = reinterpret_cast<const Holds<World>*>(block);
            for (std::uint64_t i = 0; i < holds->count(); ++i)
                if (BlockT* held = arena_.heap.resolve(holds->objects[i])) ++counts[held];
        }
        for (const BlockT* block : live_) {
            const auto found = counts.find(block);
            const std::uint32_t due = found == counts.end() ? 0 : found->second;
            CRASH_REQUIRE(block->refs.load() == due, "block %llx (kind %u): %u references, not %u", number(offset(block)),
                          block->kind, block->refs.load(), due);
            CRASH_REQUIRE(due != 0 || block->owner.load() != 0, "block %llx (kind %u) is leaked", number(offset(block)),
                          block->kind);
            if (found != counts.end()) counts.erase(found);
        }
        CRASH_REQUIRE(counts.empty(), "block %llx is referred to and not there", number(offset(counts.begin()->first)));
        return "";
    }

    // A participant is free or of a process that has a record: else the next to get that record would pass for its owner.
    std::string participants() {
        for (std::uint32_t i = 1; i < h_.participant_limit.load(); ++i) {
            const std::uint32_t process = arena_.registry.participant_at(i).process.load();
            if (process == kNoRecord) continue;
            CRASH_REQUIRE(process < h_.process_limit.load() && arena_.registry.process_at(process).state.load() !=
                                                                   static_cast<std::uint32_t>(ProcessState::free),
                          "participant %u is left to process %u", i, process);
        }
        return "";
    }

    // A reactor is free, and subscribed to nothing, or of a process that has a record.
    std::string reactors() {
        for (std::uint32_t i = 0; i < kReactors; ++i) {
            const std::uint32_t process = h_.reactors[i].process.load();
            if (process != 0) {
                CRASH_REQUIRE(i < h_.reactor_limit.load(), "reactor %u is beyond the limit", i);
                CRASH_REQUIRE(process - 1 < h_.process_limit.load() && arena_.registry.process_at(process - 1).state.load() !=
                                                                           static_cast<std::uint32_t>(ProcessState::free),
                              "reactor %u is left to process %u", i, process - 1);
                continue;
            }
            for (std::uint32_t bucket = 0; bucket < kWakeBuckets; ++bucket)
                CRASH_REQUIRE((h_.subscribed[bucket][i / 64].load() >> (i % 64) & 1) == 0, "reactor %u is free and subscribed to %u", i, bucket);
        }
        return "";
    }

    Arena<World, System>& arena_;
    Header<World>& h_;
    char* base_;
    std::vector<Seen> runs_;
    std::vector<BlockT*> live_;
    std::uint64_t idle_units_ = 0;
};

}  // namespace arena_crash
