// Ordered queues under death at every instruction: every way in, every way out, leases, growth and shrinking of the table,
// shutdown, and the recovery from what the dead left.
#include <cstdint>
#include <cstdio>
#include <string>

#include "crash/ordered_fixture.hpp"

namespace arena_crash {
namespace {

struct Parts {
    Order order = Order::by_key;
    std::uint64_t max_items = 0;
    void (*set_up)() = [] {};
    void (*prepare)() = [] {};
    void (*operation)() = [] {};
    void (*before_drain)() = [] {};
    // `found` is all that could be taken after the death, in order.
    std::string (*check)(const Found& found, const Crash& crash) = nullptr;
};

Case ordered_case(const char* name, const Parts& parts) {
    Case subject = arena_case(name);
    subject.setup = [parts](Memory&) {
        found_queue(parts.order, parts.max_items);
        parts.set_up();
        track_arena(6);
    };
    subject.prepare = [parts](Memory&) {
        join("victim");
        parts.prepare();
    };
    subject.operation = [parts](Memory&) { parts.operation(); };
    subject.verify = [parts](Memory&, const Crash& crash) -> std::string {
        join("survivor");
        parts.before_drain();
        QueueOfProcess queue = own_queue();
        // With nothing in doubt the size is right even before anybody has entered; else once it was mended.
        const std::uint64_t unmended = queue.size();
        const bool in_doubt = state()->dirty.load() != 0;
        CRASH_REQUIRE(at_once(survivor(), [&](auto& who, Wait& wait) { return queue.attempt_mend(who, wait); }) == Result::done);
        Found found{{}, 0, 0, queue.mode(), queue.size()};
        CRASH_REQUIRE(in_doubt || unmended == found.size, "size %llu", static_cast<unsigned long long>(unmended));
        const bool settled = state()->leased.load() == 0;
        if (found.mode != QueueMode::shut_now) {
            if (const std::string wrong = drain(found); !wrong.empty()) return wrong;
            CRASH_REQUIRE(!settled || found.size == found.items.size(), "size %llu", static_cast<unsigned long long>(found.size));
        }
        found.puts = queue.puts();
        found.done = found.puts - queue.unfinished();
        if (const std::string wrong = parts.check(found, crash); !wrong.empty()) return wrong + " (" + list_of(found) + ")";
        if (found.mode == QueueMode::open) {
            if (const std::string wrong = queue_goes_on(); !wrong.empty()) return wrong;
            if (const std::string wrong = arena_is_sound(queue_blocks); !wrong.empty()) return wrong;
        }
        return nothing_is_left();
    };
    return subject;
}

// A survivor's first steps, killed as well: it takes the sections over, computes everything anew, sweeps.
Case with_second_victims(Case subject) {
    subject.name += ", then another in its recovery";
    subject.recovery_prepare = [](Memory&) {};
    subject.recovery = [](Memory&) {
        join("second victim");
        in_own_section([] {});
        Wait wait;
        Mapping::Caller who = survivor();
        own_queue().inspect_leases(who, wait);
        Taken got;
        own_queue().attempt_get(who, 1, victims_room, kRoom, got, wait);
    };
    const auto verify = subject.verify;
    subject.verify = [verify](Memory& memory, const Crash& crash) {
        // The recovery takes an item for good, or not: what the first operation did cannot be told any more.
        return crash.second_victim == 0 ? verify(memory, crash) : [&]() -> std::string {
            join("survivor");
            Found found{};
            if (const std::string wrong = drain(found); !wrong.empty()) return wrong;
            for (std::size_t i = 1; i < found.items.size(); ++i)
                CRASH_REQUIRE(found.items[i].value == found.items[i - 1].value + 1, "%s", list_of(found).c_str());
            CRASH_REQUIRE(found.items.size() >= 1 && found.items.back().value >= 3, "%s", list_of(found).c_str());
            if (const std::string wrong = queue_goes_on(); !wrong.empty()) return wrong;
            return nothing_is_left();
        }();
    };
    return subject;
}

void three_items() {
    for (const std::uint32_t value : {3u, 1u, 2u}) keeper_puts(value);
}
void three_stacked() {
    for (const std::uint32_t value : {3u, 2u, 1u}) keeper_puts(value);
}
void message_first() {
    keeper_puts_message(3);
    keeper_puts(2);
    keeper_puts_message(1);
}
void first_is_back() {
    three_items();
    keeper_gives_back(leases_as(*keeper));
}
void dead_hold_two() {
    three_items();
    found_phantom();
    leases_as(*phantom);
    leases_as(*phantom);
}
// Three items, and so many on lease to the keeper that the table is full.
LeaseName held[32];
constexpr std::uint32_t kHeld = treadle::ordered::kFirstCapacity - 3;
void full_table() {
    for (std::uint32_t i = 0; i < kHeld; ++i) keeper_puts(50 + i);
    for (std::uint32_t i = 0; i < kHeld; ++i) held[i] = leases_as(*keeper);
    three_items();
}
void settle_held() {
    for (std::uint32_t i = 0; i < kHeld; ++i) keeper_acknowledges(held[i]);
}
// Six items in a table of twice the size: one fewer, and it shrinks.
void wide_table() {
    for (std::uint32_t i = 0; i < treadle::ordered::kFirstCapacity - 5; ++i) keeper_puts(0);
    for (std::uint32_t value = 6; value >= 1; --value) keeper_puts(value);
    for (std::uint32_t i = 0; i < treadle::ordered::kFirstCapacity - 5; ++i) keeper_takes();
}

// 1 to 3, and the new one entirely or not at all.
std::string three_or_four(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(1, 4) || (found.is(1, 3) && !crash.finished));
    CRASH_REQUIRE(found.puts == found.items.size() && found.done == 0);
    return "";
}
// 1 to 3, of which the first is gone or there.
std::string three_or_two(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(2, 3) || (found.is(1, 3) && !crash.finished));
    CRASH_REQUIRE(found.puts == 3 && found.done == 0);
    return "";
}
// Whoever held a lease is dead: everything is delivered, each once. A delivery counts if and only if it was committed.
std::string all_three(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(1, 3) && found.puts == 3 && found.done == 0);
    CRASH_REQUIRE(!crash.finished || found.items[0].deliveries >= 1, "%u deliveries", found.items[0].deliveries);
    CRASH_REQUIRE(found.items[1].deliveries == 0 && found.items[2].deliveries == 0);
    return "";
}
std::string acknowledged_or_there(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(2, 3) || (found.is(1, 3) && !crash.finished));
    CRASH_REQUIRE(found.done == 3 - found.items.size(), "%llu done", static_cast<unsigned long long>(found.done));
    return "";
}

void acknowledge() {
    victim_does(false, [](auto& who, Wait& wait) { return own_queue().attempt_ack(who, victims_lease, wait); });
}
void give_back() {
    victim_does(false, [](auto& who, Wait& wait) { return own_queue().attempt_nack(who, victims_lease, wait); });
}
void victim_shuts_down(QueueMode mode) {
    victim_does(false, [=](auto& who, Wait& wait) { return own_queue().attempt_shut_down(who, mode, wait); });
}
void keeper_shuts_down(QueueMode mode) {
    at_once(keeper->caller(), [=](auto& who, Wait& wait) { return queue_of(*keeper).attempt_shut_down(who, mode, wait); });
}

class Cases {
public:
    Cases(step_kill::Suite& suite, bool soak) : suite_(suite), soak_(soak) {}
    void add(const char* name, const Parts& parts) { suite_.add(ordered_case(name, parts)); }
    void add_with_second_victims(const char* name, const Parts& parts) {
        add(name, parts);
        if (soak_) suite_.add(with_second_victims(ordered_case(name, parts)));
    }

private:
    step_kill::Suite& suite_;
    bool soak_;
};

void add_put_cases(Cases& cases) {
    constexpr auto prepare_four = [] { prepare_item(4); };
    constexpr auto put_one = [] { put_prepared(1); };
    cases.add_with_second_victims("put", {.set_up = three_items, .prepare = prepare_four, .operation = put_one, .check = three_or_four});
    cases.add("put/bounded", {.max_items = 4, .set_up = three_items, .prepare = prepare_four, .operation = put_one,
                              .check = three_or_four});
    cases.add("put/in front", {.set_up = [] {
                                   for (const std::uint32_t value : {4u, 2u, 3u}) keeper_puts(value);
                               },
                               .prepare = [] { prepare_item(1); }, .operation = put_one,
                               .check = [](const Found& found, const Crash& crash) -> std::string {
                                   CRASH_REQUIRE(found.is(1, 4) || (found.is(2, 4) && !crash.finished));
                                   return "";
                               }});
    cases.add("put/the newest first", {.order = Order::newest_first, .set_up = three_stacked, .prepare = [] { prepare_item(0); },
                                       .operation = put_one,
                                       .check = [](const Found& found, const Crash& crash) -> std::string {
                                           CRASH_REQUIRE(found.is(0, 3) || (found.is(1, 3) && !crash.finished));
                                           return "";
                                       }});
    cases.add("put/the first item", {.prepare = [] { prepare_item(1); }, .operation = put_one,
                                     .check = [](const Found& found, const Crash& crash) -> std::string {
                                         CRASH_REQUIRE(found.is(1, 1) || (found.items.empty() && !crash.finished));
                                         return "";
                                     }});
    cases.add_with_second_victims("put/a message", {.set_up = three_items, .prepare = [] { prepare_message(4); },
                                                    .operation = put_one, .check = three_or_four});
    cases.add_with_second_victims(
        "put/with growth of the table",
        {.set_up = full_table, .prepare = prepare_four, .operation = put_one, .before_drain = settle_held,
         .check = [](const Found& found, const Crash& crash) -> std::string {
             CRASH_REQUIRE(found.is(1, 4) || (found.is(1, 3) && !crash.finished));
             CRASH_REQUIRE(found.done == kHeld && found.puts == kHeld + found.items.size());
             return "";
         }});
    cases.add("put/a batch", {.set_up = three_items,
                              .prepare = [] {
                                  char* at = victims_frames;
                                  for (const std::uint32_t value : {4u, 5u, 6u}) at += write_item(at, value);
                              },
                              .operation = [] { put_prepared(3); },
                              .check = [](const Found& found, const Crash& crash) -> std::string {
                                  CRASH_REQUIRE(found.items.size() >= 3 && found.items.size() <= 6);
                                  CRASH_REQUIRE(found.is(1, static_cast<std::uint32_t>(found.items.size())));
                                  CRASH_REQUIRE(!crash.finished || found.items.size() == 6);
                                  CRASH_REQUIRE(found.puts == found.items.size());
                                  return "";
                              }});
}

void add_get_cases(Cases& cases) {
    constexpr auto take_one = [] { take(1); };
    cases.add_with_second_victims("get", {.set_up = three_items, .operation = take_one, .check = three_or_two});
    cases.add("get/bounded", {.max_items = 3, .set_up = three_items, .operation = take_one, .check = three_or_two});
    cases.add("get/the newest first", {.order = Order::newest_first, .set_up = three_stacked, .operation = take_one, .check = three_or_two});
    cases.add_with_second_victims("get/a message", {.set_up = message_first, .operation = take_one, .check = three_or_two});
    cases.add("get/with shrinking of the table", {.set_up = wide_table, .operation = take_one,
                                                  .check = [](const Found& found, const Crash& crash) -> std::string {
                                                      CRASH_REQUIRE(found.is(2, 6) || (found.is(1, 6) && !crash.finished));
                                                      return "";
                                                  }});
    cases.add("get/a batch", {.set_up = three_items, .operation = [] { take(2); },
                              .check = [](const Found& found, const Crash& crash) -> std::string {
                                  CRASH_REQUIRE(found.is(3, 3) || ((found.is(1, 3) || found.is(2, 3)) && !crash.finished));
                                  return "";
                              }});
    cases.add("get/of what was given back", {.set_up = first_is_back, .operation = take_one, .check = three_or_two});
    cases.add("get/of what the dead held", {.set_up = dead_hold_two, .operation = [] { take(1, true); }, .check = three_or_two});
}

void add_lease_cases(Cases& cases) {
    constexpr auto lease_one = [] { lease(); };
    cases.add_with_second_victims("lease", {.set_up = three_items, .operation = lease_one, .check = all_three});
    cases.add("lease/a message", {.set_up = message_first, .operation = lease_one, .check = all_three});
    cases.add("lease/the newest first", {.order = Order::newest_first, .set_up = three_stacked, .operation = lease_one, .check = all_three});
    cases.add("lease/what was given back", {.set_up = first_is_back, .operation = lease_one,
                                            .check = [](const Found& found, const Crash& crash) -> std::string {
                                                CRASH_REQUIRE(found.is(1, 3));
                                                const std::uint32_t deliveries = found.items[0].deliveries;
                                                CRASH_REQUIRE(deliveries == 2 || (deliveries == 1 && !crash.finished), "%u", deliveries);
                                                return "";
                                            }});
    cases.add("lease/what the dead held", {.set_up = dead_hold_two, .operation = [] { lease(true); },
                                           .check = [](const Found& found, const Crash& crash) -> std::string {
                                               CRASH_REQUIRE(found.is(1, 3) && found.items[0].deliveries == (crash.finished ? 2 : found.items[0].deliveries));
                                               CRASH_REQUIRE(found.items[0].deliveries >= 1 && found.items[1].deliveries == 1);
                                               CRASH_REQUIRE(found.items[2].deliveries == 0);
                                               return "";
                                           }});
    cases.add_with_second_victims("lease/from a full table", {.set_up = full_table, .operation = lease_one, .before_drain = settle_held,
                                                              .check = [](const Found& found, const Crash& crash) -> std::string {
                                                                  CRASH_REQUIRE(found.is(1, 3) && found.done == kHeld);
                                                                  CRASH_REQUIRE(!crash.finished || found.items[0].deliveries == 1);
                                                                  return "";
                                                              }});
    cases.add_with_second_victims("ack", {.set_up = three_items, .prepare = lease_one, .operation = acknowledge, .check = acknowledged_or_there});
    cases.add("ack/a message", {.set_up = message_first, .prepare = lease_one, .operation = acknowledge, .check = acknowledged_or_there});
    cases.add("nack", {.set_up = three_items, .prepare = lease_one, .operation = give_back, .check = all_three});
    cases.add("nack/of two", {.set_up = three_items,
                              .prepare = [] {
                                  lease();
                                  const LeaseName first = victims_lease;
                                  lease();
                                  victims_lease = first;
                              },
                              .operation = give_back,
                              .check = [](const Found& found, const Crash&) -> std::string {
                                  CRASH_REQUIRE(found.is(1, 3) && found.done == 0);
                                  CRASH_REQUIRE(found.items[0].deliveries == 1 && found.items[1].deliveries == 1);
                                  return "";
                              }});
    cases.add("nack/a message", {.set_up = message_first, .prepare = lease_one, .operation = give_back, .check = all_three});
}

// What deaths at several steps would have left together, for the next one to recover: an item given to the queue and not put,
// one got and one done that were not freed, a table that is not listed, wrong figures.
void leave_a_mess() {
    in_own_section([] {
        auto& heap = self->arena.heap;
        State* q = own_state();
        for (const Standing standing : {Standing::made, Standing::got, Standing::done}) {
            auto* item = reinterpret_cast<OrderedItem*>(heap.allocate(sizeof(OrderedItem) + frame_bytes(kInline), Kind::item, &q->block));
            item->state.store(treadle::ordered::make_state(standing, 0, standing == Standing::done ? 1 : 0));
            item->sequence = 0;
            item->key_bytes = 0;
            auto* message = reinterpret_cast<MessageT*>(heap.allocate(sizeof(MessageT) + kMessage, Kind::message, &item->block));
            message->birth = 0;
        }
        heap.allocate(500, Kind::table, &q->block);
        q->size.store(7);
        q->leased.store(5);
        q->bytes.store(1);
        q->puts.store(1);
        q->dirty.store(1);
    });
}

void add_other_cases(Cases& cases) {
    cases.add_with_second_victims("recover", {.set_up = three_items,
                                              .prepare = [] {
                                                  prepare_item(4);
                                                  leave_a_mess();
                                              },
                                              .operation = [] { put_prepared(1); },
                                              .check = [](const Found& found, const Crash& crash) -> std::string {
                                                  CRASH_REQUIRE(found.is(1, 4) || (found.is(1, 3) && !crash.finished));
                                                  CRASH_REQUIRE(found.puts == found.items.size() && found.done == 1);
                                                  // The wrong one, or a right one: never empty on the way.
                                                  CRASH_REQUIRE(found.size == 7 || found.size == 3 || found.size == 4);
                                                  return "";
                                              }});
    cases.add("done", {.set_up = three_items,
                       .operation = [] {
                           victim_does(false, [](auto& who, Wait& wait) { return own_queue().attempt_done(who, 2, wait); });
                       },
                       .check = [](const Found& found, const Crash& crash) -> std::string {
                           CRASH_REQUIRE(found.is(1, 3));
                           CRASH_REQUIRE(found.done == 2 || (found.done == 0 && !crash.finished), "%llu",
                                         static_cast<unsigned long long>(found.done));
                           return "";
                       }});
    cases.add("shutdown", {.set_up = three_items, .operation = [] { victim_shuts_down(QueueMode::shut); },
                           .check = [](const Found& found, const Crash& crash) -> std::string {
                               CRASH_REQUIRE(found.is(1, 3));
                               CRASH_REQUIRE(found.mode == QueueMode::shut || !crash.finished);
                               return "";
                           }});
    cases.add("shutdown/at once", {.set_up = three_items, .operation = [] { victim_shuts_down(QueueMode::shut_now); },
                                   .check = [](const Found& found, const Crash& crash) -> std::string {
                                       CRASH_REQUIRE(found.mode == QueueMode::shut_now || found.is(1, 3));
                                       CRASH_REQUIRE(found.mode == QueueMode::shut_now || !crash.finished);
                                       return "";
                                   }});
    cases.add("discard", {.set_up = [] {
                              message_first();
                              keeper_shuts_down(QueueMode::shut_now);
                          },
                          .operation = [] {
                              victim_does(false, [](auto& who, Wait& wait) { return own_queue().attempt_discard(who, wait); });
                          },
                          // After it the survivor throws away the rest: each item is done, once.
                          .check = [](const Found&, const Crash&) -> std::string {
                              QueueOfProcess queue = own_queue();
                              Result result;
                              do {
                                  result = at_once(survivor(), [&](auto& who, Wait& wait) { return queue.attempt_discard(who, wait); });
                              } while (result == Result::done);
                              CRASH_REQUIRE(result == Result::empty);
                              CRASH_REQUIRE(queue.size() == 0 && queue.unfinished() == 0 && queue.bytes() == 0);
                              return "";
                          }});
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    bool soak = false;
    for (int i = 1; i < argc; ++i) soak = soak || std::string(argv[i]) == "--soak";
    step_kill::Suite suite;
    arena_crash::Cases cases(suite, soak);
    arena_crash::add_put_cases(cases);
    arena_crash::add_get_cases(cases);
    arena_crash::add_lease_cases(cases);
    arena_crash::add_other_cases(cases);
    return arena_crash::run(suite, argc, argv);
}
