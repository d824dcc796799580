// Who takes part: records, tokens, references, and the sweep of the dead; then on real threads.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "arena/plain_memory.hpp"
#include "check.hpp"
#include "threads.hpp"

using namespace plain;
using threads::await;
using threads::Random;
using threads::run_threads;
using treadle::word::kNobody;
using treadle::word::Result;
using treadle::word::Token;
using treadle::word::Wait;

namespace {

constexpr auto kFree = static_cast<std::uint32_t>(ProcessState::free);

struct Place {
    Memory memory;
    PlainArena arena{memory.base(), memory};
    PlainArena::RegistryT& registry = arena.registry;

    explicit Place(std::uint64_t limit_units = 1024) { REQUIRE(arena.format(limit_units * kUnit, kIdentity, 1, 1, 1, 1)); }

    std::uint32_t add(std::int32_t pid, ProcessState state = ProcessState::live) {
        return registry.add_process(state, pid, 1000u + static_cast<std::uint64_t>(pid), 3);
    }
    Token thread(std::uint32_t process, std::uint32_t former = kNoRecord, const char* name = "thread") {
        return registry.add_participant(process, former, 1, 2, name);
    }
    PlainBlock* allocate(std::uint64_t bytes = 100) { return arena.heap.allocate(bytes, Kind::message); }
    bool lives(BlockRef ref) { return arena.heap.resolve(ref) != nullptr; }
    void rebuild() {
        Figures due = figures_of(arena);
        due.used -= idle_units(arena);
        arena.rebuild();
        CHECK(figures_of(arena) == due);
    }
    /// Does everything that the section guards, as one who takes it.
    template <class Action>
    void inside(Token token, Action action) {
        struct Caller {
            Token token;
            bool look = false;
            bool alive(Token) const { return true; }
        };
        threads::insist<SharedWorld>(Caller{token}, [&](auto& who, Wait& wait) {
            if (arena.enter(who, wait) == Result::blocked) return Result::blocked;
            action();
            arena.leave();
            return Result::done;
        });
    }
};

}  // namespace

TEST(a_token_names_a_thread_of_a_process) {
    Place place;
    const std::uint32_t process = place.add(7);
    REQUIRE(process != kNoRecord);
    const Token token = place.thread(process, kNoRecord, "MainThread");
    CHECK(token != kNobody);
    CHECK(token >> 60 == 0u);
    auto* record = place.registry.participant_of(token);
    REQUIRE(record != nullptr);
    CHECK_EQ(record->process.load(), process);
    CHECK_EQ(std::string(record->name), "MainThread");
    CHECK(place.registry.alive(token));
    CHECK(place.registry.thread_alive(token));
    place.memory.dead[7] = true;
    CHECK(!place.registry.alive(token));
    CHECK(!place.registry.thread_alive(token));
    CHECK(place.registry.participant_of(token) == record, "the dead keep their name");
}

TEST(a_long_name_is_cut) {
    Place place;
    const Token token = place.thread(place.add(7), kNoRecord, std::string(200, 'x').c_str());
    CHECK_EQ(std::string(place.registry.participant_of(token)->name), std::string(39, 'x'));
}

TEST(the_end_of_a_thread_is_not_the_end_of_its_process) {
    Place place;
    const std::uint32_t process = place.add(7);
    const Token first = place.thread(process);
    const std::uint32_t index = token_index(first);
    CHECK(!place.registry.idle(index));
    place.registry.end_thread(first);
    CHECK(place.registry.idle(index));
    CHECK(place.registry.alive(first));
    CHECK(!place.registry.thread_alive(first));
    const Token second = place.thread(process, index);
    CHECK_EQ(token_index(second), index);
    CHECK(second != first);
    CHECK(place.registry.thread_alive(second));
    CHECK(!place.registry.thread_alive(first));
    CHECK(place.registry.alive(first), "what it left is its process's");
}

TEST(a_record_that_another_process_has_taken_does_not_answer_for_the_former) {
    Place place;
    std::vector<Token> former;
    for (int pid = 1; pid <= 3; ++pid) former.push_back(place.thread(place.add(pid)));
    for (std::uint32_t process = 0; process < 3; ++process) {
        place.memory.dead[process + 1] = true;
        place.registry.remove_if_dead(process);
    }
    for (const Token token : former) CHECK(place.registry.participant_of(token) != nullptr, "as long as nobody needs the record");
    const std::uint32_t heir = place.add(9);
    std::set<Token> tokens;
    for (unsigned n = 0; n < 2 * kRecordsPerChunk; ++n) {
        const Token token = place.thread(heir);
        CHECK(token != kNobody && tokens.insert(token).second);
    }
    for (const Token token : former) {
        CHECK(place.registry.participant_of(token) == nullptr);
        CHECK(!place.registry.alive(token));
    }
    for (const Token token : tokens) CHECK(place.registry.alive(token));
    place.rebuild();
}

TEST(no_token_is_nobody_and_strangers_are_dead) {
    Place place;
    CHECK(!place.registry.alive(kNobody));
    CHECK(!place.registry.alive(make_token(5, 0, 1)), "of a record that was never made");
    const std::uint32_t process = place.add(7);
    for (unsigned n = 0; n < kRecordsPerChunk + 5; ++n) CHECK(place.thread(process) != kNobody);
    CHECK(!place.registry.alive(kNobody));
    Random random(1);
    unsigned alive = 0;
    for (int n = 0; n < 10000; ++n) {
        Token token = random() >> 4;
        if (token_index(token) != kNoRecord) alive += place.registry.alive(token);
    }
    CHECK_EQ(alive, 0u);
}

TEST(who_has_no_record_yet_goes_by_its_pid_and_start) {
    Place place;
    const Token token = boot_token(77, 123456789);
    CHECK(place.registry.alive(token));
    place.memory.dead[77] = true;
    CHECK(!place.registry.alive(token));
}

TEST(a_pending_child_lives_while_it_may_still_come) {
    Place place;
    const std::uint32_t child = place.add(7, ProcessState::pending);
    const std::uint32_t self = place.add(8);
    CHECK_EQ(place.registry.find_dead(self), kNoRecord);
    place.memory.pending_children = false;
    CHECK_EQ(place.registry.find_dead(self), child);
    place.registry.remove_if_dead(child);
    CHECK_EQ(place.registry.process(child)->state.load(), kFree);
}

TEST(references_keep_blocks_until_the_last_is_dropped) {
    Place place;
    const std::uint32_t process = place.add(7);
    PlainHandles handles;
    PlainBlock* block = place.allocate();
    const BlockRef ref = place.arena.heap.ref_to(block);
    const std::uint32_t first = handles.add(place.arena, process, block);
    const std::uint32_t second = handles.add(place.arena, process, block);
    CHECK(first != second);
    CHECK_EQ(block->refs.load(), 2u);
    place.rebuild();
    CHECK_EQ(block->refs.load(), 2u);
    handles.drop(place.arena, process, first);
    CHECK(place.lives(ref));
    handles.drop(place.arena, process, second);
    CHECK(!place.lives(ref));
    place.rebuild();
}

TEST(an_owned_block_outlives_its_references_and_its_owner_does_not_take_a_referred_one) {
    Place place;
    const std::uint32_t process = place.add(7);
    PlainHandles handles;
    PlainBlock* owner = place.allocate();
    const std::uint32_t of_owner = handles.add(place.arena, process, owner);
    PlainBlock* child = place.arena.heap.allocate(100, Kind::message, owner);
    const BlockRef ref = place.arena.heap.ref_to(child);
    handles.drop(place.arena, process, handles.add(place.arena, process, child));
    CHECK(place.lives(ref), "its owner keeps it");
    const std::uint32_t of_child = handles.add(place.arena, process, child);
    handles.drop(place.arena, process, of_owner);
    CHECK(place.lives(ref), "its reference keeps it");
    handles.drop(place.arena, process, of_child);
    CHECK(!place.lives(ref));
}

TEST(a_table_of_references_grows_and_slots_are_used_again) {
    Place place;
    const std::uint32_t process = place.add(7);
    PlainHandles handles;
    PlainBlock* block = place.allocate();
    std::set<std::uint32_t> slots;
    for (unsigned n = 0; n < 3 * kReferencesPerChunk; ++n) CHECK(slots.insert(handles.add(place.arena, process, block)).second);
    CHECK_EQ(block->refs.load(), 3 * kReferencesPerChunk);
    place.rebuild();
    const Figures before = figures_of(place.arena);
    for (int n = 0; n < 1000; ++n) {
        const std::uint32_t slot = *slots.begin();
        handles.drop(place.arena, process, slot);
        slots.erase(slot);
        CHECK(slots.insert(handles.add(place.arena, process, block)).second);
    }
    CHECK(figures_of(place.arena) == before);
}

TEST(a_child_has_the_references_of_its_parent_at_the_same_slots) {
    Place place;
    const std::uint32_t parent = place.add(7);
    PlainHandles handles;
    std::vector<PlainBlock*> blocks;
    std::vector<std::uint32_t> slots;
    for (unsigned n = 0; n < 2 * kReferencesPerChunk; ++n) {
        blocks.push_back(place.allocate());
        slots.push_back(handles.add(place.arena, parent, blocks.back()));
    }
    const std::uint32_t child = place.add(8);
    CHECK(place.registry.copy_references(parent, child));
    for (PlainBlock* block : blocks) CHECK_EQ(block->refs.load(), 2u);
    place.rebuild();
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const auto entry = [&](std::uint32_t process) {
            return place.registry.table_chunk(process, slots[i] / kReferencesPerChunk)
                ->entries[slots[i] % kReferencesPerChunk].load();
        };
        CHECK_EQ(entry(child), entry(parent));
    }
    place.memory.dead[7] = true;
    CHECK_EQ(place.registry.find_dead(child), parent);
    place.registry.remove_if_dead(parent);
    for (PlainBlock* block : blocks) CHECK_EQ(block->refs.load(), 1u);
    place.memory.dead[8] = true;
    place.registry.remove_if_dead(child);
    place.rebuild();
    std::uint64_t messages = 0;
    place.arena.heap.for_each_block([&](PlainBlock* block) { messages += block->kind == static_cast<std::uint16_t>(Kind::message); });
    CHECK_EQ(messages, 0u, "nothing of the dead is left");
}

TEST(hundreds_of_processes_come_and_go_without_growth) {
    Place place;
    constexpr int kCrowd = 600;  // more than one chunk of records
    Figures after_first{};
    for (int lap = 0; lap < 3; ++lap) {
        std::vector<std::uint32_t> processes;
        for (int pid = 1; pid <= kCrowd; ++pid) {
            place.memory.dead[pid] = false;
            processes.push_back(place.add(pid));
            REQUIRE(processes.back() != kNoRecord);
            CHECK(place.thread(processes.back()) != kNobody);
        }
        for (int pid = 1; pid <= kCrowd; ++pid) place.memory.dead[pid] = true;
        int found = 0;
        for (std::uint32_t dead; (dead = place.registry.find_dead(kNoRecord)) != kNoRecord; ++found) place.registry.remove_if_dead(dead);
        CHECK_EQ(found, kCrowd);
        place.rebuild();
        if (lap == 0) after_first = figures_of(place.arena);
        CHECK(figures_of(place.arena) == after_first);
    }
}

TEST(the_limit_is_told_and_leaves_everything_usable) {
    Place place(8);
    std::vector<std::uint32_t> processes;
    for (std::uint32_t index; (index = place.add(7)) != kNoRecord;) processes.push_back(index);
    // What it takes to empty a full arena, joining it among that, has a reserve beyond the limit; which has an end too.
    constexpr std::size_t kReserved = PlainArena::HeapT::kReserveUnits * kUnit / sizeof(ReferenceChunk<SharedWorld>);
    CHECK(processes.size() > 20u + kReserved / 2);
    CHECK_EQ(place.add(7), kNoRecord);
    place.rebuild();
    CHECK_EQ(place.thread(processes[0]), kNobody, "no memory for a chunk of records");
    PlainHandles handles;
    PlainBlock* block = reinterpret_cast<PlainBlock*>(place.registry.table_chunk(processes[0], 0));
    std::vector<std::uint32_t> slots;
    for (std::uint32_t slot; (slot = handles.add(place.arena, processes[0], block)) != PlainHandles::kNoSlot;) slots.push_back(slot);
    CHECK_EQ(slots.size(), kReferencesPerChunk, "the table that it has, and no further one");
    for (const std::uint32_t slot : slots) handles.drop(place.arena, processes[0], slot);
    // The removal of some makes room for the others.
    for (std::size_t i = processes.size() / 2; i < processes.size(); ++i) place.registry.remove_process(processes[i]);
    CHECK(place.add(7) != kNoRecord);
    place.rebuild();
}

TEST(a_copy_of_references_that_meets_the_limit_says_so_and_can_be_removed) {
    Place place(24);
    const std::uint32_t parent = place.add(7);
    PlainHandles handles;
    PlainBlock* block = place.allocate();
    std::uint32_t count = 0;
    for (; count < 6 * kReferencesPerChunk; ++count)
        REQUIRE(handles.add(place.arena, parent, block) != PlainHandles::kNoSlot);
    const std::uint32_t child = place.add(8);
    REQUIRE(child != kNoRecord);
    while (place.arena.heap.allocate(4096, Kind::message, nullptr, Budget::reserve) != nullptr) {
    }
    CHECK(!place.registry.copy_references(parent, child));
    place.registry.remove_process(child);
    CHECK_EQ(block->refs.load(), count);
}

TEST(liveness_is_asked_for_while_records_change_hands) {
    // One process comes and goes at a time; a token that was found alive belonged to a process that lived just then.
    Place place;
    const std::uint32_t watcher_process = place.add(4000);
    const Token watcher = place.thread(watcher_process);
    std::atomic<Token> published{kNobody};
    std::atomic<bool> ended{false};
    const unsigned laps = check::sanitized ? 300 : 2000;
    run_threads(4, [&](unsigned i) {
        if (i == 0) {
            for (unsigned lap = 1; lap <= laps; ++lap) {
                const auto pid = static_cast<std::int32_t>(lap % 3000 + 1);
                place.memory.dead[pid] = false;
                std::uint32_t process = kNoRecord;
                Token token = kNobody;
                place.inside(boot_token(pid, 1), [&] { token = place.thread(process = place.add(pid)); });
                published.store(token);
                CHECK(place.registry.alive(token));
                CHECK(place.registry.thread_alive(token));
                place.memory.dead[pid] = true;
                CHECK(!place.registry.alive(token));
                place.inside(watcher, [&] { place.registry.remove_if_dead(process); });
                CHECK(!place.registry.alive(token));
            }
            ended.store(true);
            return;
        }
        while (!ended.load()) {
            const Token token = published.load();
            if (i == 1) place.registry.alive(token);
            if (i == 2 && token != kNobody && !place.registry.alive(token)) CHECK(!place.registry.alive(token), "the dead stay dead");
            if (i == 3) place.registry.find_dead(watcher_process);
            CHECK(place.registry.alive(watcher));
        }
    });
}

TEST(threads_of_a_process_come_and_go_side_by_side) {
    Place place;
    const std::uint32_t process = place.add(7);
    run_threads(4, [&](unsigned i) {
        const Token boot = boot_token(7, 1000 + i);
        std::uint32_t former = kNoRecord;
        for (unsigned n = 0; n < (check::sanitized ? 500u : 3000u); ++n) {
            Token token = kNobody;
            place.inside(boot, [&] { token = place.thread(process, former); });
            CHECK(place.registry.thread_alive(token));
            place.registry.end_thread(token);
            CHECK(!place.registry.thread_alive(token));
            former = token_index(token);
        }
    });
    place.rebuild();
}

int main(int argc, char** argv) { return check::main(argc, argv); }
