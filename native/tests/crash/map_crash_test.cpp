// Shared maps under death at every instruction: what is put, put in another's place and removed, small and large; growth,
// shrinking, clearing; reading; the user's lock; and the recovery from what the dead left.
#include <cstdint>
#include <string>

#include "crash/map_fixture.hpp"

namespace arena_crash {
namespace {

struct Parts {
    void (*set_up)() = [] {};
    void (*prepare)() = [] {};
    void (*operation)() = [] {};
    Pairs before, after;  // one of both is found; the latter if the operation has ended
};

Case map_case(const char* name, const Parts& parts) {
    Case subject = arena_case(name);
    subject.setup = [parts](Memory&) {
        found_map();
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
        Pairs found;
        if (const std::string wrong = read_map(found); !wrong.empty()) return wrong;
        const bool finished = crash.finished && crash.second_victim == 0;
        CRASH_REQUIRE(found == parts.after || (found == parts.before && !finished), "%s", list_of(found).c_str());
        if (const std::string wrong = map_goes_on(found); !wrong.empty()) return wrong;
        return nothing_is_left();
    };
    return subject;
}

// A survivor's first steps, killed as well.
Case with_second_victims(Case subject) {
    subject.name += ", then another in its recovery";
    subject.recovery_prepare = [](Memory&) {};
    subject.recovery = [](Memory&) {
        join("second victim");
        in_own_section([] {});
        Wait wait;
        Mapping::Caller who = survivor();
        own_map().attempt_pass(who, wait);
    };
    return subject;
}

const Pairs kThree{{1, 11}, {2, 12}, {3, 13}};
void three() {
    for (const auto& [key, value] : kThree) keeper_stores(key, value);
}
const Pairs kLarges{{1, kLarge + 1}, {2, 12}, {3, kLarge + 3}};
void larges() {
    for (const auto& [key, value] : kLarges) keeper_stores(key, value);
}
Pairs up_to(std::uint32_t last) {
    Pairs pairs;
    for (std::uint32_t key = 1; key <= last; ++key) pairs.emplace_back(key, 20);
    return pairs;
}
void fill(std::uint32_t last) {
    for (std::uint32_t key = 1; key <= last; ++key) keeper_stores(key, 20);
}

class Cases {
public:
    Cases(step_kill::Suite& suite, bool soak) : suite_(suite), soak_(soak) {}
    void add(const char* name, const Parts& parts) {
        suite_.add(map_case(name, parts));
        if (soak_) suite_.add(with_second_victims(map_case(name, parts)));
    }

private:
    step_kill::Suite& suite_;
    bool soak_;
};

void add_put_cases(Cases& cases) {
    constexpr auto small = [] { prepare_own(14); };
    constexpr auto large = [] { prepare_own(kLarge + 4); };
    cases.add("put/a new key", {three, small, [] { store_prepared(4); }, kThree, {{1, 11}, {2, 12}, {3, 13}, {4, 14}}});
    cases.add("put/the first key", {[] {}, small, [] { store_prepared(4); }, {}, {{4, 14}}});
    cases.add("put/in another's place", {three, small, [] { store_prepared(2); }, kThree, {{1, 11}, {2, 14}, {3, 13}}});
    cases.add("put/a large value", {three, large, [] { store_prepared(4); }, kThree, {{1, 11}, {2, 12}, {3, 13}, {4, kLarge + 4}}});
    cases.add("put/large in the place of large", {larges, large, [] { store_prepared(1); }, kLarges,
                                                  {{1, kLarge + 4}, {2, 12}, {3, kLarge + 3}}});
    cases.add("put/small in the place of large", {larges, small, [] { store_prepared(3); }, kLarges, {{1, kLarge + 1}, {2, 12}, {3, 14}}});
    Pairs grown = up_to(16);
    grown.emplace_back(40, 14);
    cases.add("put/with a segment made", {[] { fill(16); }, small, [] { store_prepared(40); }, up_to(16), grown});
}

void add_remove_cases(Cases& cases) {
    cases.add("remove", {three, [] {}, [] { remove_own(2); }, kThree, {{1, 11}, {3, 13}}});
    cases.add("remove/a large value", {larges, [] {}, [] { remove_own(3); }, kLarges, {{1, kLarge + 1}, {2, 12}}});
    cases.add("remove/the last key", {[] { keeper_stores(1, 11); }, [] {}, [] { remove_own(1); }, {{1, 11}}, {}});
    // 70 keys, of which 17 are left: the next removal drops a segment.
    cases.add("remove/with a segment dropped", {[] {
                                                    fill(70);
                                                    for (std::uint32_t key = 70; key > 17; --key) keeper_removes(key);
                                                    if (map_state()->segments != 4) give_up("the case drops no segment");
                                                },
                                                [] {}, [] { remove_own(17); }, up_to(17), up_to(16)});
    cases.add("clear", {larges, [] {},
                        [] { victim_does(false, [](auto& who, Wait& wait) { return own_map().attempt_clear(who, wait); }); }, kLarges, {}});
    cases.add("clear/of many", {[] { fill(40); }, [] {},
                                [] { victim_does(false, [](auto& who, Wait& wait) { return own_map().attempt_clear(who, wait); }); },
                                up_to(40), {}});
    cases.add("clear/and the waste freed", {[] {
                                                larges();
                                                require(at_once(keeper->caller(), [](auto& who, Wait& wait) {
                                                    return map_of(*keeper).attempt_clear(who, wait);
                                                }));
                                                keeper_stores(7, 7);
                                            },
                                            [] {},
                                            [] {
                                                victim_does(false, [](auto& who, Wait& wait) {
                                                    return own_map().attempt_free_waste(who, wait);
                                                });
                                            },
                                            {{7, 7}}, {{7, 7}}});
    cases.add("pop", {three, [] {},
                      [] {
                          shared::Found found;
                          const std::uint32_t key = 1;
                          victim_does(false, [&](auto& who, Wait& wait) {
                              return own_map().attempt_pop(who, key_of(own_map(), key), victims_room, found,
                                                           [](const char*) { return true; }, wait);
                          });
                      },
                      kThree, {{2, 12}, {3, 13}}});
}

// What deaths at several steps would have left together: an entry made and not live, one gone, a second one in another's place,
// large parts of nobody's, segments and directories that are not listed, wrong figures.
void leave_a_mess() {
    prepare_own(kLarge + 9);
    in_own_section([] {
        auto& heap = self->arena.heap;
        auto* q = reinterpret_cast<MapState*>(own(object));
        const auto make = [&](std::uint32_t key, std::uint64_t sequence, shared::Standing standing) {
            auto* entry = reinterpret_cast<shared::Entry<SharedWorld>*>(
                heap.allocate(sizeof(shared::Entry<SharedWorld>) + 8 + shared::padded(inline_bytes(15)), Kind::map_entry, &q->block));
            entry->place.store(shared::make_place(sequence, standing));
            entry->link.store(shared::make_link(key_of(own_map(), key).hash, 77));
            entry->sizes.store(shared::Sizes{4, 0, static_cast<std::uint16_t>(inline_bytes(15))}.packed());
            std::memcpy(entry->content(), &key, 4);
            fill_item(entry->content() + 8, 15, inline_bytes(15));
        };
        make(8, 90, shared::Standing::made);
        make(9, 91, shared::Standing::gone);
        make(2, 1, shared::Standing::live);
        SharedBlock* large = heap.resolve(prepared.large);
        heap.set_owner(large, &q->block);
        self->handles.drop(self->arena, self->process, value_slot);
        self->handles.drop(self->arena, self->process, held_slot);
        heap.allocate(112, Kind::map_segment, &q->block);
        heap.allocate(112, Kind::map_directory, &q->block);
        q->count.store(99);
        q->oldest = q->waste = 1;
        q->directory_room = 1;
        q->next_sequence = 0;
        q->words.version.store(q->words.version.load() | 1);
    });
    prepare_own(14);
}

void add_other_cases(Cases& cases) {
    cases.add("recover", {three, leave_a_mess, [] { store_prepared(4); }, {{1, 11}, {2, 15}, {3, 13}},
                          {{1, 11}, {2, 15}, {3, 13}, {4, 14}}});
    cases.add("find/a large value", {larges, [] {},
                                     [] {
                                         shared::Found found;
                                         const std::uint32_t key = 3;
                                         victim_does(false, [&](auto& who, Wait& wait) {
                                             return own_map().attempt_find(who, key_of(own_map(), key), victims_room, found, wait);
                                         });
                                     },
                                     kLarges, kLarges});
    cases.add("copy", {larges, [] {},
                       [] {
                           shared::Basket basket;
                           basket.data = victims_room;
                           basket.room = sizeof victims_room;
                           if (victim_does(false, [&](auto& who, Wait& wait) { return own_map().attempt_copy(who, basket, wait); }) != Result::done)
                               std::abort();
                       },
                       kLarges, kLarges});
    cases.add("put/under the lock", {three,
                                     [] {
                                         prepare_own(14);
                                         if (!reinterpret_cast<MapState*>(own(object))->words.lock.try_acquire(victim().token)) std::abort();
                                     },
                                     [] {
                                         store_prepared(2);
                                         reinterpret_cast<MapState*>(own(object))->words.lock.release();
                                     },
                                     kThree, {{1, 11}, {2, 14}, {3, 13}}});
    cases.add("hold", {three, [] { prepare_own(kLarge + 5); }, [] {
                           in_own_section([] {
                               auto& heap = self->arena.heap;
                               const BlockRef held = heap.ref_to(own(object));
                               if (!heap.hold(heap.resolve(prepared.large), &held, 1)) std::abort();
                           });
                       },
                       kThree, kThree});
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    bool soak = false;
    for (int i = 1; i < argc; ++i) soak = soak || std::string(argv[i]) == "--soak";
    step_kill::Suite suite;
    arena_crash::Cases cases(suite, soak);
    arena_crash::add_put_cases(cases);
    arena_crash::add_remove_cases(cases);
    arena_crash::add_other_cases(cases);
    return arena_crash::run(suite, argc, argv);
}
