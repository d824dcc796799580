// The queue of one process: its orders, its bound, what comes back and what is dropped; then on real threads.
#include <atomic>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/local/queue.hpp"
#include "treadle/word/mutex.hpp"

using namespace threads;
using treadle::local::Order;
using treadle::local::Unguarded;

namespace {

const Deaths nobody;

template <class Section>
struct Line {
    treadle::local::Queue<PrivateWorld, Section> queue{};

    explicit Line(Order order, std::uint64_t max_items = 0) { queue.initialise(max_items, order); }
    ~Line() { queue.free_memory(); }

    static void* item(std::uint64_t number) { return reinterpret_cast<void*>(number); }
    static std::uint64_t number(void* item) { return reinterpret_cast<std::uintptr_t>(item); }

    Result put(std::uint64_t n, Caller who = {1, nobody}) {
        return insist<PrivateWorld>(who, [&](auto& w, Wait& wait) { return queue.attempt_put(w, item(n), wait); });
    }
    /// 0: empty; all ones: shut.
    std::uint64_t get(Caller who = {1, nobody}) {
        void* got = nullptr;
        const Result result = insist<PrivateWorld>(who, [&](auto& w, Wait& wait) { return queue.attempt_get(w, got, wait); });
        return result == Result::done ? number(got) : result == Result::shut ? ~std::uint64_t{0} : 0;
    }
    Result give_back(std::uint64_t n, Caller who = {1, nobody}) {
        return insist<PrivateWorld>(who, [&](auto& w, Wait& wait) { return queue.attempt_return(w, item(n), wait); });
    }
    std::vector<std::uint64_t> shut_down(bool now) {
        std::vector<std::uint64_t> dropped;
        Caller who{1, nobody};
        CHECK_EQ(insist<PrivateWorld>(who,
                                      [&](auto& w, Wait& wait) {
                                          return queue.attempt_shut_down(w, now, wait,
                                                                         [&](void* each) { dropped.push_back(number(each)); });
                                      }),
                 Result::done);
        return dropped;
    }
    std::vector<std::uint64_t> items() const {
        std::vector<std::uint64_t> all;
        queue.for_each([&](void* each) { all.push_back(number(each)); });
        return all;
    }
};

using Numbers = std::vector<std::uint64_t>;

}  // namespace

TEST(the_first_in_is_the_first_out_across_growth_and_the_ring_s_end) {
    Line<Unguarded> line(Order::first_in_first_out);
    std::uint64_t in = 0, out = 0;
    for (unsigned lap = 1; lap <= 40; ++lap) {
        for (unsigned i = 0; i < lap; ++i) CHECK_EQ(line.put(++in), Result::done);
        for (unsigned i = 0; i < lap / 2; ++i) CHECK_EQ(line.get(), ++out);
    }
    while (out != in) CHECK_EQ(line.get(), ++out);
    CHECK_EQ(line.get(), 0u);
}

TEST(the_last_in_is_the_first_out_across_growth) {
    Line<Unguarded> line(Order::last_in_first_out);
    Numbers stack;
    Random random(1);
    for (std::uint64_t n = 1; n <= 2000; ++n) {
        if (stack.empty() || random.below(5) < 3) {
            CHECK_EQ(line.put(n), Result::done);
            stack.push_back(n);
        } else {
            CHECK_EQ(line.get(), stack.back());
            stack.pop_back();
        }
    }
    CHECK(line.items() == stack);
}

TEST(what_comes_back_is_the_next_to_be_got_in_either_order) {
    for (const Order order : {Order::first_in_first_out, Order::last_in_first_out}) {
        Line<Unguarded> line(order, 8);
        for (std::uint64_t n = 1; n <= 8; ++n) CHECK_EQ(line.put(n), Result::done);
        const std::uint64_t first = line.get();
        CHECK_EQ(line.put(9), Result::done);
        CHECK_EQ(line.put(10), Result::full);
        CHECK_EQ(line.give_back(first), Result::done, "past the bound, and past the ring's size");
        CHECK_EQ(line.queue.gates.count(), 9u);
        CHECK_EQ(line.get(), first);
        CHECK_EQ(line.get(), order == Order::first_in_first_out ? 2u : 9u);
    }
}

TEST(an_item_that_comes_back_first_of_all_is_got) {
    for (const Order order : {Order::first_in_first_out, Order::last_in_first_out}) {
        Line<Unguarded> line(order);
        CHECK_EQ(line.give_back(7), Result::done, "to an empty queue that never had a ring");
        CHECK(line.items() == Numbers{7});
        CHECK_EQ(line.get(), 7u);
    }
}

TEST(a_shutdown_lets_them_all_out) {
    Line<Unguarded> line(Order::first_in_first_out);
    for (std::uint64_t n = 1; n <= 3; ++n) CHECK_EQ(line.put(n), Result::done);
    CHECK(line.shut_down(false).empty());
    CHECK_EQ(line.put(4), Result::shut);
    CHECK_EQ(line.get(), 1u);
    CHECK_EQ(line.give_back(1), Result::done);
    for (std::uint64_t n = 1; n <= 3; ++n) CHECK_EQ(line.get(), n);
    CHECK_EQ(line.get(), ~std::uint64_t{0});
}

TEST(a_shutdown_at_once_hands_out_each_item_once_and_none_later) {
    Line<Unguarded> line(Order::first_in_first_out);
    for (std::uint64_t n = 1; n <= 12; ++n) CHECK_EQ(line.put(n), Result::done);
    CHECK_EQ(line.get(), 1u);
    CHECK_EQ(line.get(), 2u);
    CHECK(line.shut_down(true) == (Numbers{3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
    CHECK_EQ(line.queue.gates.count(), 0u);
    CHECK_EQ(line.queue.gates.unfinished(), 2u);
    CHECK_EQ(line.get(), ~std::uint64_t{0});
    CHECK(line.shut_down(true).empty());
}

// --- On real threads -------------------------------------------------------------------------------------------------

namespace {

using Guarded = treadle::word::Mutex<PrivateWorld>;

void each_item_is_got_once(Order order, std::uint64_t max_items) {
    constexpr unsigned kPutters = 3, kGetters = 3;
    const std::uint64_t each = check::scale<std::uint64_t>(check::sanitized ? 500 : 5000, check::sanitized ? 10000 : 200000);
    Line<Guarded> line(order, max_items);
    std::vector<std::atomic<unsigned>> got(kPutters * each + 1);
    std::atomic<std::uint64_t> left{kPutters * each};
    std::atomic<unsigned> putting{kPutters};
    run_threads(kPutters + kGetters, [&](unsigned i) {
        Caller who{i + 1, nobody};
        if (i < kPutters) {
            for (std::uint64_t n = 1; n <= each; ++n)
                CHECK_EQ(insist<PrivateWorld>(who,
                                              [&](auto& w, Wait& wait) {
                                                  return line.queue.attempt_put(w, line.item(i * each + n), wait);
                                              },
                                              Result::full),
                         Result::done);
            if (putting.fetch_sub(1) != 1) return;
            insist<PrivateWorld>(who, [&](auto& w, Wait& wait) { return line.queue.gates.attempt_join(w, wait); }, Result::empty);
            CHECK_EQ(left.load(), 0u);
            line.shut_down(false);
            return;
        }
        for (std::uint64_t turn = 0;; ++turn) {
            void* item = nullptr;
            const Result result = insist<PrivateWorld>(
                who, [&](auto& w, Wait& wait) { return line.queue.attempt_get(w, item, wait); }, Result::empty);
            if (result == Result::shut) return;
            const std::uint64_t n = line.number(item);
            if (turn % 64 == 63) {
                CHECK_EQ(line.give_back(n, who), Result::done);
                continue;
            }
            CHECK_EQ(got[n].fetch_add(1), 0u, "item ", n);
            left.fetch_sub(1);
            CHECK_EQ(insist<PrivateWorld>(who, [&](auto& w, Wait& wait) { return line.queue.gates.attempt_done(w, 1, wait); }),
                     Result::done);
        }
    });
    CHECK_EQ(left.load(), 0u);
    CHECK_EQ(line.queue.gates.puts(), kPutters * each);
    CHECK(line.queue.gates.joinable() && line.items().empty());
}

}  // namespace

TEST(each_item_is_got_once_by_threads) {
    each_item_is_got_once(Order::first_in_first_out, 0);
    each_item_is_got_once(Order::first_in_first_out, 2);
    each_item_is_got_once(Order::last_in_first_out, 0);
    each_item_is_got_once(Order::last_in_first_out, 1);
}

TEST(one_getter_gets_each_putter_s_items_in_turn) {
    constexpr unsigned kPutters = 3;
    const std::uint64_t each = check::scale<std::uint64_t>(check::sanitized ? 500 : 5000, 50000);
    Line<Guarded> line(Order::first_in_first_out, 3);
    run_threads(kPutters + 1, [&](unsigned i) {
        Caller who{i + 1, nobody};
        std::uint64_t last[kPutters] = {};
        for (std::uint64_t n = 1; n <= (i < kPutters ? each : kPutters * each); ++n) {
            if (i < kPutters) {
                insist<PrivateWorld>(
                    who, [&](auto& w, Wait& wait) { return line.queue.attempt_put(w, line.item(n * kPutters + i), wait); }, Result::full);
                continue;
            }
            void* item = nullptr;
            insist<PrivateWorld>(who, [&](auto& w, Wait& wait) { return line.queue.attempt_get(w, item, wait); }, Result::empty);
            const std::uint64_t got = line.number(item);
            CHECK_EQ(got / kPutters, ++last[got % kPutters]);
        }
    });
}

TEST(a_shutdown_amid_work_ends_all_waits_and_loses_no_item) {
    constexpr unsigned kPutters = 2, kGetters = 2;
    for (unsigned lap = 0; lap < (check::sanitized ? 30u : 200u); ++lap) {
        Line<Guarded> line(Order::first_in_first_out, 2);
        std::atomic<std::uint64_t> in{0}, out{0}, dropped{0};
        run_threads(kPutters + kGetters + 1, [&](unsigned i) {
            Caller who{i + 1, nobody};
            if (i == kPutters + kGetters) {
                while (out.load() < 20) std::this_thread::yield();
                dropped.fetch_add(line.shut_down(lap % 2 != 0).size());
                return;
            }
            for (;;) {
                void* item = nullptr;
                const Result result = insist<PrivateWorld>(
                    who,
                    [&](auto& w, Wait& wait) {
                        return i < kPutters ? line.queue.attempt_put(w, line.item(1), wait) : line.queue.attempt_get(w, item, wait);
                    },
                    i < kPutters ? Result::full : Result::empty);
                if (result == Result::shut) return;
                (i < kPutters ? in : out).fetch_add(1);
            }
        });
        CHECK_EQ(in.load(), out.load() + dropped.load());
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
