// Items on lease: acknowledged, given back, delivered again; their holders' deaths; then between threads and processes.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "check.hpp"
#include "ring/line.hpp"

using namespace line;
using threads::Random;
using threads::run_threads;

namespace {

unsigned items() { return check::scale(check::sanitized ? 1000u : 8000u, check::sanitized ? 20000u : 300000u); }

struct Leased {
    Item item;
    LeaseName name;
};
Leased lease_one(const Line& line, Basket& basket) {
    Leased leased;
    REQUIRE(line.lease(leased.item, leased.name, basket) == Result::done);
    CHECK(leased.item.intact);
    return leased;
}
Item take_one(const Line& line, Basket& basket) {
    std::vector<Item> got;
    REQUIRE(line.get(got, basket) == Result::done);
    CHECK(got.size() == 1 && got[0].intact);
    return got[0];
}

/// The kernel kills this process in so many nanoseconds, wherever it is by then.
bool die_soon(long nanoseconds) {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    timer_t timer;
    const itimerspec due{{}, {0, nanoseconds}};
    return timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &due, nullptr) == 0;
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

}  // namespace

TEST(an_acknowledged_item_is_gone_and_done) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        line.put(1, 0, 100);
        const Leased leased = lease_one(line, basket);
        CHECK_EQ(leased.item.deliveries, 0u);
        CHECK_EQ(line.queue().size(), 0u);
        CHECK_EQ(line.state().leased.load(), 1u);
        CHECK_EQ(line.queue().unfinished(), 1u);
        CHECK(!line.would_join());
        CHECK_EQ(line.ack(leased.name), Result::done);
        CHECK_EQ(line.state().leased.load(), 0u);
        CHECK(line.would_join());
        CHECK_EQ(line.ack(leased.name), Result::gone);
        CHECK_EQ(line.nack(leased.name), Result::gone);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(an_item_given_back_is_delivered_again_before_newer_ones) {
    Line line;
    Basket basket;
    for (std::uint32_t n = 0; n < 4; ++n) line.put(1, n, 10);
    const Leased first = lease_one(line, basket), second = lease_one(line, basket);
    CHECK_EQ(second.item.number, 1u);
    CHECK_EQ(line.nack(second.name), Result::done);
    CHECK_EQ(line.nack(first.name), Result::done);
    CHECK_EQ(line.nack(first.name), Result::gone);
    CHECK_EQ(line.queue().size(), 4u);
    const Leased again = lease_one(line, basket);
    CHECK_EQ(again.item.number, 0u, "the oldest first");
    CHECK_EQ(again.item.deliveries, 1u);
    CHECK_EQ(line.nack(again.name), Result::done);
    const Leased third = lease_one(line, basket);
    CHECK_EQ(third.item.number, 0u);
    CHECK_EQ(third.item.deliveries, 2u);
    CHECK_EQ(take_one(line, basket).number, 1u, "a get takes one for good");
    CHECK_EQ(take_one(line, basket).number, 2u);
    CHECK_EQ(line.nack(third.name), Result::done);
    CHECK_EQ(take_one(line, basket).number, 0u);
    CHECK_EQ(take_one(line, basket).number, 3u);
    CHECK_EQ(line.queue().size(), 0u);
    CHECK_EQ(line.state().redelivered.load(), 4u);
}

TEST(a_name_that_is_no_lease_is_refused) {
    Line line, other;
    Basket basket;
    CHECK_EQ(line.ack({}), Result::gone);
    line.put(1, 0, 10);
    other.put(1, 0, 10);
    const Leased leased = lease_one(line, basket), elsewhere = lease_one(other, basket);
    CHECK_EQ(line.ack(elsewhere.name), Result::gone);
    for (const LeaseName wrong : {LeaseName{leased.name.lease, leased.name.slot + 1}, LeaseName{leased.name.lease + 1, leased.name.slot},
                                  LeaseName{leased.name.lease, ~std::uint64_t{0}}, LeaseName{0, leased.name.slot}}) {
        CHECK_EQ(line.ack(wrong), Result::gone);
        CHECK_EQ(line.nack(wrong), Result::gone);
    }
    CHECK_EQ(line.ack(leased.name), Result::done);
    CHECK_EQ(other.ack(elsewhere.name), Result::done);
}

TEST(another_thread_may_acknowledge_another_process_may_not) {
    Line line;
    Basket basket;
    line.put(1, 0, 10);
    line.put(1, 1, 10);
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

TEST(many_leases_at_once_and_none_is_left) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        std::vector<Leased> leases;
        for (std::uint32_t n = 0; n < 300; ++n) {
            CHECK_EQ(n % 10 == 9 ? line.put_message(1, n, 9000 + n) : line.put(1, n, n), Result::done);
            leases.push_back(lease_one(line, basket));
            CHECK_EQ(leases.back().item.number, n);
        }
        const std::uint64_t all = audited_blocks();
        CHECK_EQ(all, blocks + 2 + 300 + 30 + 1);
        Random random(5);
        while (!leases.empty()) {
            std::swap(leases[random.below(leases.size())], leases.back());
            CHECK_EQ(random.below(3) == 0 ? line.nack(leases.back().name) : line.ack(leases.back().name), Result::done);
            leases.pop_back();
        }
        CHECK_EQ(line.state().leased.load(), 0u);
        std::uint32_t last = 0;
        for (std::uint64_t left = line.queue().size(); left != 0; --left) {
            const Item item = take_one(line, basket);
            CHECK(item.number >= last, "in the order in which they were put");
            last = item.number;
        }
        CHECK_EQ(audited_blocks(), blocks + 2 + 1);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(a_message_on_lease_keeps_its_bytes_through_redelivery) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        line.put_message(1, 0, 200000);
        for (std::uint32_t n = 0; n < 5; ++n) {
            const Leased leased = lease_one(line, basket);
            CHECK_EQ(leased.item.size, 200000u);
            CHECK_EQ(leased.item.deliveries, n);
            CHECK_EQ(line.nack(leased.name), Result::done);
        }
        CHECK_EQ(take_one(line, basket).deliveries, 5u);
        CHECK_EQ(audited_blocks(), blocks + 3);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(a_lease_makes_room_in_a_bounded_queue) {
    Line line(1);
    Basket basket;
    line.put(1, 0, 10);
    CHECK_EQ(line.try_put(1, 1, 10), Result::full);
    const Leased leased = lease_one(line, basket);
    CHECK_EQ(line.try_put(1, 1, 10), Result::done);
    CHECK_EQ(line.nack(leased.name), Result::done);
    CHECK_EQ(line.queue().size(), 2u);
    CHECK_EQ(line.try_put(1, 2, 10), Result::full);
    CHECK_EQ(take_one(line, basket).number, 0u);
    CHECK_EQ(line.try_put(1, 2, 10), Result::full);
    CHECK_EQ(take_one(line, basket).number, 1u);
    CHECK_EQ(line.try_put(1, 2, 10), Result::done);
}

TEST(gets_and_leases_may_be_mixed) {
    Line line;
    Basket basket;
    std::uint32_t put = 0, due = 0;
    for (int lap = 0; lap < 200; ++lap) {
        for (int n = 0; n < 5; ++n) line.put(1, put++, 300);
        for (int n = 0; n < 5; ++n, ++due) {
            if ((lap + n) % 2 == 0) {
                CHECK_EQ(take_one(line, basket).number, due);
            } else {
                const Leased leased = lease_one(line, basket);
                CHECK_EQ(leased.item.number, due);
                CHECK_EQ(line.ack(leased.name), Result::done);
            }
        }
    }
}

TEST(without_any_memory_a_lease_is_refused_and_the_item_stays) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        for (std::uint32_t n = 0; n < 3; ++n) line.put(1, n, 8000);
        auto& header = tree().arena.header();
        const std::uint64_t limit = header.limit_units.load() * kUnit;
        std::vector<std::uint32_t> ballast;
        inside([&] {
            auto& arena = tree().arena;
            arena.set_limit(header.backed_units.load() * kUnit);
            for (std::uint64_t bytes = 1u << 20; bytes >= 4096; bytes /= 2)
                while (SharedBlock* block = arena.heap.allocate(bytes, Kind::message, nullptr, Budget::reserve)) {
                    ballast.push_back(tree().handles.add(arena, tree().process, block));
                    if (ballast.back() == SharedHandles::kNoSlot) {
                        arena.heap.free(block);
                        ballast.pop_back();
                        break;
                    }
                }
        });
        Leased leased;
        CHECK_EQ(line.try_lease(leased.item, leased.name, basket), Result::no_memory);
        CHECK_EQ(line.queue().size(), 3u);
        inside([&] {
            tree().arena.set_limit(limit);
            for (const std::uint32_t slot : ballast) tree().handles.drop(tree().arena, tree().process, slot);
        });
        for (std::uint32_t n = 0; n < 3; ++n) {
            leased = lease_one(line, basket);
            CHECK_EQ(leased.item.number, n);
            CHECK_EQ(line.ack(leased.name), Result::done);
        }
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(what_a_killed_process_had_on_lease_is_delivered_again) {
    const std::uint64_t blocks = audited_blocks();
    {
        Line line;
        Basket basket;
        for (std::uint32_t n = 0; n < 30; ++n) CHECK_EQ(n % 7 == 3 ? line.put_message(1, n, 20000) : line.put(1, n, 50), Result::done);
        run_and_kill([&] {
            for (int n = 0; n < 25; ++n) {
                const Leased leased = lease_one(line, basket);
                if (n % 5 == 0) line.ack(leased.name);
            }
        });
        CHECK_EQ(line.state().leased.load(), 20u);
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
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(who_sleeps_gets_what_the_dead_had_on_lease) {
    Line line;
    line.put(1, 0, 10);
    run_and_kill([&] {
        Basket basket;
        lease_one(line, basket);
    });
    std::atomic<unsigned> served{0};
    run_threads(3, [&](unsigned i) {
        Basket basket;
        Leased leased;
        const std::int64_t slice = 5'000'000;  // as in production, a park that runs out is when one looks
        if (i == 0) {
            CHECK_EQ(line.join(slice), Result::done);
            CHECK_EQ(served.load(), 1u);
            return;
        }
        const Result result = line.lease(leased.item, leased.name, basket, slice);
        if (result == Result::shut) return;
        CHECK_EQ(result, Result::done);
        CHECK_EQ(leased.item.deliveries, 1u);
        served.fetch_add(1);
        CHECK_EQ(line.ack(leased.name), Result::done);
        line.shut_down(QueueMode::shut);
    });
    CHECK_EQ(served.load(), 1u);
}

TEST(a_shut_queue_is_not_at_its_end_while_others_hold_leases) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        Line line;
        line.put(1, 0, 10);
        std::atomic<unsigned> delivered{0};
        std::atomic<bool> out{false};
        run_threads(4, [&](unsigned i) {
            Basket basket;
            if (i == 0) {
                const Leased leased = lease_one(line, basket);
                out.store(true);
                line.shut_down(QueueMode::shut);
                // On even laps the item comes back, and one of the sleepers is to get it.
                CHECK_EQ(lap % 2 == 0 ? line.nack(leased.name) : line.ack(leased.name), Result::done);
                return;
            }
            while (!out.load()) std::this_thread::yield();
            std::vector<Item> got;
            Leased leased;
            for (;;) {
                const Result result = i == 1 ? line.lease(leased.item, leased.name, basket) : line.get(got, basket);
                if (result == Result::shut) break;
                CHECK_EQ(result, Result::done);
                delivered.fetch_add(1);
                if (i == 1) CHECK_EQ(line.ack(leased.name), Result::done);
            }
        });
        CHECK_EQ(delivered.load(), lap % 2 == 0 ? 1u : 0u);
        CHECK_EQ(line.state().leased.load(), 0u);
        CHECK_EQ(line.queue().size(), 0u);
    }
}

TEST(threads_acknowledge_every_item_once_however_often_it_comes_back) {
    struct Load {
        unsigned workers;
        std::uint64_t max_items;
        bool messages;
    };
    const std::uint64_t blocks = audited_blocks();
    for (const Load load : {Load{3, 0, false}, Load{3, 4, false}, Load{2, 10, true}}) {
        Line line(load.max_items);
        const unsigned count = load.messages ? items() / 4 : items();
        std::vector<std::atomic<unsigned>> acknowledged(count), given_back(count);
        std::atomic<unsigned> redelivered{0};
        run_threads(load.workers + 2, [&](unsigned i) {
            Random random(i);
            if (i == 0) {
                for (std::uint32_t n = 0; n < count; ++n)
                    CHECK_EQ(load.messages && n % 3 == 0 ? line.put_message(1, n, 9000) : line.put(1, n, n % 200), Result::done);
                return;
            }
            if (i == 1) {
                while (line.queue().puts() != count) std::this_thread::yield();
                CHECK_EQ(line.join(), Result::done);
                for (std::uint32_t n = 0; n < count; ++n) CHECK_EQ(acknowledged[n].load(), 1u);
                line.shut_down(QueueMode::shut);
                return;
            }
            Basket basket;
            Leased leased;
            for (Result result; (result = line.lease(leased.item, leased.name, basket)) != Result::shut;) {
                CHECK_EQ(result, Result::done);
                CHECK(leased.item.intact);
                CHECK_EQ(leased.item.deliveries, given_back[leased.item.number].load(), "it was counted when it came back");
                redelivered += leased.item.deliveries != 0;
                if (random.below(4) == 0) {
                    given_back[leased.item.number].fetch_add(1);
                    CHECK_EQ(line.nack(leased.name), Result::done);
                } else {
                    acknowledged[leased.item.number].fetch_add(1);
                    CHECK_EQ(line.ack(leased.name), Result::done);
                }
            }
        });
        CHECK(redelivered.load() > 0u);
        CHECK_EQ(line.state().redelivered.load(), redelivered.load());
        CHECK_EQ(line.queue().size(), 0u);
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(a_queue_that_holds_an_item_never_looks_empty) {
    // One item goes round between the ring, a lease, and the ready ones; there are always two, and one is never on lease.
    Line line;
    line.put(1, 0, 8);
    line.put(1, 1, 8);
    std::atomic<bool> ended{false};
    run_threads(2, [&](unsigned i) {
        Basket basket;
        if (i == 0) {
            for (unsigned n = 0; n < items(); ++n) {
                const Leased leased = lease_one(line, basket);
                if (n % 3 == 0) {
                    CHECK_EQ(line.put(1, n, 8), Result::done);
                    CHECK_EQ(line.ack(leased.name), Result::done);
                } else {
                    CHECK_EQ(line.nack(leased.name), Result::done);
                }
            }
            ended.store(true);
            return;
        }
        while (!ended.load()) {
            const std::uint64_t size = line.queue().size();
            CHECK(size == 1 || size == 2, size);
        }
    });
}

TEST(processes_that_are_killed_at_work_lose_and_double_nothing) {
    const std::uint64_t blocks = audited_blocks();
    const unsigned deaths = check::scale(check::sanitized ? 10u : 40u, 1000u);
    constexpr unsigned kLot = 50;
    const unsigned count = deaths * kLot;
    auto* acknowledged = static_cast<std::atomic<unsigned char>*>(
        mmap(nullptr, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    REQUIRE(acknowledged != MAP_FAILED);
    {
        Line line;
        Random random(11);
        for (unsigned death = 0; death <= deaths; ++death) {
            const bool last = death == deaths;
            for (std::uint32_t n = 0; !last && n < kLot; ++n) line.put(1, death * kLot + n, n);
            if (last) line.shut_down(QueueMode::shut);
            const pid_t pid = fork();
            REQUIRE(pid >= 0);
            if (pid == 0) {
                check::watchdog(60);
                Basket basket;
                Leased leased;
                Result result;
                for (unsigned n = 0; (result = line.lease(leased.item, leased.name, basket, 5'000'000)) == Result::done; ++n) {
                    if (!leased.item.intact) _exit(3);
                    if (!last && death % 4 != 0 && n == 0 && !die_soon(1 + static_cast<long>(random.below(check::sanitized ? 1'000'000 : 150'000)))) _exit(2);
                    if (!last && death % 4 == 0 && n == kLot / 2) kill(getpid(), SIGKILL);
                    if (line.ack(leased.name) != Result::done) _exit(4);
                    acknowledged[leased.item.number].fetch_add(1);
                }
                _exit(result == Result::shut && check::failures() == 0 ? 0 : 5);
            }
            random();  // the child has drawn one
            int status = 0;
            CHECK_EQ(waitpid(pid, &status, 0), pid);
            CHECK_EQ(status, last ? 0 : SIGKILL);
        }
        CHECK_EQ(line.queue().unfinished(), 0u);
        CHECK(line.state().redelivered.load() > 0u);
    }
    // A worker notes an item after its acknowledgement: the one that it was killed at may miss its note, none has two.
    unsigned missing = 0, doubled = 0;
    for (unsigned n = 0; n < count; ++n) missing += acknowledged[n].load() == 0, doubled += acknowledged[n].load() > 1;
    CHECK(missing <= deaths, missing);
    CHECK_EQ(doubled, 0u);
    munmap(static_cast<void*>(acknowledged), count);
    CHECK_EQ(audited_blocks(), blocks);
}

int main(int argc, char** argv) {
    Mapping::install();
    return check::main(argc, argv);
}
