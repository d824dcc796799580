// The by-value queue: order, batches, bounds, messages, limits, shutdown; then between threads and processes.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <sys/mman.h>
#include <sys/wait.h>
#include <vector>

#include "check.hpp"
#include "ring/line.hpp"

using namespace line;
using threads::Random;
using threads::run_threads;

namespace {

unsigned items() { return check::scale(check::sanitized ? 2000u : 20000u, check::sanitized ? 50000u : 1000000u); }

Item take_one(const Line& line, Basket& basket) {
    std::vector<Item> got;
    REQUIRE(line.get(got, basket) == Result::done);
    CHECK_EQ(got.size(), 1u);
    CHECK(got[0].intact);
    return got[0];
}

/// Of each producer every item once, and a consumer sees a producer's items in the order in which they were put.
class Account {
public:
    Account(unsigned producers, unsigned each) : seen_(producers, std::vector<unsigned char>(each)) {}

    class Consumer {
    public:
        explicit Consumer(Account& account) : account_(account), next_(account.seen_.size()) {}
        void add(const Item& item) {
            CHECK(item.intact, item.from, '/', item.number);
            auto& next = next_.at(static_cast<std::size_t>(item.from));
            CHECK(item.number >= next, "out of order");
            next = item.number + 1;
            mine_.push_back(item);
        }
        ~Consumer() {
            const std::lock_guard lock(account_.mutex_);
            for (const Item& item : mine_) ++account_.seen_.at(static_cast<std::size_t>(item.from)).at(item.number);
        }

    private:
        Account& account_;
        std::vector<std::uint32_t> next_;
        std::vector<Item> mine_;
    };

    void check_complete() const {
        unsigned lost = 0, doubled = 0;
        for (const auto& producer : seen_)
            for (const unsigned count : producer) lost += count == 0, doubled += count > 1;
        CHECK_EQ(lost, 0u);
        CHECK_EQ(doubled, 0u);
    }

private:
    friend class Consumer;
    std::mutex mutex_;
    std::vector<std::vector<unsigned char>> seen_;
};

struct Load {
    unsigned producers, consumers;
    std::uint64_t max_items, max_bytes;
    unsigned batch;         // items put and taken at once, at most
    unsigned largest;       // bytes of an item; some go as messages if more than a frame holds
};

void carry(const Load& load) {
    Line line(load.max_items, load.max_bytes);
    const unsigned each = items() / (load.producers * (load.largest > kLargestFrame ? 50 : load.largest > 1000 ? 10 : 1)) + 1;
    Account account(load.producers, each);
    std::atomic<unsigned> left{load.producers};
    run_threads(load.producers + load.consumers, [&](unsigned i) {
        Random random(i + 1);
        if (i < load.producers) {
            for (unsigned n = 0; n < each;) {
                const auto size = random.below(load.largest + 1);
                if (size > kLargestFrame || (load.largest > kLargestFrame && random.below(4) == 0)) {
                    CHECK_EQ(line.put_message(static_cast<int>(i), n++, size), Result::done);
                    continue;
                }
                Frames frames;
                for (unsigned k = 1 + static_cast<unsigned>(random.below(load.batch)); k != 0 && n < each; --k)
                    frames.add(static_cast<int>(i), n++, static_cast<std::uint32_t>(random.below(std::min(load.largest, kLargestFrame) + 1)));
                CHECK_EQ(line.put(frames), Result::done);
            }
            if (left.fetch_sub(1) == 1) line.shut_down(QueueMode::shut);
            return;
        }
        Account::Consumer consumer(account);
        Basket basket;
        std::vector<Item> got;
        for (;;) {
            got.clear();
            const Result result = line.get(got, basket, 1 + static_cast<std::uint32_t>(random.below(load.batch)));
            if (result != Result::done) {
                CHECK_EQ(result, Result::shut);
                break;
            }
            CHECK(got.size() != 0 && got.size() <= load.batch);
            for (const Item& item : got) consumer.add(item);
        }
    });
    account.check_complete();
    CHECK_EQ(line.queue().size(), 0u);
    CHECK_EQ(line.queue().bytes(), 0u);
    CHECK_EQ(line.queue().puts(), std::uint64_t{each} * load.producers);
}

}  // namespace

TEST(items_of_every_size_come_out_in_order) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        CHECK_EQ(line.queue().size(), 0u);
        Item none;
        CHECK_EQ(line.try_get(none, basket), Result::empty);
        std::vector<std::uint32_t> sizes = {0, 1, 7, 8, 9, 4000, kLargestFrame - 1, kLargestFrame};
        for (std::uint32_t size = 0; size < 300; ++size) sizes.push_back(size * 27);
        for (std::uint32_t n = 0; n < sizes.size(); ++n) CHECK_EQ(line.put(1, n, sizes[n]), Result::done);
        CHECK_EQ(line.queue().size(), sizes.size());
        for (std::uint32_t n = 0; n < sizes.size(); ++n) {
            const Item item = take_one(line, basket);
            CHECK_EQ(item.number, n);
            CHECK_EQ(item.size, sizes[n]);
            CHECK_EQ(item.deliveries, 0u);
        }
        CHECK_EQ(line.queue().bytes(), 0u);
        CHECK_EQ(line.try_get(none, basket), Result::empty);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(batches_are_put_and_taken_whole_or_in_parts) {
    Line line;
    Basket basket;
    Frames frames;
    for (std::uint32_t n = 0; n < 1000; ++n) frames.add(1, n, n % 50);
    CHECK_EQ(line.put(frames), Result::done);
    CHECK_EQ(line.queue().size(), 1000u);
    std::uint32_t next = 0;
    for (std::uint32_t most = 1; next < 1000; ++most) {
        std::vector<Item> got;
        CHECK_EQ(line.get(got, basket, most), Result::done);
        CHECK(!got.empty() && got.size() <= most);
        for (const Item& item : got) CHECK_EQ(item.number, next++);
    }
    // What does not fit in the taker's room stays.
    for (std::uint32_t n = 0; n < 5; ++n) line.put(1, n, kLargestFrame);
    std::vector<Item> got;
    CHECK_EQ(line.get(got, basket, 5, frame_bytes(kLargestFrame) * 2), Result::done);
    CHECK_EQ(got.size(), 2u);
    CHECK_EQ(line.queue().size(), 3u);
}

TEST(a_bound_on_items_is_kept) {
    Line line(3);
    Basket basket;
    for (std::uint32_t n = 0; n < 3; ++n) CHECK_EQ(line.try_put(1, n, 10), Result::done);
    CHECK_EQ(line.try_put(1, 3, 10), Result::full);
    CHECK_EQ(take_one(line, basket).number, 0u);
    Frames frames;
    for (std::uint32_t n = 3; n < 8; ++n) frames.add(1, n, 10);
    Taken accepted;
    CHECK_EQ(line.try_put(frames, accepted), Result::done);
    CHECK_EQ(accepted.items, 1u, "as many as fit");
    CHECK_EQ(line.queue().size(), 3u);
    for (std::uint32_t n = 1; n < 4; ++n) CHECK_EQ(take_one(line, basket).number, n);
}

TEST(a_bound_on_bytes_is_kept_and_lets_a_larger_item_in_alone) {
    Line line(0, 1000);
    Basket basket;
    std::uint32_t count = 0;
    while (line.try_put(1, count, 84) == Result::done) ++count;
    CHECK_EQ(count, 1000u / frame_bytes(84));
    CHECK(line.queue().bytes() <= 1000u);
    for (std::uint32_t n = 0; n < count; ++n) take_one(line, basket);
    CHECK_EQ(line.try_put(1, 0, 5000), Result::done, "else it could never pass");
    CHECK_EQ(line.try_put(1, 1, 1), Result::full);
    CHECK_EQ(take_one(line, basket).size, 5000u);
    CHECK_EQ(line.put_message(1, 2, 100000), Result::done);
    CHECK(line.queue().bytes() >= 100000u, "a message counts with its bytes");
    CHECK_EQ(line.try_put(1, 3, 1), Result::full);
    CHECK_EQ(take_one(line, basket).size, 100000u);
    CHECK_EQ(line.try_put(1, 3, 1), Result::done);
}

TEST(large_items_are_messages_that_belong_to_the_queue_until_they_are_taken) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        for (std::uint32_t n = 0; n < 10; ++n)
            CHECK_EQ(n % 3 == 2 ? line.put(1, n, 100) : line.put_message(1, n, 10000u * (n + 1)), Result::done);
        CHECK_EQ(audited_blocks(), blocks + 2 + 7);
        for (std::uint32_t n = 0; n < 5; ++n) CHECK_EQ(take_one(line, basket).number, n);
        std::vector<Item> got;
        CHECK_EQ(line.get(got, basket, 10), Result::done);
        CHECK_EQ(got.size(), 1u, "a batch ends before a message");
        CHECK_EQ(audited_blocks(), blocks + 2 + 3);
    }
    CHECK_EQ(audited_blocks(), blocks, "what was never taken goes with the queue");
}

TEST(an_item_of_a_hundred_megabytes_passes) {
    Line line;
    Basket basket;
    const std::uint64_t size = check::sanitized ? 10u << 20 : 100u << 20;
    CHECK_EQ(line.put_message(1, 0, size), Result::done);
    const Item item = take_one(line, basket);
    CHECK_EQ(item.size, size);
}

TEST(an_unbounded_queue_grows_and_shrinks_again) {
    const std::uint64_t blocks = audited_blocks();
    Line line;
    Basket basket;
    const std::uint64_t empty = audited_blocks();
    for (int lap = 0; lap < 2; ++lap) {
        for (std::uint32_t n = 0; n < 3000; ++n) line.put(1, n, 500);
        CHECK(audited_blocks() > empty + 20);
        for (std::uint32_t n = 0; n < 3000; ++n) CHECK_EQ(take_one(line, basket).number, n);
        CHECK_EQ(audited_blocks(), empty);
    }
    CHECK_EQ(empty, blocks + 2);
}

TEST(counts_are_truthful) {
    Line line(100);
    Basket basket;
    for (std::uint32_t n = 0; n < 7; ++n) line.put(1, n, 10);
    take_one(line, basket);
    CHECK_EQ(line.queue().size(), 6u);
    CHECK_EQ(line.queue().puts(), 7u);
    CHECK_EQ(line.queue().taken(), 1u);
    CHECK_EQ(line.queue().unfinished(), 7u);
    CHECK_EQ(line.queue().bytes(), 6u * frame_bytes(10));
    CHECK_EQ(line.done(3), Result::done);
    CHECK_EQ(line.queue().unfinished(), 4u);
    CHECK_EQ(line.done(5), Result::overflow);
    CHECK(!line.would_join());
    CHECK_EQ(line.done(4), Result::done);
    CHECK(line.would_join());
    CHECK_EQ(line.done(1), Result::overflow);
    CHECK_EQ(line.done(~std::uint64_t{0}), Result::overflow);
}

TEST(after_a_shutdown_nothing_is_put_and_what_is_there_is_taken) {
    Line line;
    Basket basket;
    line.put(1, 0, 10);
    line.put_message(1, 1, 20000);
    line.shut_down(QueueMode::shut);
    CHECK(line.queue().mode() == QueueMode::shut);
    CHECK_EQ(line.try_put(1, 2, 10), Result::shut);
    CHECK_EQ(take_one(line, basket).number, 0u);
    CHECK_EQ(take_one(line, basket).number, 1u);
    Item none;
    CHECK_EQ(line.try_get(none, basket), Result::shut);
    line.shut_down(QueueMode::shut);
    CHECK_EQ(line.try_get(none, basket), Result::shut);
    CHECK(!line.would_join());
    CHECK_EQ(line.done(2), Result::done);
    CHECK(line.would_join());
}

TEST(a_shutdown_at_once_throws_away_what_is_there) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        for (std::uint32_t n = 0; n < 300; ++n) line.put(1, n, 500);
        line.put_message(1, 300, 20000);
        line.shut_down(QueueMode::shut_now);
        line.shut_down(QueueMode::shut);
        CHECK(line.queue().mode() == QueueMode::shut_now, "it does not become milder");
        Item none;
        CHECK_EQ(line.try_get(none, basket), Result::shut);
        CHECK(line.would_join());
        for (int n = 0; n < 301; ++n) CHECK_EQ(line.discard(basket), Result::done);
        CHECK_EQ(line.discard(basket), Result::empty);
        CHECK_EQ(line.queue().size(), 0u);
        CHECK_EQ(line.queue().unfinished(), 0u);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(the_arena_s_limit_is_told_at_once_and_all_goes_on_afterwards) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        auto& header = tree().arena.header();
        const std::uint64_t limit = header.limit_units.load() * kUnit;
        inside([&] { tree().arena.set_limit(header.backed_units.load() * kUnit); });
        std::uint32_t count = 0;
        while (line.put(1, count, 8000) == Result::done) ++count;
        CHECK(count > 0u);
        CHECK_EQ(line.put(1, count, 8000), Result::no_memory);
        CHECK_EQ(line.queue().size(), count);
        CHECK_EQ(take_one(line, basket).number, 0u);
        for (std::uint32_t n = 1; n < 50 && n < count; ++n) CHECK_EQ(take_one(line, basket).number, n);
        CHECK_EQ(line.put(1, count, 8000), Result::done, "once memory is free again");
        inside([&] { tree().arena.set_limit(limit); });
        for (std::uint32_t n = std::min(50u, count); n <= count; ++n) CHECK_EQ(take_one(line, basket).number, n);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(threads_carry_every_item_once_and_in_order) {
    const std::uint64_t blocks = audited_blocks();
    const Load loads[] = {
        {1, 1, 0, 0, 1, 20},       {1, 1, 1, 0, 1, 20},         {1, 1, 5, 0, 3, 3000},   {3, 1, 2, 0, 1, 20},
        {1, 3, 2, 0, 1, 20},       {2, 2, 0, 0, 20, 200},       {2, 2, 10, 0, 20, 200},  {2, 2, 0, 500, 5, 100},
        {2, 2, 0, 20000, 5, 8192}, {2, 2, 0, 0, 3, 40000},      {2, 2, 4, 0, 3, 40000},  {2, 2, 0, 50000, 3, 40000},
        {4, 4, 3, 0, 2, 100},
    };
    for (const Load& load : loads) {
        carry(load);
        CHECK_EQ(audited_blocks(), blocks);
    }
}

TEST(two_threads_take_turns) {
    Line ping, pong;
    run_threads(2, [&](unsigned i) {
        Basket basket;
        for (std::uint32_t n = 0; n < items() / 4; ++n) {
            if (i == 0) CHECK_EQ(ping.put(1, n, 8), Result::done);
            CHECK_EQ(take_one(i == 0 ? pong : ping, basket).number, n);
            if (i == 1) CHECK_EQ(pong.put(1, n, 8), Result::done);
        }
    });
}

TEST(the_size_is_never_out_of_bounds) {
    constexpr unsigned kBound = 3;
    Line line(kBound);
    std::atomic<bool> ended{false};
    run_threads(3, [&](unsigned i) {
        Basket basket;
        for (std::uint32_t n = 0; i == 0 && n < items(); ++n) line.put(1, n, 8);
        for (std::uint32_t n = 0; i == 1 && n < items(); ++n) CHECK_EQ(take_one(line, basket).number, n);
        if (i == 1) ended.store(true);
        std::uint64_t last = 0;
        while (i == 2 && !ended.load()) {
            CHECK(line.queue().size() <= kBound);
            CHECK(line.queue().bytes() <= kBound * frame_bytes(8));
            const std::uint64_t puts = line.queue().puts();
            CHECK(puts >= last);
            last = puts;
        }
    });
}

TEST(a_shutdown_at_any_time_loses_nothing_that_was_put) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        Line line(lap % 3);
        std::atomic<unsigned> put{0}, taken{0};
        run_threads(5, [&](unsigned i) {
            Basket basket;
            std::vector<Item> got;
            if (i == 4) {
                while (put.load() < lap) std::this_thread::yield();
                line.shut_down(QueueMode::shut);
                return;
            }
            Result result;
            if (i < 2) {
                for (std::uint32_t n = 0; (result = line.put(static_cast<int>(i), n, 8)) == Result::done; ++n) put.fetch_add(1);
            } else {
                while ((result = line.get(got, basket)) == Result::done) taken.fetch_add(1);
                CHECK_EQ(line.queue().size(), 0u, "nothing comes after the end");
            }
            CHECK_EQ(result, Result::shut);
        });
        CHECK_EQ(taken.load(), put.load());
    }
}

TEST(a_shutdown_wakes_everybody_who_waits) {
    for (const QueueMode mode : {QueueMode::shut, QueueMode::shut_now})
        for (unsigned lap = 0; lap < (check::sanitized ? 10u : 50u); ++lap) {
            Line full(1), empty;
            full.put(1, 0, 8);
            run_threads(5, [&](unsigned i) {
                Basket basket;
                std::vector<Item> got;
                if (i < 2) CHECK_EQ(full.put(1, 1, 8), Result::shut);
                else if (i < 4) CHECK_EQ(empty.get(got, basket), Result::shut);
                else full.shut_down(mode), empty.shut_down(mode);
            });
            if (mode == QueueMode::shut_now) CHECK_EQ(full.join(), Result::done);
        }
}

TEST(a_join_ends_with_the_last_item_done) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        Line line;
        for (std::uint32_t n = 0; n < 20; ++n) line.put(1, n, 8);
        std::atomic<unsigned> worked{0};
        run_threads(4, [&](unsigned i) {
            if (i < 2) {
                CHECK_EQ(line.join(), Result::done);
                CHECK_EQ(worked.load(), 20u);
                return;
            }
            Basket basket;
            Item item;
            while (line.try_get(item, basket) == Result::done) {
                worked.fetch_add(1);
                CHECK_EQ(line.done(1), Result::done);
            }
        });
    }
}

TEST(a_join_ends_at_a_shutdown_at_once) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        Line line;
        line.put(1, 0, 8);
        run_threads(3, [&](unsigned i) {
            if (i == 2) line.shut_down(QueueMode::shut_now);
            else CHECK_EQ(line.join(), Result::done);
        });
    }
}

TEST(processes_carry_every_item_once_and_in_order) {
    constexpr unsigned kProducers = 2, kConsumers = 2;
    const std::uint64_t blocks = audited_blocks();
    const unsigned each = items() / 10;
    const std::size_t bytes = kProducers * each;
    auto* seen = static_cast<std::atomic<unsigned char>*>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    REQUIRE(seen != MAP_FAILED);
    {
        Line line(50);
        std::vector<pid_t> children;
        for (unsigned i = 0; i < kProducers + kConsumers; ++i) {
            const pid_t pid = fork();
            REQUIRE(pid >= 0);
            if (pid != 0) {
                children.push_back(pid);
                continue;
            }
            check::watchdog(60);
            if (i < kProducers) {
                for (std::uint32_t n = 0; n < each; ++n) {
                    const Result result = n % 50 == 0 ? line.put_message(static_cast<int>(i), n, 10000) : line.put(static_cast<int>(i), n, n % 300);
                    if (result != Result::done) _exit(2);
                }
                _exit(check::failures() == 0 ? 0 : 3);
            }
            Basket basket;
            std::vector<Item> got;
            std::uint32_t next[kProducers]{};
            while (line.get(got, basket, 5) == Result::done)
                for (; !got.empty(); got.erase(got.begin())) {
                    const Item& item = got.front();
                    if (!item.intact || item.number < next[item.from]) _exit(4);
                    next[item.from] = item.number + 1;
                    seen[static_cast<unsigned>(item.from) * each + item.number].fetch_add(1);
                }
            _exit(check::failures() == 0 ? 0 : 3);
        }
        for (unsigned i = 0; i < children.size(); ++i) {
            if (i == kProducers) line.shut_down(QueueMode::shut);
            int status = 0;
            CHECK_EQ(waitpid(children[i], &status, 0), children[i]);
            CHECK_EQ(status, 0);
        }
        CHECK_EQ(line.queue().size(), 0u);
    }
    unsigned wrong = 0;
    for (std::size_t i = 0; i < bytes; ++i) wrong += seen[i].load() != 1;
    CHECK_EQ(wrong, 0u);
    munmap(static_cast<void*>(seen), bytes);
    CHECK_EQ(audited_blocks(), blocks);
}

int main(int argc, char** argv) {
    Mapping::install();
    return check::main(argc, argv);
}
