// Shared maps beside a sequential one: semantics, order, growth and shrinking, large parts, memory, what objects hold, and
// threads that read and write at once.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>

#include "check.hpp"
#include "map/shared_map.hpp"

using namespace shared_map;

namespace {

/// A dict as Python has it: overwriting keeps the place.
class Reference {
public:
    void put(const std::string& key, const std::string& value) {
        if (auto* pair = find(key)) pair->second = value;
        else pairs.emplace_back(key, value);
    }
    bool remove(const std::string& key) {
        auto* pair = find(key);
        if (pair == nullptr) return false;
        pairs.erase(pairs.begin() + (pair - pairs.data()));
        return true;
    }
    std::pair<std::string, std::string>* find(const std::string& key) {
        for (auto& pair : pairs)
            if (pair.first == key) return &pair;
        return nullptr;
    }
    Pairs pairs;
};

std::string number(std::uint64_t n) { return std::to_string(n); }
std::string long_text(std::uint64_t n) { return std::string(kLargestPart + 1 + n % 30'000, static_cast<char>('a' + n % 26)); }

void set_limit(std::uint64_t units) {
    inside([&] { tree().arena.set_limit(units * treadle::arena::kUnit); });
}

}  // namespace

TEST(buckets_and_their_places_agree) {
    using namespace treadle::map;
    std::uint64_t bucket = 0;
    for (std::uint32_t segment = 0; segment < 14; ++segment) {
        CHECK_EQ(buckets_before_segment(segment), bucket);
        for (std::uint32_t i = 0; i < buckets_in_segment(segment); ++i, ++bucket) {
            const BucketPlace place = place_of_bucket(bucket);
            if (place.segment != segment || place.index != i) CHECK(false, "bucket ", bucket);
        }
    }
    // A bucket that is added takes from one other alone.
    for (std::uint64_t buckets = 16; buckets < 200; ++buckets)
        for (std::uint32_t hash = 0; hash < 1000; ++hash) {
            const std::uint64_t before = bucket_of(hash, buckets), after = bucket_of(hash, buckets + 1);
            if (before != after && (after != buckets || before != buckets - std::bit_floor(buckets)))
                CHECK(false, hash, " of ", buckets);
        }
    CHECK(bucket == 16384 + 3 * 16372);
}

TEST(a_map_does_what_a_sequential_one_does) {
    const std::uint64_t blocks = audited_blocks();
    {
        SharedMap map;
        Reference reference;
        threads::Random random(7);
        const int steps = check::scale(check::sanitized ? 1500 : 6000, 200000);
        for (int step = 0; step < steps; ++step) {
            const std::string key = number(random.below(60));
            std::string value = number(random.below(1000));
            switch (random.below(12)) {
                case 0: case 1: case 2: case 3:
                    if (random.below(8) == 0) value = long_text(random());
                    CHECK_EQ(map.put(key, value), Result::done);
                    reference.put(key, value);
                    break;
                case 4: case 5: CHECK_EQ(map.remove(key), reference.remove(key) ? Result::done : Result::empty); break;
                case 6: {
                    const Result due = reference.find(key) == nullptr ? Result::done : Result::gone;
                    CHECK_EQ(map.put(key, value, {Condition::absent}), due);
                    if (due == Result::done) reference.put(key, value);
                    break;
                }
                case 7: {
                    std::string popped;
                    auto* pair = reference.find(key);
                    const bool large = pair != nullptr && pair->second.size() > kLargestPart;
                    CHECK_EQ(map.pop(key, popped), pair == nullptr ? Result::empty : large ? Result::no_room : Result::done);
                    if (pair == nullptr || large) break;
                    CHECK_EQ(popped, pair->second);
                    reference.remove(key);
                    break;
                }
                case 8:
                    if (random.below(200) == 0) map.clear(random.below(2) == 0), reference.pairs.clear();
                    break;
                default: {
                    const auto found = map.get(key);
                    auto* pair = reference.find(key);
                    CHECK_EQ(found.has_value(), pair != nullptr);
                    CHECK_EQ(map.has(key), pair != nullptr);
                    if (found && pair != nullptr) CHECK(*found == pair->second, "step ", step);
                }
            }
            CHECK_EQ(map.count(), reference.pairs.size());
            if (step % 50 == 0) CHECK(map.pairs() == reference.pairs, "step ", step);
        }
        const Pairs newest = map.pairs(true);
        CHECK(reference.pairs.empty() ? newest.empty() : newest.size() == 1 && newest[0] == reference.pairs.back());
        audited_blocks();
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(the_form_of_a_key_is_the_first_one_s) {
    SharedMap map;
    map.put("1", "a", {}, nullptr, "one");
    map.put("1", "b", {}, nullptr, "uno");
    CHECK(map.pairs() == Pairs({{"one", "b"}}));
    const std::string form = long_text(3);
    map.put("2", "c", {}, nullptr, form);
    map.put("2", "d", {}, nullptr, "due");
    map.put("2", long_text(5), {}, nullptr, "due");
    CHECK(map.pairs() == Pairs({{"one", "b"}, {form, long_text(5)}}));
    CHECK(map.pairs(false, false) == Pairs({{"one", ""}, {form, ""}}));
    CHECK_EQ(map.figures().large, 2u);
    map.remove("2");
    CHECK_EQ(map.figures().large, 0u);
}

TEST(a_condition_tells_one_value_from_the_next) {
    SharedMap map;
    BlockRef first = 0, second = 0, found = 0;
    CHECK_EQ(map.put("k", "1", {Condition::same, 17}), Result::gone);
    map.put("k", "1", {}, &first);
    map.get("k", &found);
    CHECK_EQ(found, first);
    CHECK_EQ(map.put("k", "2", {Condition::same, first}, &second), Result::done);
    CHECK_EQ(map.put("k", "3", {Condition::same, first}), Result::gone);
    CHECK_EQ(map.remove("k", {Condition::same, first}), Result::gone);
    CHECK_EQ(map.remove_entry(first), Result::gone);
    CHECK_EQ(map.remove_entry(second), Result::done);
    CHECK_EQ(map.remove_entry(second), Result::gone);
    CHECK_EQ(map.count(), 0u);
    SharedMap other;
    other.put("k", "1", {}, &first);
    CHECK_EQ(map.remove_entry(first), Result::gone);
    CHECK_EQ(other.count(), 1u);
}

TEST(a_map_grows_and_shrinks_by_small_steps_and_gives_memory_back) {
    const std::uint64_t blocks = audited_blocks();
    SharedMap map;
    const std::uint64_t many = check::scale<std::uint64_t>(check::sanitized ? 3000 : 50000, 300000);
    for (std::uint64_t i = 0; i < many; ++i) map.put(number(i), number(i * 3));
    CHECK_EQ(map.count(), many);
    Figures full = map.figures();
    CHECK(full.buckets >= many && full.buckets <= many + 16);
    for (std::uint64_t i = 0; i < many; i += 7) CHECK(map.get(number(i)) == number(i * 3));
    std::uint64_t before = full.buckets;
    for (std::uint64_t i = 0; i + 5 < many; ++i) {
        CHECK_EQ(map.remove(number(i)), Result::done);
        const std::uint64_t now = map.state().buckets.load();
        if (before - now > 2) CHECK(false, "from ", before, " to ", now);
        before = now;
    }
    CHECK_EQ(map.count(), 5u);
    CHECK(map.get(number(many - 1)) == number((many - 1) * 3));
    const Figures rest = map.figures();
    CHECK(rest.buckets == 16 && rest.memory < 2000, rest.buckets, " buckets, ", rest.memory, " bytes");
    CHECK(audited_blocks() < blocks + 12);
    for (std::uint64_t i = 0; i < many; ++i) map.put(number(i), "");
    map.clear();
    CHECK(map.figures().memory < 2000 && audited_blocks() < blocks + 12);
}

TEST(a_clear_that_is_not_finished_goes_on_with_the_next_steps) {
    SharedMap map;
    for (int i = 0; i < 1000; ++i) map.put(number(i), "x");
    const std::uint64_t full = audited_blocks();
    map.clear(false);
    CHECK(map.count() == 0 && map.pairs().empty());
    for (int i = 0; i < 100; ++i) map.put(number(i), "y");
    map.clear(false);
    for (int i = 0; i < 400; ++i) map.put("k", number(i));
    CHECK(map.pairs() == Pairs({{"k", "399"}}));
    CHECK(audited_blocks() < full - 950);
}

TEST(a_full_arena_changes_nothing_and_is_usable_at_once) {
    SharedMap map;
    Reference reference;
    const std::uint64_t used = tree().arena.header().used_units.load();
    set_limit(used + 2);
    unsigned refused = 0;
    threads::Random random(3);
    for (int i = 0; i < 4000; ++i) {
        const std::string key = number(random.below(3000)), value(random.below(200), 'v');
        const Result result = map.put(key, value);
        if (result == Result::done) reference.put(key, value);
        else CHECK_EQ(result, Result::no_memory), ++refused;
    }
    CHECK(refused > 100, refused);
    CHECK(map.pairs() == reference.pairs);
    CHECK_EQ(map.count(), reference.pairs.size());
    for (std::size_t i = 0; i < reference.pairs.size(); i += 2) CHECK_EQ(map.remove(reference.pairs[i].first), Result::done);
    CHECK_EQ(map.put("there is room again", "x"), Result::done);
    set_limit(8192);
    audited_blocks();
}

// What may fail in a put: the entry, a segment, a directory. One unit at a time comes back, so that each fails in turn.
TEST(every_allocation_of_a_growing_map_may_fail) {
    SharedMap map;
    Reference reference;
    std::uint64_t i = 0;
    const std::uint64_t many = check::sanitized ? 2000 : 40000;
    set_limit(tree().arena.header().used_units.load());
    while (i < many) {
        const Result result = map.put(number(i), "value");
        if (result == Result::done) {
            ++i;
        } else {
            REQUIRE(result == Result::no_memory);
            CHECK_EQ(map.count(), i);
            CHECK(!map.has(number(i)) && map.has(number(i - 1)));
            set_limit(tree().arena.header().limit_units.load() + 1);
        }
    }
    set_limit(8192);
    for (std::uint64_t k = 0; k < many; k += 3) CHECK(map.has(number(k)));
    // What was left out is made up for.
    for (std::uint64_t k = 0; k < many; ++k) map.put(number(many + k), "value");
    CHECK(map.figures().buckets >= 2 * many, map.figures().buckets);
    audited_blocks();
}

TEST(what_a_value_holds_lives_as_long_as_it_does) {
    const std::uint64_t blocks = audited_blocks();
    {
        SharedMap map;
        BlockRef objects[3] = {};
        std::uint32_t slots[3] = {};
        for (int i = 0; i < 3; ++i) objects[i] = make_large("object", slots[i]);
        const auto lives = [&](int i) { return tree().arena.heap.resolve(objects[i]) != nullptr; };
        std::uint32_t large_slot = 0;
        const BlockRef large = make_large("with handles", large_slot);
        inside([&] { CHECK(tree().arena.heap.hold(tree().arena.heap.resolve(large), objects, 2)); });
        BlockRef put = 0;
        CHECK_EQ(threads::insist<SharedWorld>(self(), [&](auto& who, Wait& wait) {
            return map.map().attempt_put(who, map.key("k"), Part{}, Part{nullptr, 12, large}, Condition{}, put, wait);
        }), Result::done);
        for (const std::uint32_t slot : slots) drop(slot);
        CHECK(lives(0) && lives(1) && !lives(2));
        map.put("k", "another");
        CHECK(lives(0));  // who put it refers to it yet
        inside([&] { tree().arena.rebuild(); });
        CHECK(lives(0) && lives(1));
        drop(large_slot);
        CHECK(!lives(0) && !lives(1));
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(a_long_chain_of_objects_that_hold_each_other_goes_at_once) {
    const std::uint64_t blocks = audited_blocks();
    std::uint32_t slot = 0;
    BlockRef last = make_large("first", slot);
    const int links = check::sanitized ? 2000 : 200000;
    for (int i = 0; i < links; ++i) {
        std::uint32_t next_slot = 0;
        const BlockRef next = make_large("next", next_slot);
        inside([&] { CHECK(tree().arena.heap.hold(tree().arena.heap.resolve(next), &last, 1)); });
        drop(slot);
        slot = next_slot;
        last = next;
    }
    CHECK_EQ(audited_blocks(), blocks + 1 + 2 * static_cast<std::uint64_t>(links));
    drop(slot);
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(the_holder_of_the_lock_goes_on_and_others_wait) {
    SharedMap map;
    map.put("k", "1");
    const auto me = self();
    REQUIRE(map.state().words.lock.try_acquire(me.token));
    CHECK_EQ(map.pass(), Result::done);
    std::atomic<int> passed{0};
    threads::run_threads(2, [&](unsigned i) {
        if (i == 0) return;
        auto other = self();
        Wait wait;
        wait.announce = false;
        alignas(8) char out[kLargestPart];
        Found found;
        std::uint64_t count = 0;
        CHECK_EQ(map.map().attempt_find(other, map.key("k"), out, found, wait), Result::blocked);
        CHECK(!wait.section);
        CHECK_EQ(map.map().attempt_count(other, count, wait), Result::blocked);
        CHECK_EQ(map.map().attempt_remove(other, map.key("k"), {}, wait), Result::blocked);
        ++passed;
    });
    CHECK(passed == 1 && map.get("k") == "1");
    std::thread waiter([&] { CHECK(map.get("k") == "2"); });
    map.put("k", "2");
    map.state().words.lock.release();
    waiter.join();
}

TEST(threads_that_read_and_write_see_whole_values) {
    SharedMap map;
    constexpr unsigned kThreads = 4;
    const std::uint64_t rounds = check::scale<std::uint64_t>(check::sanitized ? 400 : 8000, 200000);
    const auto text = [](std::uint64_t n) { return std::string(8 + n % 300, static_cast<char>('a' + n % 26)); };
    std::atomic<bool> done{false};
    threads::run_threads(kThreads, [&](unsigned i) {
        threads::Random random(i + 1);
        if (i < 2) {
            for (std::uint64_t n = 0; n < rounds; ++n) {
                const std::string key = number(random.below(20));
                if (random.below(3) == 0) map.remove(key);
                else map.put(key, text(random()));
                map.add("sum", 1);
            }
            done = true;
            return;
        }
        while (!done) {
            const auto found = map.get(number(random.below(20)));
            if (found && *found != std::string(found->size(), (*found)[0])) CHECK(false, "a torn value");
            if (random.below(50) == 0) {
                const Pairs pairs = map.pairs();
                for (const auto& [key, value] : pairs)
                    if (key != "sum" && value != std::string(value.size(), value[0])) CHECK(false, "a torn copy");
            }
        }
    });
    const auto sum = map.get("sum");
    std::uint64_t total = 0;
    REQUIRE(sum && sum->size() == 8);
    std::memcpy(&total, sum->data(), 8);
    CHECK_EQ(total, 2 * rounds);
    audited_blocks();
}

int main(int argc, char** argv) {
    Mapping::install();
    return check::main(argc, argv);
}
