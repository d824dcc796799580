// Ordered queues: order, stability, batches, bounds, messages, leases, limits, shutdown; then between threads and processes.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <queue>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <tuple>
#include <unistd.h>
#include <vector>

#include "check.hpp"
#include "ordered/sorted_line.hpp"

using namespace sorted_line;
using threads::Random;
using threads::run_threads;

namespace {

unsigned items() { return check::scale(check::sanitized ? 2000u : 20000u, check::sanitized ? 50000u : 500000u); }

struct Leased {
    Item item;
    LeaseName name;
};
Leased lease_one(const SortedLine& line, Basket& basket) {
    Leased leased;
    REQUIRE(line.lease(leased.item, leased.name, basket) == Result::done);
    CHECK(leased.item.intact);
    return leased;
}

/// A child of fork that runs the body and is killed once it has said that it is ready (by returning).
template <class Body>
void run_and_kill(Body body) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    const pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        check::watchdog(60);
        body();
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(ready[1]);
    char byte;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, nullptr, 0), pid);
}

constexpr std::uint64_t kOwnBlocks = 2;  // of an empty queue: itself and its table

}  // namespace

TEST(the_least_key_comes_first_and_equals_in_order_of_arrival) {
    const std::uint64_t blocks = audited_blocks();
    {
        SortedLine line;
        Basket basket;
        Random random(1);
        std::vector<std::tuple<std::string, std::uint32_t>> due;
        for (std::uint32_t n = 0; n < 2000; ++n) {
            const std::string key = key_of(random.below(100));
            CHECK_EQ(line.put(key, 1, n, n % 200), Result::done);
            due.emplace_back(key, n);
        }
        std::sort(due.begin(), due.end());
        CHECK_EQ(line.queue().size(), due.size());
        for (const auto& [key, n] : due) CHECK_EQ(line.take(basket).number, n);
        Item none;
        CHECK_EQ(line.try_get(none, basket), Result::empty);
        CHECK_EQ(line.queue().bytes(), 0u);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(keys_of_every_length_are_compared_as_bytes_then_by_length) {
    SortedLine line;
    Basket basket;
    std::vector<std::string> keys = {"", std::string(1, 0), std::string(2, 0), std::string(9, 0), "a", std::string("a\0", 2),
                                     std::string("a\0b", 3), "ab", "abcdefgh", std::string("abcdefgh\0", 9), "abcdefgha", "abcdefghb",
                                     "abcdefgi", "b", "\x7f", "\x80", "\xff", "\xff\xff", std::string(300, 'x'), std::string(301, 'x')};
    for (std::uint32_t lap = 0; lap < 20; ++lap) {
        Random random(lap);
        std::vector<std::uint32_t> shuffled(keys.size());
        for (std::uint32_t n = 0; n < keys.size(); ++n) shuffled[n] = n;
        for (std::size_t n = keys.size(); n > 1; --n) std::swap(shuffled[n - 1], shuffled[random.below(n)]);
        for (const std::uint32_t n : shuffled) line.put(keys[n], 1, n);
        std::string last;
        for (std::size_t n = 0; n < keys.size(); ++n) {
            const std::string key = keys.at(line.take(basket).number);
            CHECK(n == 0 || last < key);  // std::string compares as unsigned bytes
            last = key;
        }
    }
}

TEST(the_newest_comes_first_where_that_is_the_order) {
    SortedLine line(Order::newest_first);
    Basket basket;
    std::vector<std::uint32_t> stack;
    Random random(2);
    for (std::uint32_t n = 0; n < 3000; ++n) {
        if (!stack.empty() && random.below(3) == 0) {
            CHECK_EQ(line.take(basket).number, stack.back());
            stack.pop_back();
        }
        line.put("", 1, n);
        stack.push_back(n);
    }
    for (; !stack.empty(); stack.pop_back()) CHECK_EQ(line.take(basket).number, stack.back());
}

TEST(puts_and_gets_in_any_mixture_follow_a_model) {
    SortedLine line;
    Basket basket;
    using Model = std::pair<std::uint64_t, std::uint32_t>;
    std::priority_queue<Model, std::vector<Model>, std::greater<Model>> model;
    std::vector<std::pair<Model, LeaseName>> leases;
    Random random(3);
    for (std::uint32_t n = 0; n < items(); ++n) {
        switch (random.below(5)) {
            case 0:
            case 1: {
                const std::uint64_t key = random.below(1000);
                line.put(key_of(key), 1, n);
                model.emplace(key, n);
                break;
            }
            case 2:
                if (model.empty()) break;
                CHECK_EQ(line.take(basket).number, model.top().second);
                model.pop();
                break;
            case 3: {
                if (model.empty()) break;
                const Leased leased = lease_one(line, basket);
                CHECK_EQ(leased.item.number, model.top().second);
                leases.emplace_back(model.top(), leased.name);
                model.pop();
                break;
            }
            case 4:
                if (leases.empty()) break;
                std::swap(leases[random.below(leases.size())], leases.back());
                if (random.below(2) == 0) {
                    CHECK_EQ(line.ack(leases.back().second), Result::done);
                } else {
                    CHECK_EQ(line.nack(leases.back().second), Result::done);
                    model.push(leases.back().first);
                }
                leases.pop_back();
                break;
        }
        CHECK_EQ(line.queue().size(), model.size());
        CHECK_EQ(line.queue().leased(), leases.size());
    }
}

TEST(batches_are_put_and_taken_whole_or_in_parts) {
    SortedLine line;
    Basket basket;
    Records records;
    for (std::uint32_t n = 0; n < 1000; ++n) records.add(key_of((n * 7) % 1000), 1, (n * 7) % 1000, n % 50);
    CHECK_EQ(line.put(records), Result::done);
    CHECK_EQ(line.queue().size(), 1000u);
    std::uint32_t next = 0;
    for (std::uint32_t most = 1; next < 1000; ++most) {
        std::vector<Item> got;
        CHECK_EQ(line.get(got, basket, most), Result::done);
        CHECK(!got.empty() && got.size() <= most);
        for (const Item& item : got) CHECK_EQ(item.number, next++);
    }
    // What does not fit in the taker's room stays.
    for (std::uint32_t n = 0; n < 5; ++n) line.put(key_of(n), 1, n, kLargestFrame);
    std::vector<Item> got;
    CHECK_EQ(line.get(got, basket, 5, frame_bytes(kLargestFrame) * 2), Result::done);
    CHECK_EQ(got.size(), 2u);
    CHECK_EQ(line.queue().size(), 3u);
}

TEST(bounds_are_kept_and_a_larger_item_is_let_in_alone) {
    SortedLine few(Order::by_key, 3), light(Order::by_key, 0, 1000);
    Basket basket;
    for (std::uint32_t n = 0; n < 3; ++n) CHECK_EQ(few.try_put(key_of(n), 1, n), Result::done);
    CHECK_EQ(few.try_put(key_of(0), 1, 3), Result::full);
    few.take(basket);
    Records records;
    for (std::uint32_t n = 3; n < 8; ++n) records.add(key_of(n), 1, n, 10);
    Taken accepted;
    CHECK_EQ(few.try_put(records, accepted), Result::done);
    CHECK_EQ(accepted.items, 1u, "as many as fit");

    std::uint32_t count = 0;
    while (light.try_put(key_of(count), 1, count, 84) == Result::done) ++count;
    CHECK_EQ(count, 1000u / (frame_bytes(84) + 8), "keys count");
    for (std::uint32_t n = 0; n < count; ++n) light.take(basket);
    CHECK_EQ(light.put_message("", 1, 2, 100000), Result::done, "else it could never pass");
    CHECK_EQ(light.queue().bytes(), 100000u);
    CHECK_EQ(light.try_put("", 1, 3, 1), Result::full);
    CHECK_EQ(light.take(basket).size, 100000u);
    CHECK_EQ(light.try_put("", 1, 3, 1), Result::done);
}

TEST(large_items_are_messages_that_belong_to_their_item_until_it_is_taken) {
    const std::uint64_t blocks = audited_blocks();
    {
        SortedLine line;
        Basket basket;
        for (std::uint32_t n = 0; n < 10; ++n)
            CHECK_EQ(n % 3 == 2 ? line.put(key_of(n), 1, n, 100) : line.put_message(key_of(n), 1, n, 10000u * (n + 1)), Result::done);
        CHECK_EQ(audited_blocks(), blocks + kOwnBlocks + 10 + 7);
        for (std::uint32_t n = 0; n < 5; ++n) CHECK_EQ(line.take(basket).number, n);
        std::vector<Item> got;
        CHECK_EQ(line.get(got, basket, 10), Result::done);
        CHECK_EQ(got.size(), 1u, "a batch ends before a message");
        CHECK_EQ(audited_blocks(), blocks + kOwnBlocks + 4 + 3);
        const Leased leased = lease_one(line, basket);
        CHECK_EQ(leased.item.number, 6u);
        CHECK_EQ(line.nack(leased.name), Result::done);
        CHECK_EQ(line.take(basket).deliveries, 1u);
        CHECK_EQ(audited_blocks(), blocks + kOwnBlocks + 3 + 2);
    }
    CHECK_EQ(audited_blocks(), blocks, "what was never taken goes with the queue");
}

TEST(the_table_grows_and_shrinks_with_the_queue) {
    const std::uint64_t blocks = audited_blocks();
    SortedLine line;
    Basket basket;
    Random random(4);
    for (int lap = 0; lap < 2; ++lap) {
        std::vector<LeaseName> names;
        for (std::uint32_t n = 0; n < 3000; ++n) {
            line.put(key_of(random.below(50)), 1, n);
            if (n % 10 == 0) names.push_back(lease_one(line, basket).name);
        }
        for (std::uint32_t n = 0; n < 2700; ++n) line.take(basket);
        for (const LeaseName& name : names) CHECK_EQ(line.ack(name), Result::done);
        for (std::uint32_t n = 0; n < 20; ++n) line.put("", 1, n), line.take(basket);
        CHECK_EQ(audited_blocks(), blocks + kOwnBlocks);
        const auto* table = reinterpret_cast<treadle::ordered::Table<SharedWorld>*>(tree().arena.heap.resolve(line.state().table));
        CHECK_EQ(table->capacity, kFirstCapacity);
    }
}

TEST(counts_are_truthful) {
    SortedLine line;
    Basket basket;
    for (std::uint32_t n = 0; n < 7; ++n) line.put("", 1, n, 10);
    line.take(basket);
    const Leased leased = lease_one(line, basket);
    CHECK_EQ(line.queue().size(), 5u);
    CHECK_EQ(line.queue().puts(), 7u);
    CHECK_EQ(line.queue().taken(), 2u);
    CHECK_EQ(line.queue().leased(), 1u);
    CHECK_EQ(line.nack(leased.name), Result::done);
    CHECK_EQ(line.queue().taken(), 2u);
    CHECK_EQ(line.queue().unfinished(), 7u);
    CHECK_EQ(line.queue().bytes(), 6u * frame_bytes(10));
    CHECK_EQ(line.done(3), Result::done);
    CHECK_EQ(line.done(5), Result::overflow);
    CHECK(!line.would_join());
    CHECK_EQ(line.done(4), Result::done);
    CHECK(line.would_join());
    CHECK_EQ(line.done(1), Result::overflow);
    CHECK_EQ(line.done(~std::uint64_t{0}), Result::overflow);
    CHECK_EQ(line.ack(lease_one(line, basket).name), Result::done);
    CHECK_EQ(line.queue().unfinished(), 0u, "never more done than put");
}

TEST(an_item_given_back_has_its_old_place) {
    for (const Order order : {Order::by_key, Order::newest_first}) {
        SortedLine line(order);
        Basket basket;
        const bool newest = order == Order::newest_first;
        for (std::uint32_t n = 0; n < 6; ++n) line.put(newest ? "" : key_of(n / 3), 1, n);
        const auto due = [&](std::uint32_t n) { return newest ? 5 - n : n; };
        const Leased first = lease_one(line, basket), second = lease_one(line, basket), third = lease_one(line, basket);
        CHECK_EQ(third.item.number, due(2));
        CHECK_EQ(line.nack(second.name), Result::done);
        CHECK_EQ(line.nack(third.name), Result::done);
        CHECK_EQ(line.nack(first.name), Result::done);
        CHECK_EQ(line.nack(first.name), Result::gone);
        const Leased again = lease_one(line, basket);
        CHECK_EQ(again.item.number, due(0));
        CHECK_EQ(again.item.deliveries, 1u);
        CHECK_EQ(line.ack(first.name), Result::gone, "that lease has ended, though the item is on lease again");
        CHECK_EQ(line.nack(again.name), Result::done);
        for (std::uint32_t n = 0; n < 6; ++n) CHECK_EQ(line.take(basket).number, due(n));
        CHECK_EQ(line.state().redelivered.load(), 4u);
    }
}

TEST(a_name_that_is_no_lease_is_refused) {
    SortedLine line, other;
    Basket basket;
    CHECK_EQ(line.ack({}), Result::gone);
    line.put("", 1, 0);
    other.put("", 1, 0);
    const Leased leased = lease_one(line, basket), elsewhere = lease_one(other, basket);
    CHECK_EQ(line.ack(elsewhere.name), Result::gone);
    for (const LeaseName wrong : {LeaseName{leased.name.lease, leased.name.slot + 1}, LeaseName{leased.name.lease + 1, leased.name.slot},
                                  LeaseName{leased.name.lease, ~std::uint64_t{0}}, LeaseName{0, leased.name.slot},
                                  LeaseName{line.state().table, leased.name.slot}}) {
        CHECK_EQ(line.ack(wrong), Result::gone);
        CHECK_EQ(line.nack(wrong), Result::gone);
    }
    CHECK_EQ(line.ack(leased.name), Result::done);
    CHECK_EQ(line.ack(leased.name), Result::gone);
    CHECK_EQ(other.ack(elsewhere.name), Result::done);
}

TEST(another_thread_may_acknowledge_another_process_may_not) {
    SortedLine line;
    Basket basket;
    line.put("", 1, 0);
    line.put("", 1, 1);
    const Leased first = lease_one(line, basket), second = lease_one(line, basket);
    std::thread([&] { CHECK_EQ(line.ack(first.name), Result::done); }).join();
    const pid_t pid = fork();
    if (pid == 0) {
        check::watchdog(60);
        _exit(line.ack(second.name) == Result::gone && line.nack(second.name) == Result::gone ? 0 : 1);
    }
    int status = 0;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(line.ack(second.name), Result::done);
}

TEST(what_a_killed_process_had_on_lease_comes_back_to_its_place) {
    const std::uint64_t blocks = audited_blocks();
    {
        SortedLine line;
        Basket basket;
        for (std::uint32_t n = 0; n < 30; ++n)
            CHECK_EQ(n % 7 == 3 ? line.put_message(key_of(n), 1, n, 20000) : line.put(key_of(n), 1, n, 50), Result::done);
        run_and_kill([&] {
            for (int n = 0; n < 25; ++n) {
                const Leased leased = lease_one(line, basket);
                if (n % 5 == 0) line.ack(leased.name);
            }
        });
        CHECK_EQ(line.queue().leased(), 20u);
        Leased leased;
        CHECK_EQ(line.try_lease(leased.item, leased.name, basket, true), Result::done);
        CHECK_EQ(leased.item.number, 1u);
        CHECK_EQ(leased.item.deliveries, 1u);
        CHECK_EQ(line.ack(leased.name), Result::done);
        for (std::uint32_t n = 2; n < 30; ++n) {
            if (n < 25 && n % 5 == 0) continue;
            leased = lease_one(line, basket);
            CHECK_EQ(leased.item.number, n);
            CHECK_EQ(leased.item.deliveries, n < 25 ? 1u : 0u);
            CHECK_EQ(line.ack(leased.name), Result::done);
        }
        CHECK(line.would_join());
        CHECK_EQ(audited_blocks(), blocks + kOwnBlocks);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(a_full_arena_is_told_at_once_and_can_be_emptied_by_lease_or_get) {
    const std::uint64_t blocks = audited_blocks();
    {
        SortedLine line;
        Basket basket;
        auto& header = tree().arena.header();
        const std::uint64_t limit = header.limit_units.load() * kUnit;
        inside([&] { tree().arena.set_limit(header.backed_units.load() * kUnit); });
        std::uint32_t count = 0;
        while (line.put(key_of(count), 1, count, 8000) == Result::done) ++count;
        CHECK(count > 10u);
        CHECK_EQ(line.put(key_of(count), 1, count, 8000), Result::no_memory);
        CHECK_EQ(line.queue().size(), count);
        std::vector<LeaseName> names;
        for (std::uint32_t n = 0; n < count; ++n) {
            const Leased leased = lease_one(line, basket);
            CHECK_EQ(leased.item.number, n);
            names.push_back(leased.name);
        }
        for (const LeaseName& name : names) CHECK_EQ(line.nack(name), Result::done);
        for (std::uint32_t n = 0; n < 5; ++n) CHECK_EQ(line.take(basket).number, n);
        for (std::uint32_t n = 5; n < 10; ++n) CHECK_EQ(line.ack(lease_one(line, basket).name), Result::done);
        CHECK_EQ(line.put(key_of(count), 1, count, 8000), Result::done, "once memory is free again");
        inside([&] { tree().arena.set_limit(limit); });
        for (std::uint32_t n = 10; n <= count; ++n) CHECK_EQ(line.take(basket).number, n);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(after_a_shutdown_what_is_there_is_taken_or_at_once_thrown_away) {
    const std::uint64_t blocks = audited_blocks();
    {
        SortedLine line;
        Basket basket;
        line.put("", 1, 0);
        line.put_message("", 1, 1, 20000);
        line.shut_down(QueueMode::shut);
        CHECK_EQ(line.try_put("", 1, 2), Result::shut);
        CHECK_EQ(line.take(basket).number, 0u);
        CHECK_EQ(line.take(basket).number, 1u);
        Item none;
        CHECK_EQ(line.try_get(none, basket), Result::shut);
        CHECK(!line.would_join());
        CHECK_EQ(line.done(2), Result::done);
        CHECK(line.would_join());
    }
    {
        SortedLine line;
        Basket basket;
        for (std::uint32_t n = 0; n < 300; ++n) line.put(key_of(n), 1, n, 500);
        line.put_message("", 1, 300, 20000);
        line.shut_down(QueueMode::shut_now);
        line.shut_down(QueueMode::shut);
        CHECK(line.queue().mode() == QueueMode::shut_now, "it does not become milder");
        Item none;
        CHECK_EQ(line.try_get(none, basket), Result::shut);
        CHECK(line.would_join());
        while (line.discard() == Result::done) {
        }
        CHECK_EQ(line.discard(), Result::empty);
        CHECK_EQ(line.queue().size(), 0u);
        CHECK_EQ(line.queue().unfinished(), 0u);
        CHECK_EQ(audited_blocks(), blocks + kOwnBlocks);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(who_waits_after_a_shutdown_gets_what_comes_back) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        SortedLine line;
        line.put("", 1, 0);
        Basket basket;
        const Leased leased = lease_one(line, basket);
        line.shut_down(QueueMode::shut);
        std::atomic<unsigned> served{0};
        run_threads(3, [&](unsigned i) {
            Basket own;
            std::vector<Item> got;
            if (i == 0) CHECK_EQ(lap % 2 == 0 ? line.nack(leased.name) : line.ack(leased.name), Result::done);
            else if (line.get(got, own) == Result::done) served.fetch_add(1);
        });
        CHECK_EQ(served.load(), lap % 2 == 0 ? 1u : 0u);
    }
}

namespace {

struct Load {
    Order order;
    unsigned producers, consumers;
    std::uint64_t max_items, max_bytes;
    unsigned batch;    // items put and taken at once, at most
    unsigned largest;  // bytes of an item; some go as messages if more than a frame holds
    unsigned leased;   // in so many of 100 cases one is leased
};

/// Of each producer every item once; with keys that grow, a consumer sees a producer's items in order.
void carry(const Load& load) {
    SortedLine line(load.order, load.max_items, load.max_bytes);
    const unsigned each = items() / (load.producers * (load.largest > kLargestFrame ? 50 : 4)) + 1;
    std::vector<std::vector<std::atomic<unsigned char>>> seen(load.producers);
    for (auto& all : seen) all = std::vector<std::atomic<unsigned char>>(each);
    std::atomic<unsigned> left{load.producers};
    run_threads(load.producers + load.consumers, [&](unsigned i) {
        Random random(i + 1);
        if (i < load.producers) {
            for (unsigned n = 0; n < each;) {
                const auto size = random.below(load.largest + 1);
                if (size > kLargestFrame) {
                    CHECK_EQ(line.put_message(key_of(n), static_cast<int>(i), n, size), Result::done);
                    ++n;
                    continue;
                }
                Records records;
                for (unsigned k = 1 + static_cast<unsigned>(random.below(load.batch)); k != 0 && n < each; --k, ++n)
                    records.add(key_of(n), static_cast<int>(i), n,
                                static_cast<std::uint32_t>(random.below(std::min(load.largest, kLargestFrame) + 1)));
                CHECK_EQ(line.put(records), Result::done);
            }
            if (left.fetch_sub(1) == 1) line.shut_down(QueueMode::shut);
            return;
        }
        Basket basket;
        std::vector<std::uint32_t> next(load.producers);
        const auto add = [&](const Item& item, bool for_good) {
            CHECK(item.intact);
            // What another consumer gives back may be older than what this one has seen.
            const auto from = static_cast<std::size_t>(item.from);
            if (load.order == Order::by_key && load.leased == 0) {
                CHECK(item.number >= next.at(from), "out of order");
                next[from] = item.number + 1;
            }
            if (for_good) seen.at(from).at(item.number).fetch_add(1);
        };
        for (;;) {
            Result result;
            if (random.below(100) < load.leased) {
                Leased leased;
                result = line.lease(leased.item, leased.name, basket);
                if (result == Result::done) {
                    const bool ack = random.below(3) != 0;
                    add(leased.item, ack);
                    CHECK_EQ(ack ? line.ack(leased.name) : line.nack(leased.name), Result::done);
                }
            } else {
                std::vector<Item> got;
                result = line.get(got, basket, 1 + static_cast<std::uint32_t>(random.below(load.batch)));
                for (const Item& item : got) add(item, true);
            }
            if (result == Result::done) continue;
            CHECK_EQ(result, Result::shut);
            break;
        }
    });
    unsigned lost = 0, doubled = 0;
    for (const auto& all : seen)
        for (const auto& count : all) lost += count.load() == 0, doubled += count.load() > 1;
    CHECK_EQ(lost, 0u);
    CHECK_EQ(doubled, 0u);
    CHECK_EQ(line.queue().size(), 0u);
    CHECK_EQ(line.queue().bytes(), 0u);
    CHECK_EQ(line.queue().puts(), std::uint64_t{each} * load.producers);
    CHECK_EQ(line.queue().taken(), line.queue().puts());
}

}  // namespace

TEST(threads_carry_every_item_once) {
    const std::uint64_t blocks = audited_blocks();
    const Load loads[] = {
        {Order::by_key, 1, 1, 0, 0, 1, 20, 0},        {Order::by_key, 2, 2, 3, 0, 4, 20, 0},      {Order::by_key, 2, 2, 0, 500, 5, 100, 0},
        {Order::by_key, 1, 3, 1, 0, 1, 20, 30},       {Order::by_key, 3, 1, 0, 0, 100, 300, 30},  {Order::by_key, 2, 2, 0, 0, 3, 40000, 30},
        {Order::newest_first, 2, 2, 0, 0, 5, 100, 0}, {Order::newest_first, 2, 2, 4, 0, 2, 100, 30},
    };
    for (const Load& load : loads) {
        carry(load);
        CHECK_EQ(audited_blocks(), blocks);
    }
}

TEST(a_shutdown_wakes_everybody_who_waits) {
    for (const QueueMode mode : {QueueMode::shut, QueueMode::shut_now})
        for (unsigned lap = 0; lap < (check::sanitized ? 10u : 50u); ++lap) {
            SortedLine full(Order::by_key, 1), empty;
            full.put("", 1, 0);
            run_threads(5, [&](unsigned i) {
                Basket basket;
                std::vector<Item> got;
                if (i < 2) CHECK_EQ(full.put("", 1, 1), Result::shut);
                else if (i < 4) CHECK_EQ(empty.get(got, basket), Result::shut);
                else full.shut_down(mode), empty.shut_down(mode);
            });
        }
}

TEST(a_join_ends_with_the_last_item_done) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        SortedLine line(Order::newest_first);
        for (std::uint32_t n = 0; n < 20; ++n) line.put("", 1, n);
        std::atomic<unsigned> worked{0};
        run_threads(4, [&](unsigned i) {
            if (i < 2) {
                CHECK_EQ(line.join(), Result::done);
                CHECK_EQ(worked.load(), 20u);
                return;
            }
            Basket basket;
            Item item;
            LeaseName name;
            while (line.try_lease(item, name, basket) == Result::done) {
                worked.fetch_add(1);
                CHECK_EQ(line.ack(name), Result::done);
            }
        });
    }
}

TEST(processes_carry_every_item_once) {
    constexpr unsigned kProducers = 2, kConsumers = 2;
    const std::uint64_t blocks = audited_blocks();
    const unsigned each = items() / 10;
    const std::size_t bytes = kProducers * each;
    auto* seen = static_cast<std::atomic<unsigned char>*>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    REQUIRE(seen != MAP_FAILED);
    {
        SortedLine line(Order::by_key, 50);
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
                    const auto from = static_cast<int>(i);
                    if ((n % 50 == 0 ? line.put_message(key_of(n), from, n, 10000) : line.put(key_of(n), from, n, n % 300)) != Result::done)
                        _exit(2);
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
