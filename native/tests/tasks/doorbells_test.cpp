// Doorbells: subscriptions, rings and what is collected; whom a wake reaches, in which turn; and real sleepers.
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/tasks/doorbells.hpp"

using namespace threads;

namespace {

constexpr int kAll = treadle::word::kWakeAll;

constexpr std::uint32_t kSleepers = 1;  // the bits by which they are told from who sleeps on a bell

// The real world, but who sleeps on a word is what the test says.
struct Staged : SharedWorld {
    static inline std::vector<std::pair<const void*, int>> woken;
    static inline int sleepers = 0;
    static int wake_threads(const void* word, int count, std::uint32_t bits = kAllBits) noexcept {
        woken.push_back({word, count});
        if (bits != kSleepers) return 0;
        const int all = sleepers < count ? sleepers : count;
        sleepers -= all;
        return all;
    }
    static int calls(const void* word) {
        int sum = 0;
        for (const auto& each : woken) sum += each.first == word;
        return sum;
    }
};

template <class World>
struct Tower {
    std::unique_ptr<treadle::arena::Header<World>> header{new treadle::arena::Header<World>{}};
    treadle::tasks::Doorbells<World> bells{*header};
    std::uint32_t word = 0;

    explicit Tower(std::uint32_t reactors) { header->reactor_limit.store(reactors); }
    using Rings = std::vector<std::pair<std::uint32_t, bool>>;
    Rings collect(std::uint32_t reactor) {
        Rings rings;
        bells.collect(reactor, [&](std::uint32_t bucket, bool all) { rings.push_back({bucket, all}); });
        return rings;
    }
    /// Returns how often this process's own tasks were asked for.
    std::uint32_t wake(int count, std::uint32_t bucket = 9, std::uint32_t own = treadle::arena::kReactors, std::uint32_t tasks = 0) {
        std::uint32_t asked = 0;
        bells.wake(&word, bucket, count, kSleepers, own, [&](std::uint32_t most) {
            asked += most;
            return tasks;
        });
        return asked;
    }
};
using Rings = Tower<Staged>::Rings;

void stage(int sleepers) {
    Staged::woken.clear();
    Staged::sleepers = sleepers;
}

}  // namespace

TEST(buckets_are_within_their_number_and_spread) {
    std::vector<unsigned> hits(treadle::tasks::kBuckets);
    for (std::uint64_t at = 0; at < 64 * 1024; at += 16) ++hits.at(treadle::tasks::bucket_of(at));
    for (const unsigned each : hits) CHECK(each >= 4 && each <= 16, each, " of 4096 in one of 512");
}

TEST(a_ring_is_heard_once_and_by_who_is_subscribed) {
    stage(0);
    Tower<Staged> tower(3);
    for (const std::uint32_t bucket : {0u, 63u, 64u, 511u}) {
        const std::uint32_t bell = tower.bells.bell(1);
        tower.bells.subscribe(1, bucket);
        tower.wake(1, bucket);
        CHECK_EQ(tower.bells.bell(1), bell + 1);
        CHECK(Staged::calls(tower.bells.futex(1)) != 0);
        CHECK(tower.bells.is_rung(1, bucket) && !tower.bells.is_rung(2, bucket));
        CHECK(tower.collect(2).empty() && tower.collect(0).empty());
        CHECK(tower.collect(1) == (Rings{{bucket, false}}));
        CHECK(tower.collect(1).empty() && !tower.bells.is_rung(1, bucket));
        CHECK(!tower.bells.unsubscribe(1, bucket));
        tower.wake(1, bucket);
        tower.wake(kAll, bucket);
        CHECK(tower.collect(1).empty(), "not subscribed any more");
        CHECK_EQ(tower.bells.bell(1), bell + 1);
    }
}

TEST(a_subscription_is_taken_back_alone_and_says_what_was_rung) {
    stage(0);
    Tower<Staged> tower(128);
    for (const std::uint32_t reactor : {0u, 63u, 64u, 127u}) tower.bells.subscribe(reactor, 9);
    tower.bells.subscribe(64, 10);
    tower.bells.subscribe(64, 9);
    tower.wake(kAll);
    CHECK(tower.bells.unsubscribe(64, 9));
    CHECK(!tower.bells.unsubscribe(64, 10));
    CHECK(tower.collect(64) == (Rings{{9, true}}));
    for (const std::uint32_t reactor : {0u, 63u, 127u}) {
        CHECK(tower.collect(reactor) == (Rings{{9, true}}));
        tower.wake(kAll);
        CHECK(tower.collect(reactor) == (Rings{{9, true}}), "the others stay");
    }
    CHECK(tower.collect(64).empty());
}

TEST(without_reactors_only_threads_are_woken) {
    stage(1);
    Tower<Staged> tower(0);
    tower.bells.subscribe(0, 9);
    CHECK_EQ(tower.wake(1, 9, 0, 1), 0u);
    CHECK_EQ(Staged::calls(&tower.word), 1);
    CHECK(tower.collect(0).empty());
}

TEST(a_wake_for_one_reaches_one_thread_or_one_process) {
    Tower<Staged> tower(4);
    for (const std::uint32_t reactor : {1u, 3u}) tower.bells.subscribe(reactor, 9);
    unsigned threads = 0, rings[4] = {};
    for (int lap = 0; lap < 64; ++lap) {
        stage(1);
        tower.wake(1);
        unsigned reached = Staged::sleepers == 0;
        threads += Staged::sleepers == 0;
        for (std::uint32_t reactor = 0; reactor < 4; ++reactor) {
            const std::size_t heard = tower.collect(reactor).size();
            rings[reactor] += static_cast<unsigned>(heard);
            reached += static_cast<unsigned>(heard);
        }
        CHECK_EQ(reached, 1u);
    }
    CHECK_EQ(threads, 32u, "every other one");
    CHECK(rings[1] + rings[3] == 32 && rings[1] >= 12 && rings[3] >= 12, "in turn: ", rings[1], " and ", rings[3]);
}

TEST(a_wake_for_one_goes_to_whoever_is_there) {
    for (int turn = 0; turn < 2; ++turn) {
        Tower<Staged> threads(2), tasks(2), own(2), nobody(2);
        for (auto* each : {&threads, &tasks, &own, &nobody}) each->header->wakes.store(static_cast<std::uint32_t>(turn));
        stage(1);
        threads.wake(1);
        CHECK_EQ(Staged::sleepers, 0);
        stage(0);
        tasks.bells.subscribe(1, 9);
        tasks.wake(1);
        CHECK(tasks.collect(1) == (Rings{{9, false}}));
        own.bells.subscribe(0, 9);
        CHECK_EQ(own.wake(1, 9, 0, 1), 1u);
        CHECK(own.collect(0).empty(), "this process's own tasks are told directly");
        stage(1);
        CHECK_EQ(own.wake(1, 9, 0, 0), turn == 0 ? 1u : 0u, "its tasks have gone, or the thread was first");
        CHECK_EQ(Staged::sleepers, 0);
        stage(0);
        nobody.wake(1);
    }
}

TEST(a_wake_for_several_reaches_all) {
    for (const int count : {2, kAll}) {
        stage(5);
        Tower<Staged> tower(4);
        for (const std::uint32_t reactor : {0u, 1u, 3u}) tower.bells.subscribe(reactor, 9);
        CHECK_EQ(tower.wake(count, 9, 1), static_cast<std::uint32_t>(count));
        CHECK_EQ(Staged::sleepers, count == kAll ? 0 : 3);
        CHECK(tower.collect(0) == (Rings{{9, true}}));
        CHECK(tower.collect(1).empty());
        CHECK(tower.collect(3) == (Rings{{9, true}}));
    }
}

// A reactor's thread for each of some processes, which sleeps on its bell; wakers ring. All wakes for one are heard.
TEST(reactors_that_sleep_miss_no_ring) {
    constexpr std::uint32_t kReactors = 3;
    const unsigned rounds = check::scale(check::sanitized ? 500u : 5000u, 50000u);
    Tower<SharedWorld> tower(kReactors);
    for (std::uint32_t reactor = 0; reactor < kReactors; ++reactor) tower.bells.subscribe(reactor, 9 + reactor);
    std::atomic<unsigned> heard[kReactors] = {};
    run_threads(kReactors + 1, [&](unsigned i) {
        if (i < kReactors) {
            for (unsigned n = 0; n < rounds;) {
                const std::uint32_t bell = tower.bells.bell(i);
                const unsigned before = n;
                for (const auto& ring : tower.collect(i)) {
                    CHECK_EQ(ring.first, 9 + i);
                    ++n;
                }
                heard[i].store(n);
                if (n == before && SharedWorld::wait(tower.bells.futex(i), bell, kPatience) == FutexWait::timeout)
                    CHECK(false, "a ring was lost");
            }
            return;
        }
        for (unsigned n = 0; n < rounds; ++n) {
            for (std::uint32_t reactor = 0; reactor < kReactors; ++reactor) tower.wake(n % 3 == 0 ? kAll : 1, 9 + reactor);
            // The next round only when this one was heard: two rings may be heard as one.
            for (const auto& each : heard) await([&] { return each.load() == n + 1; });
        }
    });
}

int main(int argc, char** argv) { return check::main(argc, argv); }
