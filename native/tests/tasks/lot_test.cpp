// The lot: lines in order of arrival, who is notified, what a place that leaves says is owed; then on real threads.
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <string>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/tasks/lot.hpp"

using namespace threads;
using treadle::tasks::kBuckets;
using treadle::tasks::Place;
using treadle::tasks::PlaceState;
using Lot = treadle::tasks::Lot<PrivateWorld>;

namespace {

constexpr std::uint32_t kAny = ~0u, kBucket = 5;
constexpr char arenas[2] = {};
constexpr std::uint32_t words[4] = {};

/// A lot and places that go by letters.
struct Yard {
    Lot lot{};
    std::deque<Place> places;

    Place& make(char name, int word = 0, const void* arena = nullptr, std::uint32_t bits = kAny) {
        Place& place = places.emplace_back();
        place.word = &words[word];
        place.arena = arena;
        place.bits = bits;
        place.bucket = kBucket;
        place.owner = reinterpret_cast<void*>(static_cast<std::uintptr_t>(name));
        return place;
    }
    Place& park(char name, int word = 0, const void* arena = nullptr, std::uint32_t bits = kAny) {
        Place& place = make(name, word, arena, bits);
        park(place);
        return place;
    }
    void park(Place& place, bool in_front = false) {
        lot.park(place, in_front, [] {});
    }
    std::uint32_t notify(std::uint32_t count, int word = 0, std::uint32_t bits = kAny) {
        return lot.notify(&words[word], kBucket, count, bits);
    }
    std::uint32_t hear(const void* arena, bool all, std::uint32_t bucket = kBucket) {
        std::uint32_t told = 0;
        lot.hear(arena, [&](auto notify) { told = notify(bucket, all); });
        return told;
    }
    /// All who are to be delivered, in turn.
    std::string deliver() {
        std::string names;
        while (Place* place = lot.take_notified([](Place&) {})) names += static_cast<char>(reinterpret_cast<std::uintptr_t>(place->owner));
        return names;
    }
    struct Left {
        bool notified, rung, empty;
        friend bool operator==(const Left&, const Left&) = default;
    };
    Left leave(Place& place, bool rung = false) {
        bool empty = false;
        const Lot::Left left = lot.leave(place, [&](bool none) {
            empty = none;
            return rung;
        });
        return {left.notified, left.rung, empty};
    }
};

}  // namespace

TEST(a_line_is_served_in_order_of_arrival) {
    Yard yard;
    for (const char name : {'a', 'b', 'c', 'd', 'e'}) yard.park(name);
    CHECK(!yard.lot.empty() && !yard.lot.has_notified());
    CHECK_EQ(yard.notify(2), 2u);
    CHECK(yard.lot.has_notified());
    CHECK_EQ(yard.deliver(), "ab");
    yard.park('f');
    CHECK_EQ(yard.notify(9), 4u, "there are no more");
    CHECK_EQ(yard.deliver(), "cdef");
    CHECK_EQ(yard.notify(1), 0u);
    CHECK(yard.lot.empty() && !yard.lot.has_notified());
}

TEST(nobody_is_notified_who_waits_for_something_else) {
    Yard yard;
    yard.park('a', 0);
    yard.park('b', 1);
    yard.park('c', 0);
    yard.park('d', 2);
    CHECK_EQ(yard.notify(9, 3), 0u);
    CHECK_EQ(yard.notify(9, 1), 1u);
    CHECK_EQ(yard.deliver(), "b");
    CHECK_EQ(yard.notify(9, 0), 2u);
    CHECK_EQ(yard.deliver(), "ac");
    CHECK_EQ(yard.lot.notify(&words[2], kBucket + 1, 9, kAny), 0u, "another bucket");
    CHECK_EQ(yard.notify(9, 2), 1u);
    CHECK_EQ(yard.deliver(), "d");
}

TEST(bits_select_who_is_notified) {
    Yard yard;
    yard.park('a', 0, nullptr, 1);
    yard.park('b', 0, nullptr, 2);
    yard.park('c', 0, nullptr, 3);
    yard.park('d', 0, nullptr, 1);
    CHECK_EQ(yard.notify(1, 0, 2), 1u);
    CHECK_EQ(yard.deliver(), "b");
    CHECK_EQ(yard.notify(9, 0, 4), 0u);
    CHECK_EQ(yard.notify(2, 0, 2), 1u);
    CHECK_EQ(yard.deliver(), "c");
    CHECK_EQ(yard.notify(9, 0, 1), 2u);
    CHECK_EQ(yard.deliver(), "ad");
}

TEST(who_was_notified_in_vain_keeps_its_place) {
    Yard yard;
    Place& a = yard.park('a');
    yard.park('b');
    yard.park('c');
    CHECK_EQ(yard.notify(1), 1u);
    CHECK_EQ(yard.deliver(), "a");
    yard.leave(a);
    yard.park(a, true);
    CHECK_EQ(yard.notify(2), 2u);
    CHECK_EQ(yard.deliver(), "ab");
    yard.leave(a);
    yard.park(a);
    CHECK_EQ(yard.notify(2), 2u);
    CHECK_EQ(yard.deliver(), "ca");
    yard.leave(a);
    yard.park(a, true);
    CHECK_EQ(yard.notify(1), 1u, "in front of nobody");
    CHECK_EQ(yard.deliver(), "a");
}

TEST(lines_of_a_bucket_stay_whole_whoever_leaves) {
    // Against a plain list for each word.
    Yard yard;
    std::array<std::vector<Place*>, 4> lines;
    Random random(1);
    std::vector<Place*> idle;
    for (char name = 'a'; name < 'a' + 20; ++name) idle.push_back(&yard.make(name));
    const auto is_parked = [&](Place* place) {
        for (auto& line : lines)
            for (Place* each : line)
                if (each == place) return true;
        return false;
    };
    for (int step = 0; step < 20000; ++step) {
        const std::size_t word = random.below(4);
        auto& line = lines[word];
        if (random.below(2) == 0) {
            Place* place = idle[random.below(idle.size())];
            if (is_parked(place)) continue;
            place->word = &words[word];
            const bool in_front = random.below(2) == 0;
            yard.park(*place, in_front);
            line.insert(in_front ? line.begin() : line.end(), place);
        } else if (random.below(2) == 0 && !line.empty()) {
            const std::size_t at = random.below(line.size());
            Place* place = line[at];
            line.erase(line.begin() + static_cast<std::ptrdiff_t>(at));
            const bool none = lines[0].empty() && lines[1].empty() && lines[2].empty() && lines[3].empty();
            CHECK(yard.leave(*place) == (Yard::Left{false, false, none}));
        } else {
            const std::uint32_t count = static_cast<std::uint32_t>(random.below(3));
            const std::uint32_t due = line.size() < count ? static_cast<std::uint32_t>(line.size()) : count;
            CHECK_EQ(yard.notify(count, static_cast<int>(word)), due);
            for (std::uint32_t i = 0; i < due; ++i) {
                Place* place = yard.lot.take_notified([](Place&) {});
                CHECK(place == line.front());
                line.erase(line.begin());
                yard.leave(*place);
            }
        }
        CHECK_EQ(yard.lot.empty(), lines[0].empty() && lines[1].empty() && lines[2].empty() && lines[3].empty());
    }
}

TEST(leaving_says_what_is_owed_in_each_state) {
    Yard yard;
    Place &a = yard.park('a', 0, arenas), &b = yard.park('b', 0, arenas), &c = yard.park('c', 0, arenas);
    CHECK_EQ(yard.notify(2), 2u);
    CHECK(a.state == PlaceState::notified && b.state == PlaceState::notified && c.state == PlaceState::parked);
    Place* taken = yard.lot.take_notified([](Place&) {});
    CHECK(taken == &a && a.state == PlaceState::delivered);
    CHECK(yard.leave(a) == (Yard::Left{true, false, false}), "delivered");
    CHECK(a.state == PlaceState::absent);
    CHECK(yard.leave(b) == (Yard::Left{true, false, false}), "notified");
    CHECK(!yard.lot.has_notified(), "it is delivered to nobody any more");
    CHECK(yard.leave(c, true) == (Yard::Left{false, true, true}), "parked, the last, and rung");
    CHECK(yard.lot.empty());
}

TEST(notified_ones_may_leave_from_any_position) {
    for (int gone = 0; gone < 3; ++gone) {
        Yard yard;
        Place* all[3] = {&yard.park('a'), &yard.park('b'), &yard.park('c')};
        CHECK_EQ(yard.notify(3), 3u);
        yard.leave(*all[gone]);
        yard.park('d');
        CHECK_EQ(yard.notify(1), 1u);
        CHECK_EQ(yard.deliver(), gone == 0 ? "bcd" : gone == 1 ? "acd" : "abd");
    }
}

TEST(a_bucket_is_empty_for_each_arena_by_itself) {
    Yard yard;
    Place &a = yard.park('a', 0, &arenas[0]), &b = yard.park('b', 1, &arenas[1]), &c = yard.park('c', 2, &arenas[0]);
    CHECK(yard.lot.parks_in(&arenas[0]) && yard.lot.parks_in(&arenas[1]) && !yard.lot.parks_in(&words[0]));
    CHECK(yard.leave(a) == (Yard::Left{false, false, false}));
    CHECK(yard.leave(b) == (Yard::Left{false, false, true}));
    CHECK(!yard.lot.parks_in(&arenas[1]));
    CHECK(yard.leave(c) == (Yard::Left{false, false, true}));
}

TEST(a_ring_notifies_the_first_or_all_of_each_word_of_its_arena) {
    Yard yard;
    for (const char name : {'a', 'b'}) yard.park(name, 0, &arenas[0]);
    for (const char name : {'c', 'd'}) yard.park(name, 1, &arenas[0]);
    yard.park('e', 2, &arenas[1]);
    yard.park('f', 3);
    CHECK_EQ(yard.hear(&arenas[0], false), 2u);
    std::string told = yard.deliver();
    CHECK(told == "ac" || told == "ca", told);
    yard.park('g', 0, &arenas[0]);
    CHECK_EQ(yard.hear(&arenas[0], true), 3u);
    told = yard.deliver();
    CHECK(told == "bgd" || told == "dbg", told);
    CHECK_EQ(yard.hear(&arenas[0], true), 0u);
    CHECK_EQ(yard.hear(&arenas[1], false), 1u);
    CHECK_EQ(yard.deliver(), "e");
}

TEST(a_ring_that_finds_all_notified_is_owed_by_the_first_that_leaves) {
    Yard yard;
    Place &a = yard.park('a', 0, arenas), &b = yard.park('b', 0, arenas), &p = yard.park('p', 1);
    CHECK_EQ(yard.notify(2), 2u);
    CHECK_EQ(yard.hear(arenas, false), 0u);
    CHECK(yard.leave(p) == (Yard::Left{false, false, true}), "one of private memory has nothing to do with it");
    CHECK(yard.leave(a) == (Yard::Left{true, true, true}));
    CHECK(yard.leave(b) == (Yard::Left{true, false, true}), "once");
    Place& c = yard.park('c', 0, arenas);
    CHECK_EQ(yard.notify(1), 1u);
    CHECK_EQ(yard.hear(arenas, true), 0u);
    CHECK(yard.leave(c) == (Yard::Left{true, false, true}), "a wake for all is nobody's debt");
}

TEST(subscriptions_are_asked_for_with_each_place) {
    Yard yard;
    int asked = 0;
    for (const char name : {'a', 'b'}) yard.lot.park(yard.make(name, 0, arenas), false, [&] { ++asked; });
    CHECK_EQ(asked, 2, "the first may have had no reactor yet");
}

TEST(the_first_of_each_line_is_told_to_look_whatever_its_bits) {
    Yard yard;
    Place& a = yard.park('a', 0, arenas, 1);
    for (const char name : {'b', 'c', 'd'}) yard.park(name, name - 'a' - 1, arenas, 1);
    const auto at_word = [](int word) { return [word](const Place& place) { return place.word == &words[word]; }; };
    CHECK_EQ(yard.lot.notify_to_look(kBuckets, at_word(0)), 1u);
    CHECK(a.told_to);
    CHECK_EQ(yard.deliver(), "a");
    CHECK_EQ(yard.lot.notify_to_look(kBuckets, at_word(3)), 0u);
    CHECK_EQ(yard.lot.notify_to_look(kBuckets, [](const Place&) { return true; }), 3u);
    CHECK_EQ(yard.deliver().size(), 3u);
    yard.leave(a);
    yard.park(a);
    CHECK(!a.told_to, "that was then");
    CHECK_EQ(yard.notify(1), 1u);
    CHECK(!a.told_to, "it was notified for another reason");
}

TEST(looking_goes_round_all_buckets) {
    Yard yard;
    for (const char name : {'a', 'b', 'c', 'd'}) {
        Place& place = yard.make(name, name - 'a');
        place.bucket = static_cast<std::uint32_t>(name) * 4;
        yard.park(place);
    }
    const auto any = [](const Place&) { return true; };
    std::string told;
    for (int turn = 0; turn < 3; ++turn) {
        CHECK_EQ(yard.lot.notify_to_look(1, any), 1u);
        told += yard.deliver();
    }
    CHECK_EQ(told, "abc");
    for (Place& place : yard.places)
        if (place.state == PlaceState::delivered) {
            yard.leave(place);
            yard.park(place);
        }
    CHECK_EQ(yard.lot.notify_to_look(1, any), 1u);
    CHECK_EQ(yard.deliver(), "d", "where the last one ended");
}

TEST(what_is_kept_is_kept_before_its_owner_can_leave) {
    Yard yard;
    Place& a = yard.park('a');
    CHECK(yard.lot.take_notified([](Place&) { CHECK(false, "nobody was notified"); }) == nullptr);
    CHECK_EQ(yard.notify(1), 1u);
    bool kept = false;
    Place* taken = yard.lot.take_notified([&](Place& place) { kept = &place == &a && place.state == PlaceState::delivered; });
    CHECK(taken == &a && kept);
}

TEST(the_child_of_a_fork_has_an_empty_lot) {
    Yard yard;
    for (const char name : {'a', 'b', 'c'}) yard.park(name, 0, arenas);
    CHECK_EQ(yard.notify(1), 1u);
    yard.lot.reinitialise();
    CHECK(yard.lot.empty() && !yard.lot.has_notified() && !yard.lot.parks_in(arenas));
    CHECK_EQ(yard.notify(9), 0u);
    yard.park('d');
    CHECK_EQ(yard.notify(9), 1u);
    CHECK_EQ(yard.deliver(), "d");
}

// --- On real threads -------------------------------------------------------------------------------------------------

// Threads park, notify, deliver and leave at random. Each notification is delivered, or found by who leaves: never both,
// never neither.
TEST(no_notification_is_lost_or_doubled_among_threads) {
    constexpr unsigned kThreads = 4;
    const unsigned rounds = check::scale(check::sanitized ? 2000u : 20000u, check::sanitized ? 50000u : 500000u);
    Lot lot{};
    struct alignas(64) Owner {
        std::atomic<unsigned> deliveries{0};
    };
    std::array<Owner, kThreads> owners;
    std::atomic<std::uint64_t> notified{0}, left_notified{0}, delivered{0};
    run_threads(kThreads, [&](unsigned i) {
        Random random(i);
        Place place;
        place.owner = &owners[i];
        place.bits = kAny;
        for (unsigned round = 0; round < rounds; ++round) {
            place.word = &words[random.below(3)];
            place.bucket = kBucket + static_cast<std::uint32_t>(random.below(2));
            const unsigned before = owners[i].deliveries.load();
            lot.park(place, random.below(2) == 0, [] {});
            const std::uint32_t bucket = kBucket + static_cast<std::uint32_t>(random.below(2));
            const auto count = static_cast<std::uint32_t>(random.below(3));
            notified += random.below(4) == 0 ? lot.notify_to_look(1, [](const Place&) { return true; })
                                             : lot.notify(&words[random.below(3)], bucket, count, kAny);
            for (;;) {
                Place* taken = lot.take_notified([](Place& p) { static_cast<Owner*>(p.owner)->deliveries.fetch_add(1); });
                if (taken == nullptr || random.below(3) == 0) break;
            }
            const Lot::Left left = lot.leave(place, [](bool) { return false; });
            const unsigned deliveries = owners[i].deliveries.load() - before;
            CHECK(deliveries <= 1, "delivered twice");
            CHECK(deliveries == 0 || left.notified);
            left_notified += left.notified;
            delivered += deliveries;
        }
    });
    CHECK_EQ(notified.load(), left_notified.load());
    CHECK(lot.empty() && !lot.has_notified());
    CHECK(delivered.load() != 0);
}

int main(int argc, char** argv) { return check::main(argc, argv); }
