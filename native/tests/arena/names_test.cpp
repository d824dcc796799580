// Objects by name: found, kept, let go; and the chunks that hold the names.
#include <cstdint>
#include <string>
#include <vector>

#include "arena/plain_memory.hpp"
#include "check.hpp"
#include "crash/arena_books.hpp"

using namespace plain;

namespace {

struct Place {
    Memory memory;
    PlainArena arena{memory.base(), memory};
    PlainArena::RegistryT& registry = arena.registry;
    Names<SharedWorld, Memory>& names = arena.names;
    PlainHandles handles;
    std::uint32_t process;

    explicit Place(std::uint64_t limit_units = 1024) {
        REQUIRE(arena.format(limit_units * kUnit, kIdentity, 1, 1, 1, 1));
        process = registry.add_process(ProcessState::live, 7, 1007, 3);
    }
    static Text text(const std::string& s) { return {s.data(), static_cast<std::uint32_t>(s.size())}; }

    struct Held {
        PlainBlock* block;
        std::uint32_t slot;
        BlockRef ref;
    };
    Held make() {
        PlainBlock* block = arena.heap.allocate(100, Kind::lock);
        REQUIRE(block != nullptr);
        return {block, handles.add(arena, process, block), arena.heap.ref_to(block)};
    }
    Held make(const std::string& name, const std::string& description = "Lock()") {
        const Held held = make();
        CHECK(names.add(held.block, text(name), text(description)));
        return held;
    }
    void drop(const Held& held) { handles.drop(arena, process, held.slot); }
    PlainBlock* find(const std::string& name) {
        const auto* entry = names.find(text(name));
        return entry == nullptr ? nullptr : names.object_of(entry);
    }
    bool lives(const Held& held) { return arena.heap.resolve(held.ref) != nullptr; }
    std::vector<std::string> all() {
        std::vector<std::string> found;
        for (std::uint32_t cursor = 0; const auto* entry = names.find_next(cursor);) {
            const Text name = names.name_of(entry);
            found.emplace_back(name.data, name.bytes);
        }
        return found;
    }
    void audit() {
        arena_crash::Books books(arena);
        const std::string wrong = books.check();
        CHECK(wrong.empty(), wrong);
    }
    /// As if whoever was in the section had died there.
    void rebuild() {
        audit();
        arena.rebuild();
        audit();
    }
};

std::string numbered(std::uint32_t n) { return "name " + std::to_string(n); }

}  // namespace

TEST(an_object_is_found_by_its_name_and_by_no_other) {
    Place place;
    CHECK(place.find("jobs") == nullptr);
    const auto jobs = place.make("jobs", "Queue(3)");
    const auto more = place.make("jobs, more");
    CHECK(place.find("jobs") == jobs.block);
    CHECK(place.find("jobs, more") == more.block);
    for (const char* none : {"", "j", "job", "jobs ", "Jobs"}) CHECK(place.find(none) == nullptr, none);
    const auto* entry = place.names.find(Place::text("jobs"));
    CHECK(place.names.description_of(entry) == Place::text("Queue(3)"));
    CHECK(place.names.entry_of(jobs.block) == entry);
    place.rebuild();
    CHECK(place.find("jobs") == jobs.block);
}

TEST(an_object_without_a_name_has_none) {
    Place place;
    const auto nameless = place.make();
    CHECK(place.names.entry_of(nameless.block) == nullptr);
    place.names.release(nameless.block);
    CHECK(place.lives(nameless));
    place.audit();
}

TEST(a_name_goes_with_its_object_and_can_be_given_again) {
    Place place;
    const std::uint64_t blocks = place.arena.header().blocks.load();
    for (int round = 0; round < 3; ++round) {
        const auto held = place.make("jobs");
        CHECK(place.find("jobs") == held.block);
        place.drop(held);
        CHECK(place.find("jobs") == nullptr);
        CHECK(place.all().empty());
        CHECK_EQ(place.arena.header().blocks.load(), blocks + 1, "the chunk of names");
        place.rebuild();
    }
}

TEST(what_is_kept_stays_without_users_until_it_is_released) {
    Place place;
    const auto held = place.make("jobs");
    CHECK(!place.names.keeps(held.block));
    CHECK_EQ(place.arena.header().may_persist.load(), 0u);
    place.names.keep(held.block);
    place.names.keep(held.block);
    CHECK_EQ(place.arena.header().may_persist.load(), 1u);
    place.drop(held);
    place.rebuild();
    CHECK(place.find("jobs") == held.block);
    CHECK(place.names.keeps(held.block));
    place.names.release(held.block);
    CHECK(!place.lives(held));
    CHECK(place.find("jobs") == nullptr);
    CHECK_EQ(place.arena.header().may_persist.load(), 0u);
    place.rebuild();
}

TEST(what_is_released_while_it_is_used_goes_with_its_last_user) {
    Place place;
    const auto held = place.make("jobs"), other = place.make("others");
    place.names.keep(held.block);
    place.names.keep(other.block);
    place.names.release(held.block);
    CHECK(place.find("jobs") == held.block);
    CHECK_EQ(place.arena.header().may_persist.load(), 1u, "of the other one");
    place.rebuild();
    place.drop(held);
    CHECK(place.find("jobs") == nullptr);
    place.audit();
}

TEST(persistence_left_in_vain_is_forgotten) {
    Place place;
    place.names.forget_persistence();
    const auto held = place.make("jobs");
    place.arena.header().may_persist = 1;
    place.names.forget_persistence();
    CHECK_EQ(place.arena.header().may_persist.load(), 0u);
    place.names.keep(held.block);
    place.names.forget_persistence();
    CHECK_EQ(place.arena.header().may_persist.load(), 1u);
}

TEST(many_names_take_more_chunks_and_leave_their_slots_to_others) {
    Place place;
    constexpr std::uint32_t kMany = 2 * kNamesPerChunk + 10;
    std::vector<Place::Held> held;
    for (std::uint32_t n = 0; n < kMany; ++n) held.push_back(place.make(numbered(n)));
    CHECK_EQ(place.all().size(), std::size_t{kMany});
    for (std::uint32_t n = 0; n < kMany; ++n) CHECK(place.find(numbered(n)) == held[n].block);
    place.rebuild();
    for (std::uint32_t n = 0; n < kMany; n += 2) place.drop(held[n]);
    const std::uint64_t blocks = place.arena.header().blocks.load();
    for (std::uint32_t n = 0; n < kMany; n += 2) held[n] = place.make(numbered(n) + " again");
    CHECK_EQ(place.arena.header().blocks.load(), blocks + 2 * ((kMany + 1) / 2), "no chunk more");
    for (std::uint32_t n = 0; n < kMany; ++n)
        CHECK(place.find(n % 2 != 0 ? numbered(n) : numbered(n) + " again") == held[n].block);
    place.audit();
}

TEST(without_memory_nothing_is_named) {
    Place place(64);
    const auto first = place.make("first");
    const std::uint64_t used = place.arena.header().used_units.load();
    place.arena.set_limit(used * kUnit);
    std::vector<Place::Held> held;
    std::uint32_t named = 0;
    for (; named < 100'000; ++named) {
        const auto next = place.make();
        held.push_back(next);
        const std::string name = numbered(named);
        if (!place.names.add(next.block, Place::text(name), Place::text("Lock()"))) break;
        if (place.arena.heap.allocate(100, Kind::message, first.block) == nullptr) break;
    }
    CHECK(named < 100'000);
    CHECK(place.find(numbered(named)) == nullptr || place.find(numbered(named)) == held.back().block);
    CHECK(place.find("first") == first.block);
    place.rebuild();
}

TEST(users_are_counted_by_process) {
    Place place;
    const auto held = place.make("jobs");
    place.handles.add(place.arena, place.process, held.block);
    PlainHandles others;
    const std::uint32_t other = place.registry.add_process(ProcessState::live, 8, 1008, 3);
    others.add(place.arena, other, held.block);
    std::vector<std::int32_t> pids;
    place.registry.for_each_user(held.block, [&](std::int32_t pid) { pids.push_back(pid); });
    CHECK(pids == (std::vector<std::int32_t>{7, 8}));
    CHECK_EQ(place.registry.live_processes(), 2u);
}

int main(int argc, char** argv) { return check::main(argc, argv); }
