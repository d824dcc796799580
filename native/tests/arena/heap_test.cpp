// The allocator against a shadow model: contents, owners, limits, holes, and books that a rebuild finds right.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "arena/plain_memory.hpp"
#include "check.hpp"
#include "threads.hpp"

using namespace plain;
using threads::Random;

namespace {

using HeapT = PlainArena::HeapT;

struct Place {
    Memory memory;
    PlainArena arena{memory.base(), memory};
    HeapT& heap = arena.heap;

    explicit Place(std::uint64_t limit_units) {
        REQUIRE(arena.format(limit_units * kUnit, kIdentity, 1, 1, 1, 1));
    }
    PlainBlock* allocate(std::uint64_t bytes, PlainBlock* owner = nullptr) {
        return heap.allocate(bytes, Kind::message, owner);
    }
    /// Rebuilds with the counts as they are; says whether the books were right.
    bool rebuild_agrees() {
        Figures due = figures_of(arena);
        due.used -= idle_units(arena);
        std::vector<std::pair<PlainBlock*, std::uint32_t>> counts;
        heap.for_each_block([&](PlainBlock* block) { counts.emplace_back(block, block->refs.load()); });
        heap.rebuild([&](HeapT&) {
            for (auto [block, refs] : counts) block->refs.store(refs);
        });
        const Figures found = figures_of(arena);
        CHECK_EQ(found.backed, due.backed);
        CHECK_EQ(found.used, due.used);
        CHECK_EQ(found.blocks, due.blocks);
        return found == due;
    }
};

char* payload(PlainBlock* block) { return reinterpret_cast<char*>(block + 1); }

/// What the model knows of a block that should live. It lives while it has references or an owner.
struct Shadow {
    PlainBlock* block;
    BlockRef ref;
    std::uint64_t bytes, seed;
    std::uint32_t refs;
    BlockRef owner;  // 0: none
};

class Model {
public:
    Model(std::uint64_t limit_units, std::uint64_t seed) : place_(limit_units), random_(seed) {}

    void run(unsigned steps) {
        for (unsigned step = 0; step < steps; ++step) {
            const std::uint64_t choice = random_.below(100);
            if (choice < 45) allocate();
            else if (choice < 65) drop();
            else if (choice < 80) adopt();
            else if (choice < 85) refer();
            else if (choice < 99) audit_some();
            else rebuild();
            if (live_.size() > 3000)
                for (int i = 0; i < 1500; ++i) drop();
        }
        rebuild();
        audit_all();
        while (!live_.empty()) drop();
        CHECK_EQ(place_.arena.header().blocks.load(), 0u);
        rebuild();
        CHECK_EQ(place_.arena.header().used_units.load(), 0u);
    }

private:
    std::uint64_t size() {
        switch (random_.below(16)) {
            case 0: return kBlockHeader + random_.below(4u << 20);
            case 1: return (1u << 15) - 1 + random_.below(3);  // about the largest slot
            case 2: return kUnit - 1 + random_.below(3);
            case 3: return std::uint64_t{1} << (6 + random_.below(10));
            default: return kBlockHeader + random_.below(2000);
        }
    }

    // Patterns at both ends, where neighbours would meet.
    static std::uint64_t edge(const Shadow& s) { return std::min<std::uint64_t>(s.bytes - kBlockHeader, 128); }
    static char pattern(const Shadow& s, std::uint64_t at) { return static_cast<char>((s.seed + at) * 37); }
    void fill(const Shadow& s) {
        const std::uint64_t end = s.bytes - kBlockHeader;
        for (std::uint64_t i = 0; i < edge(s); ++i) {
            payload(s.block)[i] = pattern(s, i);
            payload(s.block)[end - 1 - i] = pattern(s, end - 1 - i);
        }
    }
    bool intact(const Shadow& s) {
        const std::uint64_t end = s.bytes - kBlockHeader;
        bool same = true;
        for (std::uint64_t i = 0; i < edge(s); ++i)
            same = same && payload(s.block)[i] == pattern(s, i) && payload(s.block)[end - 1 - i] == pattern(s, end - 1 - i);
        return same;
    }

    Shadow& any() {
        auto found = live_.lower_bound(static_cast<Offset>(random_() % (top_ + 1)));
        if (found == live_.end()) found = live_.begin();
        return found->second;
    }

    void allocate() {
        const bool owned = !live_.empty() && random_.below(3) == 0;
        Shadow* owner = owned ? &any() : nullptr;
        const std::uint64_t bytes = size();
        PlainBlock* block = place_.allocate(bytes, owner == nullptr ? nullptr : owner->block);
        if (block == nullptr) {
            ++refused;
            for (int i = 0; i < 20 && !live_.empty(); ++i) drop();
            return;
        }
        const Offset at = place_.heap.offset_of_block(block);
        top_ = std::max<std::uint64_t>(top_, at);
        CHECK_EQ(at % (bytes > kLockSlot ? 64 : 16), 0u);
        CHECK_EQ(block->bytes, bytes);
        auto next = live_.lower_bound(at);
        CHECK(next == live_.end() || at + bytes <= next->first, "it reaches into the block behind it");
        CHECK(next == live_.begin() || std::prev(next)->first + std::prev(next)->second.bytes <= at,
              "it lies in the block before it");
        Shadow s{block, place_.heap.ref_to(block), bytes, random_(), owned ? static_cast<std::uint32_t>(random_.below(2)) : 1,
                 owned ? owner->ref : 0};
        block->refs.store(s.refs);
        fill(s);
        live_.emplace(at, s);
    }

    // The block goes; what it owned goes with it, unless something refers to it.
    void gone(BlockRef ref) {
        live_.erase(offset_of(ref));
        dead_.push_back(ref);
        std::vector<BlockRef> children;
        for (auto& [at, s] : live_)
            if (s.owner == ref) children.push_back(s.ref);
        for (const BlockRef child : children) {
            Shadow& s = live_.at(offset_of(child));
            s.owner = 0;
            if (s.refs == 0) gone(child);
        }
    }
    void drop() {
        if (live_.empty()) return;
        Shadow& s = any();
        CHECK(intact(s));
        const BlockRef ref = s.ref;
        place_.heap.free(s.block);
        gone(ref);
    }

    bool descends(BlockRef from, BlockRef ancestor) {
        for (; from != 0; from = live_.at(offset_of(from)).owner)
            if (from == ancestor) return true;
        return false;
    }
    void adopt() {
        if (live_.empty()) return;
        Shadow& child = any();
        Shadow& owner = any();
        if (random_.below(3) == 0) {
            if (child.refs == 0) return;
            place_.heap.set_owner(child.block, nullptr);
            child.owner = 0;
        } else if (!descends(owner.ref, child.ref)) {
            place_.heap.set_owner(child.block, owner.block);
            child.owner = owner.ref;
        }
    }
    void refer() {
        if (live_.empty()) return;
        Shadow& s = any();
        if (s.owner == 0) return;
        s.refs = static_cast<std::uint32_t>(random_.below(3));
        s.block->refs.store(s.refs);
    }

    void audit(Shadow& s) {
        CHECK(place_.heap.resolve(s.ref) == s.block);
        CHECK_EQ(s.block->refs.load(), s.refs);
        CHECK_EQ(s.block->owner.load(), s.owner);
        CHECK(intact(s));
        std::size_t children = 0;
        place_.heap.for_each_child(s.block, [&](PlainBlock* child) {
            ++children;
            CHECK_EQ(live_.at(place_.heap.offset_of_block(child)).owner, s.ref);
        });
        std::size_t due = 0;
        for (auto& [at, other] : live_) due += other.owner == s.ref;
        CHECK_EQ(children, due);
    }
    void audit_some() {
        if (live_.empty()) return;
        audit(any());
        if (!dead_.empty()) CHECK(place_.heap.resolve(dead_[random_.below(dead_.size())]) == nullptr);
        CHECK_EQ(place_.arena.header().blocks.load(), live_.size());
    }
    void audit_all() {
        for (auto& [at, s] : live_) {
            CHECK(place_.heap.resolve(s.ref) == s.block);
            CHECK(intact(s));
        }
        std::size_t seen = 0;
        place_.heap.for_each_block([&](PlainBlock* block) {
            ++seen;
            CHECK(live_.contains(place_.heap.offset_of_block(block)));
        });
        CHECK_EQ(seen, live_.size());
    }
    void rebuild() {
        place_.rebuild_agrees();
        CHECK_EQ(place_.arena.header().blocks.load(), live_.size());
        CHECK(place_.arena.header().backed_units.load() <= place_.arena.header().limit_units.load());
    }

    Place place_;
    Random random_;
    std::map<Offset, Shadow> live_;
    std::vector<BlockRef> dead_;
    Offset top_ = kHeapAt;

public:
    std::uint64_t refused = 0;
};

unsigned steps() { return check::scale(check::sanitized ? 3000u : 8000u, check::sanitized ? 60000u : 300000u); }

}  // namespace

TEST(blocks_are_aligned_and_named_for_one_life) {
    Place place(64);
    PlainBlock* block = place.allocate(100);
    REQUIRE(block != nullptr);
    const BlockRef ref = place.heap.ref_to(block);
    CHECK_EQ(offset_of(ref), place.heap.offset_of_block(block));
    CHECK(place.heap.resolve(ref) == block);
    CHECK(place.heap.resolve(0) == nullptr);
    place.heap.free(block);
    CHECK(place.heap.resolve(ref) == nullptr);
    PlainBlock* again = place.allocate(100);
    CHECK(again == block, "the slot is used again");
    CHECK(place.heap.resolve(ref) == nullptr, "and the old name does not reach the new block");
    CHECK(place.heap.ref_to(again) != ref);
}

TEST(nothing_that_a_stranger_scribbles_is_followed) {
    Place place(64);
    PlainBlock* small = place.allocate(100);
    PlainBlock* large = place.allocate(3 * kUnit);
    REQUIRE(small != nullptr && large != nullptr);
    Random random(7);
    const std::uint64_t count = check::sanitized ? 20000 : 200000;
    for (std::uint64_t n = 0; n < count; ++n) {
        BlockRef ref = random();
        if (n % 2 == 0) ref = (ref & ~0xffffffffull) | ((kHeapAt + random.below(70 * kUnit)) >> kGrainShift);
        const PlainBlock* found = place.heap.resolve(ref);
        CHECK(found == nullptr || ref == place.heap.ref_to(found));
        place.heap.block_if_valid(random());
        place.heap.block_if_valid(kHeapAt + random.below(70 * kUnit) / 64 * 64);
    }
    CHECK(place.heap.block_if_valid(place.heap.offset_of_block(large)) == large);
    CHECK(place.heap.block_if_valid(place.heap.offset_of_block(large) + kUnit) == nullptr);
    CHECK(place.heap.block_if_valid(place.heap.offset_of_block(small)) == small);
    CHECK(place.heap.block_if_valid(place.heap.offset_of_block(small) + 64) == nullptr);
}

TEST(sizes_from_a_header_to_the_limit_are_served_and_given_back) {
    Place place(256);
    std::vector<PlainBlock*> blocks;
    for (std::uint64_t bytes = kBlockHeader; bytes < 64 * kUnit; bytes += bytes / 3 + 1) {
        PlainBlock* block = place.allocate(bytes);
        REQUIRE(block != nullptr, bytes);
        payload(block)[0] = 1;
        reinterpret_cast<char*>(block)[bytes - 1] = 2;
        blocks.push_back(block);
        if (blocks.size() > 5) {
            place.heap.free(blocks.front());
            blocks.erase(blocks.begin());
        }
    }
    for (PlainBlock* block : blocks) place.heap.free(block);
    CHECK_EQ(place.arena.header().blocks.load(), 0u);
    place.rebuild_agrees();
    CHECK_EQ(place.arena.header().used_units.load(), 0u);
    PlainBlock* everything = place.allocate(256 * kUnit);
    CHECK(everything != nullptr, "what was freed is one run again");
}

TEST(sizes_beyond_all_reason_are_refused) {
    Place place(64);
    for (const std::uint64_t bytes : {65 * kUnit, kCapacity - 1, kCapacity, kCapacity * 2, ~std::uint64_t{0}, ~std::uint64_t{0} - kUnit})
        CHECK(place.allocate(bytes) == nullptr, bytes);
    CHECK(place.allocate(64 * kUnit) != nullptr);
}

TEST(the_limit_is_met_with_null_and_all_goes_on_afterwards) {
    for (const std::uint64_t bytes : {std::uint64_t{64}, std::uint64_t{1000}, std::uint64_t{1} << 15, kUnit, 5 * kUnit}) {
        Place place(40);
        std::vector<PlainBlock*> blocks;
        while (PlainBlock* block = place.allocate(bytes)) {
            block->refs.store(1);
            blocks.push_back(block);
        }
        CHECK(place.arena.header().backed_units.load() <= 40u);
        CHECK(blocks.size() * std::max(bytes, std::uint64_t{64}) > 34 * kUnit, "most of it was to be had");
        CHECK(place.allocate(bytes) == nullptr);
        const std::size_t count = blocks.size();
        for (int n = 0; n < 100; ++n) {
            place.heap.free(blocks.back());
            blocks.back() = place.allocate(bytes);
            REQUIRE(blocks.back() != nullptr);
            blocks.back()->refs.store(1);
        }
        place.rebuild_agrees();
        CHECK(place.allocate(bytes) == nullptr);
        for (PlainBlock* block : blocks) place.heap.free(block);
        blocks.clear();
        while (PlainBlock* block = place.allocate(bytes)) blocks.push_back(block);
        CHECK_EQ(blocks.size(), count);
    }
}

TEST(a_limit_that_is_lowered_or_raised_holds_from_then_on) {
    Place place(64);
    PlainBlock* first = place.allocate(32 * kUnit);
    REQUIRE(first != nullptr);
    place.arena.set_limit(16 * kUnit);
    CHECK(place.allocate(kUnit) == nullptr);
    place.arena.set_limit(128 * kUnit);
    PlainBlock* second = place.allocate(90 * kUnit);
    CHECK(second != nullptr);
    place.heap.free(first);
    CHECK(place.allocate(39 * kUnit) == nullptr);
    CHECK(place.allocate(32 * kUnit) != nullptr);
}

TEST(scattered_free_memory_is_given_back_to_make_room_for_a_long_run) {
    constexpr std::uint64_t kLimit = 64;
    Place place(kLimit);
    std::vector<PlainBlock*> blocks;
    while (PlainBlock* block = place.allocate(kUnit)) blocks.push_back(block);
    CHECK_EQ(blocks.size(), kLimit);
    for (std::size_t i = 0; i < blocks.size(); i += 2) place.heap.free(blocks[i]);
    PlainBlock* wide = place.allocate(16 * kUnit);
    REQUIRE(wide != nullptr, "half of the limit is free");
    std::memset(payload(wide), 1, 16 * kUnit - kBlockHeader);
    CHECK(place.memory.returned >= 16 * kUnit);
    CHECK(place.arena.header().backed_units.load() <= kLimit);
    for (std::size_t i = 1; i < blocks.size(); i += 2) payload(blocks[i])[kUnit - kBlockHeader - 1] = 1;
    // The holes are backed again when they are needed.
    std::vector<PlainBlock*> refilled;
    while (PlainBlock* block = place.allocate(kUnit)) {
        std::memset(payload(block), 2, kUnit - kBlockHeader);
        refilled.push_back(block);
    }
    CHECK_EQ(refilled.size(), kLimit - 16 - kLimit / 2);
}

TEST(free_memory_beyond_what_is_retained_goes_back_to_the_system) {
    constexpr std::uint32_t kMany = HeapT::kRetainedUnits + 1000;
    Place place(kMany * 2);
    std::vector<PlainBlock*> blocks;
    for (std::uint32_t units = 0; units < kMany; units += 100) {
        blocks.push_back(place.allocate(100 * kUnit));
        REQUIRE(blocks.back() != nullptr);
    }
    for (PlainBlock* block : blocks) place.heap.free(block);
    CHECK_EQ(place.arena.header().used_units.load(), 0u);
    CHECK(place.arena.header().backed_units.load() <= HeapT::kRetainedUnits);
    CHECK(place.memory.returned >= 1000 * kUnit);
    place.rebuild_agrees();
    for (PlainBlock*& block : blocks) {
        block = place.allocate(100 * kUnit);
        REQUIRE(block != nullptr);
        for (std::uint64_t at = 0; at < 100 * kUnit - kBlockHeader; at += 4096) payload(block)[at] = 3;
    }
}

TEST(a_refusal_of_the_system_is_a_null_and_no_harm) {
    Place place(4096);
    place.memory.refusals = 100;
    CHECK(place.allocate(100) == nullptr);
    CHECK(place.allocate(10 * kUnit) == nullptr);
    place.memory.refusals = 0;
    PlainBlock* block = place.allocate(10 * kUnit);
    REQUIRE(block != nullptr);
    place.heap.free(block);
    // Refused in the midst of growth, and when holes are to be backed again.
    std::vector<PlainBlock*> blocks;
    Random random(3);
    unsigned refused = 0;
    for (int n = 0; n < 2000; ++n) {
        place.memory.refusals = random.below(3) == 0 ? 1 : 0;
        if (PlainBlock* got = place.allocate(kBlockHeader + random.below(20 * kUnit))) {
            payload(got)[0] = 1;
            got->refs.store(1);
            blocks.push_back(got);
        } else {
            ++refused;
            for (int k = 0; k < 8 && !blocks.empty(); ++k) {
                std::swap(blocks[random.below(blocks.size())], blocks.back());
                place.heap.free(blocks.back());
                blocks.pop_back();
            }
        }
        if (n % 200 == 0) place.rebuild_agrees();
    }
    CHECK(refused > 10u);
    place.memory.refusals = 0;
    place.rebuild_agrees();
}

TEST(what_belongs_to_a_block_goes_with_it_unless_it_is_referred_to) {
    Place place(64);
    PlainBlock* owner = place.allocate(100);
    PlainBlock* child = place.allocate(100, owner);
    PlainBlock* grandchild = place.allocate(5000, child);
    PlainBlock* kept = place.allocate(3 * kUnit, child);
    kept->refs.store(1);
    PlainBlock* grandchild_of_kept = place.allocate(100, kept);
    const BlockRef refs[] = {place.heap.ref_to(owner), place.heap.ref_to(child), place.heap.ref_to(grandchild)};
    place.heap.free(owner);
    for (const BlockRef ref : refs) CHECK(place.heap.resolve(ref) == nullptr);
    CHECK(place.heap.resolve(place.heap.ref_to(kept)) == kept);
    CHECK_EQ(kept->owner.load(), 0u);
    CHECK(place.heap.resolve(grandchild_of_kept->owner.load()) == kept);
    CHECK_EQ(place.arena.header().blocks.load(), 2u);
    place.rebuild_agrees();
    place.heap.free(kept);
    CHECK_EQ(place.arena.header().blocks.load(), 0u);
}

TEST(a_rebuild_frees_what_nobody_refers_to_or_owns) {
    Place place(64);
    PlainBlock* referred = place.allocate(100);
    referred->refs.store(1);
    PlainBlock* orphan = place.allocate(100);
    PlainBlock* of_the_orphan = place.allocate(2 * kUnit, orphan);
    PlainBlock* of_the_referred = place.allocate(100, referred);
    std::vector<BlockRef> gone = {place.heap.ref_to(orphan), place.heap.ref_to(of_the_orphan)};
    PlainBlock* chain[6];  // each belongs to the one made after it, the last to nobody
    for (PlainBlock*& block : chain) gone.push_back(place.heap.ref_to(block = place.allocate(100)));
    for (int i = 0; i < 5; ++i) place.heap.set_owner(chain[i], chain[i + 1]);
    place.heap.rebuild([&](HeapT&) { referred->refs.store(1); });
    for (const BlockRef ref : gone) CHECK(place.heap.resolve(ref) == nullptr);
    CHECK(place.heap.resolve(place.heap.ref_to(of_the_referred)) == of_the_referred);
    CHECK_EQ(place.arena.header().blocks.load(), 2u);
}

TEST(making_and_dropping_for_ever_does_not_grow) {
    Place place(4096);
    for (const std::uint64_t bytes : {std::uint64_t{128}, std::uint64_t{3000}, 3 * kUnit}) {
        place.heap.free(place.allocate(bytes));
        const Figures before = figures_of(place.arena);
        const unsigned promises = place.memory.promises;
        const unsigned count = check::sanitized ? 20000 : 200000;
        unsigned failed = 0;
        for (unsigned n = 0; n < count; ++n) {
            PlainBlock* block = place.allocate(bytes);
            failed += block == nullptr;
            if (block != nullptr) place.heap.free(block);
        }
        CHECK_EQ(failed, 0u);
        CHECK(figures_of(place.arena) == before);
        CHECK_EQ(place.memory.promises, promises, "and asks the system for nothing");
    }
}

TEST(random_work_leaves_the_books_right) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        Model roomy(16384, seed);
        roomy.run(steps());
        CHECK_EQ(roomy.refused, 0u);
        Model tight(100, seed + 100);
        tight.run(steps());
        CHECK(tight.refused > 0u);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
