// Shared lists under death at every instruction: one item set, put in and taken out, at the end and within; several at once;
// growth, shrinking, another order; reading; the user's lock; and the recovery from what the dead left.
#include <cstdint>
#include <string>

#include "crash/list_fixture.hpp"

namespace arena_crash {
namespace {

struct Parts {
    void (*set_up)() = [] {};
    void (*prepare)() = [] {};
    void (*operation)() = [] {};
    Numbers before, after;  // one of both is found; the latter if the operation has ended
};

Case list_case(const char* name, const Parts& parts) {
    Case subject = arena_case(name);
    subject.setup = [parts](Memory&) {
        found_list();
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
        Numbers found;
        if (const std::string wrong = read_list(found); !wrong.empty()) return wrong;
        const bool finished = crash.finished && crash.second_victim == 0;
        CRASH_REQUIRE(found == parts.after || (found == parts.before && !finished), "%s", list_of_numbers(found).c_str());
        if (const std::string wrong = list_goes_on(found); !wrong.empty()) return wrong;
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
        own_list().attempt_pass(who, wait);
    };
    return subject;
}

const Numbers kFour{11, 102, 13, 1004};
void four() { keeper_appends(kFour); }
const Numbers kFull{1, 102, 3, 4, 105, 6, 7, 8, 9};  // a first array has room for no more
void full() { keeper_appends(kFull); }
Numbers with(Numbers numbers, std::ptrdiff_t at, const Numbers& more) {
    numbers.insert(numbers.begin() + at, more.begin(), more.end());
    return numbers;
}
const Numbers kMany(30, 120);

class Cases {
public:
    Cases(step_kill::Suite& suite, bool soak) : suite_(suite), soak_(soak) {}
    void add(const char* name, const Parts& parts) {
        suite_.add(list_case(name, parts));
        if (soak_) suite_.add(with_second_victims(list_case(name, parts)));
    }

private:
    step_kill::Suite& suite_;
    bool soak_;
};

void add_put_cases(Cases& cases) {
    constexpr auto plain = [] { prepare_own({21}); };
    constexpr auto block = [] { prepare_own({121}); };
    constexpr auto large = [] { prepare_own({1021}); };
    constexpr auto append = [] { replace_own(shared::kAtTheEnd); };
    constexpr auto insert = [] { replace_own({1, 1, 1}); };
    constexpr auto set_last = [] { set_own(-1); };
    constexpr auto set_second = [] { set_own(1); };
    cases.add("append/plain", {four, plain, append, kFour, with(kFour, 4, {21})});
    cases.add("append/in a block", {four, block, append, kFour, with(kFour, 4, {121})});
    cases.add("append/a message", {four, large, append, kFour, with(kFour, 4, {1021})});
    cases.add("append/with another array", {full, plain, append, kFull, with(kFull, 9, {21})});
    cases.add("set/plain for a block", {four, plain, set_second, kFour, {11, 21, 13, 1004}});
    cases.add("set/a block for a block", {four, block, set_second, kFour, {11, 121, 13, 1004}});
    cases.add("set/a message for a message", {four, large, set_last, kFour, {11, 102, 13, 1021}});
    cases.add("insert/plain", {four, plain, insert, kFour, with(kFour, 1, {21})});
    cases.add("insert/in a block", {four, block, insert, kFour, with(kFour, 1, {121})});
    cases.add("insert/with another array", {full, block, insert, kFull, with(kFull, 1, {121})});
    constexpr auto several = [] { prepare_own({21, 122, 1023}); };
    cases.add("extend", {four, several, append, kFour, with(kFour, 4, {21, 122, 1023})});
    cases.add("extend/with another array", {full, several, append, kFull, with(kFull, 9, {21, 122, 1023})});
    cases.add("assign/a slice", {four, several, [] { replace_own({1, 3, 1}); }, kFour, {11, 21, 122, 1023, 1004}});
    cases.add("assign/an extended slice", {four, [] { prepare_own({121, 22}); }, [] { replace_own({3, INT64_MIN, -2}); }, kFour, {11, 22, 13, 121}});
}

void add_remove_cases(Cases& cases) {
    constexpr auto nothing = [] {};
    cases.add("take/the last", {four, nothing, [] { remove_own({3, 4, 1}); }, kFour, {11, 102, 13}});
    cases.add("take/within", {full, nothing, [] { remove_own({1, 2, 1}); }, kFull, {1, 3, 4, 105, 6, 7, 8, 9}});
    cases.add("take/with a smaller array", {[] {
                                               keeper_appends({1, 102, 3, 4, 105, 6, 7});
                                               keeper_appends(kMany);
                                               require(at_once(keeper->caller(), [](auto& who, Wait& wait) {
                                                   return list_of(*keeper).attempt_remove(who, {15, INT64_MAX, 1}, {}, wait);
                                               }));
                                           },
                                           nothing, [] { remove_own({1, 2, 1}); }, with({1, 102, 3, 4, 105, 6, 7}, 7, Numbers(8, 120)),
                                           with({1, 3, 4, 105, 6, 7}, 6, Numbers(8, 120))});
    cases.add("pop", {four, nothing,
                      [] {
                          shared::FoundItem found;
                          char out[shared::kLargestPart];
                          list_does([&](auto& who, Wait& wait) {
                              return own_list().attempt_pop(who, 1, out, found, [](const char*) { return true; }, wait);
                          });
                      },
                      kFour, {11, 13, 1004}});
    cases.add("remove/a slice", {full, nothing, [] { remove_own({1, 5, 1}); }, kFull, {1, 6, 7, 8, 9}});
    cases.add("remove/an extended slice", {full, nothing, [] { remove_own({INT64_MAX, INT64_MIN, -3}); }, kFull, {1, 102, 4, 105, 7, 8}});
    cases.add("clear", {four, nothing, [] { remove_own(shared::kAll); }, kFour, {}});
}

// What deaths at several steps would have left together: a hole, blocks in no cell, another array, wrong figures.
void leave_a_mess() {
    prepare_own({1009});
    in_own_section([] {
        auto& heap = self->arena.heap;
        auto* q = reinterpret_cast<ListState*>(own(object));
        heap.set_owner(heap.resolve(prepared[0].part.large), &q->block);
        self->handles.drop(self->arena, self->process, item_slot);
        self->handles.drop(self->arena, self->process, held_slot);
        heap.allocate(60, Kind::list_value, &q->block)->next_free = 1;
        heap.allocate(200, Kind::list_array, &q->block);
        q->hole = 1;  // what is in it counts no more
        q->values = q->bytes = q->large = 77;
        q->waste = 1;
        q->words.version.store(q->words.version.load() | 1);
    });
    prepare_own({21});
}

void add_other_cases(Cases& cases) {
    constexpr auto nothing = [] {};
    cases.add("recover", {four, leave_a_mess, [] { replace_own(shared::kAtTheEnd); }, {11, 13, 1004}, {11, 13, 1004, 21}});
    cases.add("reverse", {four, nothing,
                          [] {
                              list_does([](auto& who, Wait& wait) {
                                  return own_list().attempt_arrange(who, [](std::uint64_t i, std::uint64_t n) { return n - 1 - i; }, {}, wait);
                              });
                          },
                          kFour, {1004, 13, 102, 11}});
    cases.add("add", {four, nothing,
                      [] {
                          ListItem item;
                          list_does([&](auto& who, Wait& wait) {
                              return own_list().attempt_alter(who, 0, item, [](shared::Cell cell, const char*, std::uint64_t, ListItem& to) {
                                  to = ListItem{shared::cell_of(shared::integer_in(cell) + 5), {}};
                                  return true;
                              }, wait);
                          });
                      },
                      kFour, {16, 102, 13, 1004}});
    cases.add("find/a message", {four, nothing,
                                 [] {
                                     shared::FoundItem found;
                                     char out[shared::kLargestPart];
                                     list_does([&](auto& who, Wait& wait) { return own_list().attempt_find(who, -1, out, found, wait); });
                                 },
                                 kFour, kFour});
    cases.add("copy", {four, nothing,
                       [] {
                           static char room[4096];
                           shared::ItemBasket basket;
                           basket.data = room;
                           basket.room = sizeof room;
                           list_does([&](auto& who, Wait& wait) { return own_list().attempt_copy(who, shared::kAll, basket, wait); });
                       },
                       kFour, kFour});
    cases.add("waste/left and freed", {[] { keeper_appends({102, 103, 104}); },
                                       [] {
                                           // As a change of very many items leaves it.
                                           in_own_section([] {
                                               auto& heap = self->arena.heap;
                                               auto* q = reinterpret_cast<ListState*>(own(object));
                                               auto* former = reinterpret_cast<shared::Array<SharedWorld>*>(heap.block_at(q->array.load()));
                                               auto* other = reinterpret_cast<shared::Array<SharedWorld>*>(
                                                   heap.allocate(128, Kind::list_array, &q->block));
                                               other->length.store(0);
                                               q->array.store(heap.offset_of_block(other));
                                               q->waste = static_cast<std::uint32_t>(heap.offset_of_block(former) >> kGrainShift);
                                               q->waste_left = 3;
                                           });
                                       },
                                       [] {
                                           victim_does(false, [](auto& who, Wait& wait) { return own_list().attempt_free_waste(who, wait); });
                                       },
                                       {}, {}});
    cases.add("set/under the lock", {four,
                                     [] {
                                         prepare_own({21});
                                         if (!reinterpret_cast<ListState*>(own(object))->words.lock.try_acquire(victim().token)) std::abort();
                                     },
                                     [] {
                                         set_own(0);
                                         reinterpret_cast<ListState*>(own(object))->words.lock.release();
                                     },
                                     kFour, {21, 102, 13, 1004}});
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
