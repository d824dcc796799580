// The by-value queue under death at every instruction: every way in, every way out, leases, shutdown, and the collection
// of what the dead left.
#include <cstdint>
#include <cstdio>
#include <string>

#include "crash/ring_fixture.hpp"

namespace arena_crash {
namespace {

struct Parts {
    std::uint64_t max_items = 0;
    void (*set_up)() = [] {};
    void (*prepare)() = [] {};
    void (*operation)() = [] {};
    void (*before_drain)() = [] {};
    // `found` is all that could be taken after the death, in order.
    std::string (*check)(const Found& found, const Crash& crash) = nullptr;
};

Case ring_case(const char* name, const Parts& parts) {
    Case subject = arena_case(name);
    subject.setup = [parts](Memory&) {
        found_queue(parts.max_items);
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
        Found found{{}, queue.puts(), 0, queue.mode()};
        // With nothing in doubt at the consumers' end the size is right even before anybody has entered.
        const bool settled = state()->head.dirty == 0 && state()->leased.load() == 0;
        const std::uint64_t size = queue.size();
        if (found.mode != QueueMode::shut_now) {
            if (const std::string wrong = drain(found, false); !wrong.empty()) return wrong;
            CRASH_REQUIRE(!settled || size == found.items.size(), "size %llu", static_cast<unsigned long long>(size));
        }
        found.done = found.puts - queue.unfinished();
        if (const std::string wrong = parts.check(found, crash); !wrong.empty()) return wrong + " (" + list_of(found) + ")";
        if (found.mode == QueueMode::open) {
            if (const std::string wrong = queue_goes_on(); !wrong.empty()) return wrong;
            const std::uint64_t table = state()->leases != 0 ? 1 : 0;
            if (const std::string wrong = arena_is_sound(queue_blocks + table); !wrong.empty()) return wrong;
        }
        return nothing_is_left();
    };
    return subject;
}

// A survivor's first steps, killed as well: it takes the sections over, computes the books, collects, sweeps.
Case with_second_victims(Case subject) {
    subject.name += ", then another in its recovery";
    subject.recovery_prepare = [](Memory&) { write_inline(victims_frames, 99, kInline); };
    subject.recovery = [](Memory&) {
        join("second victim");
        in_own_section([] {});
        Wait wait;
        Mapping::Caller who = survivor();
        own_queue().inspect_leases(who, wait);
        QueueOfProcess::Taken got;
        own_queue().attempt_discard(who, victims_room, got, wait);
    };
    const auto verify = subject.verify;
    subject.verify = [verify](Memory& memory, const Crash& crash) {
        // The recovery takes an item for good, or not: what the first operation did cannot be told any more.
        return crash.second_victim == 0 ? verify(memory, crash) : [&]() -> std::string {
            join("survivor");
            Found found{};
            if (const std::string wrong = drain(found, false); !wrong.empty()) return wrong;
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
    for (std::uint32_t value = 1; value <= 3; ++value) keeper_puts(value);
}
void three_thirds() {
    for (std::uint32_t value = 1; value <= 3; ++value) keeper_puts(value, kThird);
}
// The next item to take lies in the second chunk, the cursor still in the first.
void at_the_crossing() {
    for (std::uint32_t value = 0; value < 3; ++value) keeper_puts(90 + value, kThird);
    for (std::uint32_t value = 1; value <= 3; ++value) keeper_puts(value, kThird);
    for (std::uint32_t value = 0; value < 3; ++value) keeper_takes();
}
void message_first() {
    keeper_puts_message(1);
    keeper_puts(2);
    keeper_puts_message(3);
}
void message_at_the_crossing() {
    for (std::uint32_t value = 0; value < 3; ++value) keeper_puts(90 + value, 1300);
    message_first();
    for (std::uint32_t value = 0; value < 3; ++value) keeper_takes();
}
void first_is_ready() {
    three_items();
    keeper_gives_back(leases_as(*keeper));
}
void message_is_ready() {
    message_first();
    keeper_gives_back(leases_as(*keeper));
}
void dead_hold_two() {
    three_items();
    found_phantom();
    leases_as(*phantom);
    leases_as(*phantom);
}

// 1 to 3, and the new one entirely or not at all.
std::string three_or_four(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(1, 4) || (found.is(1, 3) && !crash.finished));
    CRASH_REQUIRE(found.puts % 3 == found.items.size() % 3 && found.done == 0);
    return "";
}
// 1 to 3, of which the first is gone or there.
std::string three_or_two(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(2, 3) || (found.is(1, 3) && !crash.finished));
    CRASH_REQUIRE(found.done == 0);
    return "";
}
// Whoever held a lease is dead: everything is delivered, each once.
std::string all_three(const Found& found, const Crash& crash) {
    CRASH_REQUIRE(found.is(1, 3) && found.done == 0);
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

void add_put_cases(step_kill::Suite& suite, bool soak) {
    constexpr auto prepare_four = [] { write_inline(victims_frames, 4, kInline); };
    constexpr auto prepare_third = [] { write_inline(victims_frames, 4, kThird); };
    constexpr auto prepare_four_message = [] { prepare_message(4); };
    constexpr auto put_one = [] { put_prepared(1); };
    const auto add = [&](const char* name, const Parts& parts) { suite.add(ring_case(name, parts)); };
    add("put", {.set_up = three_items, .prepare = prepare_four, .operation = put_one, .check = three_or_four});
    add("put/bounded", {.max_items = 4, .set_up = three_items, .prepare = prepare_four, .operation = put_one,
                        .check = three_or_four});
    add("put/the first item", {.prepare = [] { write_inline(victims_frames, 1, kInline); }, .operation = put_one,
                               .check = [](const Found& found, const Crash& crash) -> std::string {
                                   CRASH_REQUIRE(found.is(1, 1) || (found.items.empty() && !crash.finished));
                                   return "";
                               }});
    const Parts crossing{.set_up = three_thirds, .prepare = prepare_third, .operation = put_one, .check = three_or_four};
    add("put/into a new chunk", crossing);
    if (soak) suite.add(with_second_victims(ring_case("put/into a new chunk", crossing)));
    add("put/a message", {.set_up = three_items, .prepare = prepare_four_message, .operation = put_one,
                          .check = three_or_four});
    const Parts message_crossing{.set_up = [] {
                                     for (std::uint32_t value = 1; value <= 3; ++value) keeper_puts(value, 1300);
                                 },
                                 .prepare = prepare_four_message, .operation = put_one, .check = three_or_four};
    add("put/a message into a new chunk", message_crossing);
    if (soak) suite.add(with_second_victims(ring_case("put/a message into a new chunk", message_crossing)));
    add("put/a batch", {.set_up = three_items,
                        .prepare = [] {
                            char* at = victims_frames;
                            for (std::uint32_t value = 4; value <= 6; ++value) at += write_inline(at, value, kInline);
                        },
                        .operation = [] { put_prepared(3); },
                        .check = [](const Found& found, const Crash& crash) -> std::string {
                            CRASH_REQUIRE(found.is(1, 6) || (found.is(1, 3) && !crash.finished));
                            return "";
                        }});
    add("put/a batch over the end of a chunk", {.set_up = [] { keeper_puts(1, kThird); },
                                                .prepare = [] {
                                                    char* at = victims_frames;
                                                    for (std::uint32_t value = 2; value <= 5; ++value)
                                                        at += write_inline(at, value, kThird);
                                                },
                                                .operation = [] { put_prepared(4); },
                                                .check = [](const Found& found, const Crash& crash) -> std::string {
                                                    CRASH_REQUIRE(found.is(1, 5) ||
                                                                  ((found.is(1, 1) || found.is(1, 3)) && !crash.finished));
                                                    return "";
                                                }});
}

void add_get_cases(step_kill::Suite& suite, bool soak) {
    constexpr auto take_one = [] { take(1); };
    const auto add = [&](const char* name, const Parts& parts) { suite.add(ring_case(name, parts)); };
    add("get", {.set_up = three_items, .operation = take_one, .check = three_or_two});
    add("get/bounded", {.max_items = 3, .set_up = three_items, .operation = take_one, .check = three_or_two});
    add("get/from the next chunk", {.set_up = at_the_crossing, .operation = take_one, .check = three_or_two});
    add("get/a message", {.set_up = message_first, .operation = take_one, .check = three_or_two});
    const Parts crossing{.set_up = message_at_the_crossing, .operation = take_one, .check = three_or_two};
    add("get/a message from the next chunk", crossing);
    if (soak) suite.add(with_second_victims(ring_case("get/a message from the next chunk", crossing)));
    add("get/a batch", {.set_up = three_items, .operation = [] { take(2); },
                        .check = [](const Found& found, const Crash& crash) -> std::string {
                            CRASH_REQUIRE(found.is(3, 3) || (found.is(1, 3) && !crash.finished));
                            return "";
                        }});
    add("get/of what was given back", {.set_up = first_is_ready, .operation = take_one, .check = three_or_two});
    add("get/a message that was given back", {.set_up = message_is_ready, .operation = take_one, .check = three_or_two});
    add("get/of what the dead held", {.set_up = dead_hold_two, .operation = [] { take(1, true); }, .check = three_or_two});
}

void add_lease_cases(step_kill::Suite& suite, bool soak) {
    constexpr auto lease_one = [] { lease(); };
    const auto add = [&](const char* name, const Parts& parts) { suite.add(ring_case(name, parts)); };
    add("lease", {.set_up = three_items, .operation = lease_one, .check = all_three});
    add("lease/from the next chunk", {.set_up = at_the_crossing, .operation = lease_one, .check = all_three});
    add("lease/a message", {.set_up = message_first, .operation = lease_one, .check = all_three});
    const Parts crossing{.set_up = message_at_the_crossing, .operation = lease_one, .check = all_three};
    add("lease/a message from the next chunk", crossing);
    if (soak) suite.add(with_second_victims(ring_case("lease/a message from the next chunk", crossing)));
    add("lease/what was given back", {.set_up = first_is_ready, .operation = lease_one, .check = all_three});
    add("lease/a message that was given back", {.set_up = message_is_ready, .operation = lease_one, .check = all_three});
    add("lease/what the dead held", {.set_up = dead_hold_two, .operation = [] { lease(true); },
                                     .check = [](const Found& found, const Crash&) -> std::string {
                                         CRASH_REQUIRE(found.is(1, 3) && found.items[0].deliveries >= 1);
                                         CRASH_REQUIRE(found.items[1].deliveries >= 1 && found.items[2].deliveries == 0);
                                         return "";
                                     }});
    static LeaseName held[16];
    add("lease/with growth of the table", {.set_up = [] {
                                               for (std::uint32_t i = 0; i < 16; ++i) keeper_puts(50 + i);
                                               for (LeaseName& name : held) name = leases_as(*keeper);
                                               three_items();
                                           },
                                           .operation = lease_one,
                                           .before_drain = [] {
                                               for (const LeaseName& name : held)
                                                   require(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
                                                       return queue_of(*keeper).attempt_ack(who, name, wait);
                                                   }));
                                           },
                                           .check = [](const Found& found, const Crash& crash) -> std::string {
                                               CRASH_REQUIRE(found.is(1, 3) && found.done == 16);
                                               CRASH_REQUIRE(!crash.finished || found.items[0].deliveries >= 1);
                                               return "";
                                           }});
    add("ack", {.set_up = three_items, .prepare = lease_one, .operation = acknowledge, .check = acknowledged_or_there});
    const Parts ack_message{.set_up = message_first, .prepare = lease_one, .operation = acknowledge,
                            .check = acknowledged_or_there};
    add("ack/a message", ack_message);
    if (soak) suite.add(with_second_victims(ring_case("ack/a message", ack_message)));
    add("nack", {.set_up = three_items, .prepare = lease_one, .operation = give_back, .check = all_three});
    add("nack/the only item", {.set_up = [] { keeper_puts(1); }, .prepare = lease_one, .operation = give_back,
                               .check = [](const Found& found, const Crash& crash) -> std::string {
                                   CRASH_REQUIRE(found.is(1, 1) && found.items[0].deliveries == 1);
                                   CRASH_REQUIRE(!crash.finished || found.done == 0);
                                   return "";
                               }});
    add("lease/the only item, given back", {.set_up = [] {
                                                keeper_puts(1);
                                                keeper_gives_back(leases_as(*keeper));
                                            },
                                            .operation = lease_one,
                                            .check = [](const Found& found, const Crash&) -> std::string {
                                                CRASH_REQUIRE(found.is(1, 1));
                                                return "";
                                            }});
    add("nack/a message", {.set_up = message_first, .prepare = lease_one, .operation = give_back, .check = all_three});
}

// What a put or get that died left at an end, for the next one to collect.
void leave_at_the_tail() {
    in_own_section([] {
        auto& heap = self->arena.heap;
        State* q = reinterpret_cast<State*>(own(object));
        const auto& cursor = q->tail.cursors[q->tail.version.load() & 1];
        auto* chunk = reinterpret_cast<treadle::ring::Chunk<SharedWorld>*>(heap.allocate(kChunk, Kind::chunk, &q->block));
        chunk->order = reinterpret_cast<treadle::ring::Chunk<SharedWorld>*>(heap.block_at(cursor.chunk))->order + 1;
        auto* message = reinterpret_cast<MessageT*>(heap.allocate(sizeof(MessageT) + kMessage, Kind::message, &q->block));
        message->birth = q->tail.version.load() >> 1;
        q->tail.dirty = 1;
    });
}
void leave_at_the_head() {
    lease();
    in_own_section([] {
        auto& heap = self->arena.heap;
        State* q = reinterpret_cast<State*>(own(object));
        // A message taken and not freed, a lease void because the head did not move, a former table of leases.
        auto* message = reinterpret_cast<MessageT*>(heap.allocate(sizeof(MessageT) + kMessage, Kind::message, &q->block));
        message->birth = 0;
        heap.allocate(sizeof(Lease<SharedWorld>), Kind::lease, &q->block);
        heap.allocate(500, Kind::table, &q->block);
        q->leased.store(5);
        q->ready.store(7);
        q->head.dirty = 1;
    });
}

void add_other_cases(step_kill::Suite& suite) {
    const auto add = [&](const char* name, const Parts& parts) { suite.add(ring_case(name, parts)); };
    add("collect/at the tail", {.set_up = three_items,
                                .prepare = [] {
                                    write_inline(victims_frames, 4, kInline);
                                    leave_at_the_tail();
                                },
                                .operation = [] { put_prepared(1); }, .check = three_or_four});
    // The victim's lease falls to the survivor: 1 comes again, whether the victim took 2 or not.
    add("collect/at the head", {.set_up = three_items, .prepare = leave_at_the_head, .operation = [] { take(1); },
                                .check = [](const Found& found, const Crash& crash) -> std::string {
                                    CRASH_REQUIRE(!found.items.empty() && found.items.back().value == 3);
                                    CRASH_REQUIRE(found.is(1, 3) ? !crash.finished
                                                                 : found.items.size() == 2 && found.items[0].value == 1);
                                    return "";
                                }});
    add("done", {.set_up = three_items,
                 .operation = [] {
                     victim_does(false, [](auto& who, Wait& wait) { return own_queue().attempt_done(who, 2, wait); });
                 },
                 .check = [](const Found& found, const Crash& crash) -> std::string {
                     CRASH_REQUIRE(found.is(1, 3));
                     CRASH_REQUIRE(found.done == 2 || (found.done == 0 && !crash.finished), "%llu",
                                   static_cast<unsigned long long>(found.done));
                     return "";
                 }});
    add("shutdown", {.set_up = three_items, .operation = [] { victim_shuts_down(QueueMode::shut); },
                     .check = [](const Found& found, const Crash& crash) -> std::string {
                         CRASH_REQUIRE(found.is(1, 3));
                         CRASH_REQUIRE(found.mode == QueueMode::shut || !crash.finished);
                         return "";
                     }});
    add("shutdown/at once", {.set_up = three_items, .operation = [] { victim_shuts_down(QueueMode::shut_now); },
                             .check = [](const Found& found, const Crash& crash) -> std::string {
                                 CRASH_REQUIRE(found.mode == QueueMode::shut_now || found.is(1, 3));
                                 CRASH_REQUIRE(found.mode == QueueMode::shut_now || !crash.finished);
                                 return "";
                             }});
    constexpr auto discard = [] {
        QueueOfProcess::Taken got;
        victim_does(false,
                    [&](auto& who, Wait& wait) { return own_queue().attempt_discard(who, victims_room, got, wait); });
    };
    // After it the survivor throws away the rest: each item once.
    constexpr auto rest_can_be_discarded = [](const Found&, const Crash& crash) -> std::string {
        QueueOfProcess queue = own_queue();
        char out[kRoom];
        std::uint32_t discarded = 0;
        for (;; ++discarded) {
            QueueOfProcess::Taken got;
            const Result result = at_once(
                survivor(), [&](auto& who, Wait& wait) { return queue.attempt_discard(who, out, got, wait); });
            if (result == Result::empty) break;
            CRASH_REQUIRE(result == Result::done && discarded < 9);
            std::vector<Item> items;
            if (const std::string wrong = read_item(out, got, items); !wrong.empty()) return wrong;
        }
        CRASH_REQUIRE(discarded == 2 || (discarded == 3 && !crash.finished), "%u", discarded);
        CRASH_REQUIRE(queue.size() == 0 && queue.unfinished() <= 1);
        CRASH_REQUIRE(!crash.finished || queue.unfinished() == 0);
        return "";
    };
    add("discard", {.set_up = [] {
                        three_items();
                        keeper_shuts_down(QueueMode::shut_now);
                    },
                    .operation = discard, .check = rest_can_be_discarded});
    add("discard/a message given back", {.set_up = [] {
                                             message_is_ready();
                                             keeper_shuts_down(QueueMode::shut_now);
                                         },
                                         .operation = discard, .check = rest_can_be_discarded});
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    bool soak = false;
    for (int i = 1; i < argc; ++i) soak = soak || std::string(argv[i]) == "--soak";
    step_kill::Suite suite;
    arena_crash::add_put_cases(suite, soak);
    arena_crash::add_get_cases(suite, soak);
    arena_crash::add_lease_cases(suite, soak);
    arena_crash::add_other_cases(suite);
    return arena_crash::run(suite, argc, argv);
}
