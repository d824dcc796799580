// Shared lists beside a sequential one: semantics, slices, growth and shrinking, messages, memory, and threads that read and
// write at once.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "check.hpp"
#include "map/shared_list.hpp"

using namespace shared_list;

namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }
std::string long_text(std::uint64_t n) { return std::string(kLargestPart + 1 + n % 30'000, static_cast<char>('a' + n % 26)); }

void set_limit(std::uint64_t units) {
    inside([&] { tree().arena.set_limit(units * treadle::arena::kUnit); });
}

/// Which indexes a slice has, by the definition in Python's reference.
std::vector<std::int64_t> indexes(Slice slice, std::int64_t length) {
    const auto limit = [&](std::int64_t at) {
        if (at < 0) at += length;
        const std::int64_t least = slice.step < 0 ? -1 : 0, most = slice.step < 0 ? length - 1 : length;
        return std::clamp(at, least, most);
    };
    std::vector<std::int64_t> found;
    const std::int64_t stop = limit(slice.stop);
    for (std::int64_t i = limit(slice.start); slice.step > 0 ? i < stop : i > stop; i += slice.step) found.push_back(i);
    return found;
}

class Reference {
public:
    bool replace(Slice slice, const Strings& items) {
        const auto at = indexes(slice, size());
        if (slice.step != 1) {
            if (at.size() != items.size()) return false;
            for (std::size_t i = 0; i < at.size(); ++i) strings[static_cast<std::size_t>(at[i])] = items[i];
            return true;
        }
        const auto first = strings.begin() + static_cast<std::ptrdiff_t>(slice.of(strings.size()).first);
        strings.insert(strings.erase(first, first + static_cast<std::ptrdiff_t>(at.size())), items.begin(), items.end());
        return true;
    }
    void remove(Slice slice) {
        auto at = indexes(slice, size());
        std::sort(at.rbegin(), at.rend());
        for (const std::int64_t i : at) strings.erase(strings.begin() + i);
    }
    std::int64_t size() const { return static_cast<std::int64_t>(strings.size()); }
    Strings strings;
};

}  // namespace

TEST(slices_are_those_of_python) {
    constexpr std::int64_t kMost = INT64_MAX, kLeast = INT64_MIN;
    for (std::int64_t length = 0; length < 6; ++length)
        for (const std::int64_t step : {std::int64_t{1}, std::int64_t{2}, std::int64_t{5}, std::int64_t{-1}, std::int64_t{-3}, kMost, -kMost})
            for (const std::int64_t start : {kLeast, std::int64_t{-7}, std::int64_t{-2}, std::int64_t{0}, std::int64_t{3}, std::int64_t{6}, kMost})
                for (const std::int64_t stop : {kLeast, std::int64_t{-7}, std::int64_t{-1}, std::int64_t{0}, std::int64_t{4}, std::int64_t{6}, kMost}) {
                    const Slice slice{start, stop, step};
                    const auto range = slice.of(static_cast<std::uint64_t>(length));
                    const auto due = indexes(step == kMost ? Slice{start, stop, 100} : step == -kMost ? Slice{start, stop, -100} : slice, length);
                    CHECK_EQ(range.count, due.size());
                    for (std::size_t i = 0; i < due.size(); ++i) CHECK_EQ(range[i], static_cast<std::uint64_t>(due[i]));
                }
}

TEST(plain_cells_give_back_what_was_put_into_them) {
    using namespace treadle::map;
    constexpr std::int64_t kMost = (std::int64_t{1} << 62) - 1;
    for (const std::int64_t n : {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1}, kMost, -kMost - 1}) {
        const Cell cell = cell_of(n);
        CHECK(is_plain(cell) && plain_kind(cell) == PlainKind::integer && integer_in(cell) == n);
    }
    CHECK(cell_of(kMost + 1) == 0 && cell_of(-kMost - 2) == 0 && cell_of(INT64_MIN) == 0);
    threads::Random random(5);
    int fitting = 0;
    const auto check = [&](double real) {
        const Cell cell = cell_of(real);
        if (cell == 0) return;
        ++fitting;
        CHECK(is_plain(cell) && plain_kind(cell) == PlainKind::real);
        CHECK_EQ(std::bit_cast<std::uint64_t>(real_in(cell)), std::bit_cast<std::uint64_t>(real));
    };
    for (int i = 0; i < 100000; ++i) check(std::bit_cast<double>(random()));
    CHECK(fitting > 10000, fitting);
    for (const double real : {0.0, 1.0, -1.0, 0.1, -3.14159, 1e70, -1e-70}) {
        CHECK(cell_of(real) != 0, real);
        check(real);
    }
    const double zeros_place = std::bit_cast<double>(kZerosPlace);
    check(-zeros_place);
    check(std::nextafter(zeros_place, 1.0));
    for (const double real : {-0.0, zeros_place, 1e300, 1e-300, HUGE_VAL, std::numeric_limits<double>::quiet_NaN()}) CHECK(cell_of(real) == 0);
    for (std::uint32_t size = 0; size < 9; ++size) {
        const std::string text = std::string("\0\xff" "abcdefg", 9).substr(0, size);
        const Cell cell = cell_of(text.data(), size);
        CHECK_EQ(cell != 0, size <= 7);
        char out[8];
        if (cell != 0) CHECK(is_plain(cell) && plain_kind(cell) == PlainKind::bytes && std::string(out, bytes_in(cell, out)) == text);
    }
}

TEST(a_list_does_what_a_sequential_one_does) {
    const std::uint64_t blocks = audited_blocks();
    {
        SharedList list;
        Reference reference;
        threads::Random random(11);
        const auto value = [&] {
            const std::uint64_t n = random();
            return n % 40 == 0 ? long_text(n) : n % 3 == 0 ? std::string(8 + n % 90, static_cast<char>('a' + n % 26)) : number(n % 1000);
        };
        const auto index = [&] { return static_cast<std::int64_t>(random.below(44)) - 22; };
        const auto place = [&](std::int64_t i) { return i < 0 ? i + reference.size() : i; };
        const int steps = check::scale(check::sanitized ? 2000 : 10000, 300000);
        for (int step = 0; step < steps; ++step) {
            const std::int64_t at = index(), i = place(at);
            const bool there = i >= 0 && i < reference.size();
            switch (random.below(14)) {
                case 0: case 1: case 2: {
                    const std::string text = value();
                    CHECK_EQ(list.append(text), Result::done);
                    reference.strings.push_back(text);
                    break;
                }
                case 3: case 4: {
                    const std::string text = value();
                    CHECK_EQ(list.replace({at, at, 1}, {text}), Result::done);
                    reference.replace({at, at, 1}, {text});
                    break;
                }
                case 5: case 6: {
                    const std::string text = value();
                    CHECK_EQ(list.set(at, text), there ? Result::done : Result::empty);
                    if (there) reference.strings[static_cast<std::size_t>(i)] = text;
                    break;
                }
                case 7:
                    CHECK_EQ(list.take(at), there ? Result::done : Result::empty);
                    if (there) reference.strings.erase(reference.strings.begin() + i);
                    break;
                case 8: {
                    std::string popped;
                    const bool large = there && reference.strings[static_cast<std::size_t>(i)].size() > kLargestPart;
                    CHECK_EQ(list.pop(at, popped), !there ? Result::empty : large ? Result::no_room : Result::done);
                    if (!there || large) break;
                    CHECK_EQ(popped, reference.strings[static_cast<std::size_t>(i)]);
                    reference.strings.erase(reference.strings.begin() + i);
                    break;
                }
                case 9: {
                    const std::int64_t strides[] = {1, 1, 1, 2, 3, -1, -2};
                    const Slice slice{at, index(), strides[random.below(7)]};
                    Strings items(slice.step == 1 || random.below(4) == 0 ? random.below(8) : indexes(slice, reference.size()).size());
                    for (auto& item : items) item = value();
                    std::uint64_t replaced = 0;
                    const std::size_t there_were = indexes(slice, reference.size()).size();
                    const bool fits = reference.replace(slice, items);
                    CHECK_EQ(list.replace(slice, items, {}, &replaced), fits ? Result::done : Result::no_room);
                    CHECK_EQ(replaced, there_were);
                    break;
                }
                case 10: {
                    const std::int64_t strides[] = {1, 1, 2, 3, -1, -2};
                    const Slice slice{at, index(), strides[random.below(6)]};
                    CHECK_EQ(list.remove(slice), Result::done);
                    reference.remove(slice);
                    break;
                }
                case 11:
                    CHECK_EQ(list.reverse(), Result::done);
                    std::reverse(reference.strings.begin(), reference.strings.end());
                    break;
                case 12: {
                    const Slice slice{at, index(), random.below(2) == 0 ? 1 : -2};
                    Strings due;
                    for (const std::int64_t k : indexes(slice, reference.size())) due.push_back(reference.strings[static_cast<std::size_t>(k)]);
                    CHECK(list.strings(slice) == due, "step ", step);
                    break;
                }
                default: {
                    const auto found = list.get(at);
                    CHECK_EQ(found.has_value(), there);
                    if (found && there) CHECK(*found == reference.strings[static_cast<std::size_t>(i)], "step ", step);
                }
            }
            CHECK_EQ(list.count(), reference.strings.size());
            if (random.below(300) == 0) list.remove(kAll), reference.strings.clear();
            if (step % 20 == 0) CHECK(list.strings() == reference.strings, "step ", step);
        }
        CHECK_EQ(list.figures().mended, 0u);
        audited_blocks();
    }
    CHECK_EQ(audited_blocks(), blocks);
}

TEST(a_condition_tells_one_value_from_the_next) {
    SharedList list;
    const std::string text(20, 'x');
    list.append(text);
    FoundItem first;
    list.get(0, &first);
    const ListCondition same{ListCondition::same, first.cell, first.value, 0};
    CHECK_EQ(list.set(0, text, same), Result::done);
    CHECK_EQ(list.set(0, text, same), Result::gone);
    CHECK_EQ(list.take(0, same), Result::gone);
    std::uint64_t version = 0;
    list.strings(kAll, &version);
    const ListCondition unchanged{ListCondition::unchanged, 0, 0, version};
    CHECK_EQ(list.replace({0, 0, 1}, {"a"}, unchanged), Result::done);
    CHECK_EQ(list.replace({0, 0, 1}, {"a"}, unchanged), Result::gone);
    CHECK_EQ(list.remove(kAll, unchanged), Result::gone);
    CHECK_EQ(list.arrange([](std::uint64_t i, std::uint64_t) { return i; }, unchanged), Result::gone);
    CHECK(list.strings() == Strings({"a", text}));
}

TEST(numbers_are_added_to_in_their_cells) {
    SharedList list;
    list.append("text");
    list.append("more");
    list.set_number(1, 40);
    CHECK_EQ(list.add(-1, 2), Result::done);
    CHECK_EQ(list.add(0, 2), Result::gone);
    CHECK_EQ(list.add(2, 2), Result::empty);
    CHECK(list.strings() == Strings({"text", "42"}));
}

TEST(a_list_grows_and_shrinks_and_gives_memory_back) {
    const std::uint64_t blocks = audited_blocks();
    SharedList list;
    const std::uint64_t many = check::scale<std::uint64_t>(check::sanitized ? 3000 : 50000, 1000000);
    for (std::uint64_t i = 0; i < many; ++i) list.append(number(i));
    CHECK(list.count() == many && list.figures().capacity >= many && list.figures().memory < 2 * 8 * many + 1000);
    CHECK_EQ(audited_blocks(), blocks + 2);
    std::string popped;
    for (std::uint64_t i = many; i > 3; --i) {
        CHECK_EQ(list.pop(-1, popped), Result::done);
        if (popped != number(i - 1)) CHECK(false, popped);
    }
    CHECK(list.figures().capacity == 9 && list.strings() == Strings({"0", "1", "2"}));
    const std::string text(100, 'y');
    for (std::uint64_t i = 0; i < many; ++i) list.append(text);
    CHECK_EQ(list.remove({0, INT64_MAX, 2}), Result::done);
    CHECK_EQ(list.count(), (many + 3) / 2);
    CHECK_EQ(list.remove(kAll), Result::done);
    CHECK(list.count() == 0 && list.figures().memory < 1000 && audited_blocks() == blocks + 2);
}

TEST(what_one_step_left_to_be_freed_others_free) {
    SharedList list;
    const std::string text(100, 'y');
    const Strings many(5000, text);
    const std::uint64_t blocks = audited_blocks();
    for (int round = 0; round < 3; ++round) {
        CHECK_EQ(list.replace(kAll, many), Result::done);
        CHECK_EQ(SharedList::operate([&](auto& who, Wait& wait) { return list.list().attempt_remove(who, kAll, {}, wait); }), Result::done);
        CHECK_EQ(list.count(), 0u);
        if (round != 1) continue;
        CHECK(audited_blocks() > blocks + 3000);
        for (int i = 0; i < 8; ++i) list.append("z");
        CHECK_EQ(audited_blocks(), blocks);
    }
    CHECK_EQ(list.remove(kAll), Result::done);
    CHECK_EQ(audited_blocks(), blocks);
}

// What may fail in a change: a value, an array, the one after some of the others. One unit at a time comes back.
TEST(every_allocation_of_a_growing_list_may_fail) {
    SharedList list;
    Strings reference;
    const std::uint64_t many = check::sanitized ? 10000 : 20000;
    set_limit(tree().arena.header().used_units.load());
    unsigned refused = 0;
    threads::Random random(3);
    while (reference.size() < many) {
        Strings items(1 + random.below(40));
        for (auto& item : items) item = std::string(random.below(120), 'v');
        const std::uint64_t before = list.count();
        const std::int64_t at = random.below(2) == 0 ? INT64_MAX : static_cast<std::int64_t>(random.below(before + 1));
        const Result result = list.replace({at, at, 1}, items);
        if (result == Result::done) {
            reference.insert(reference.begin() + std::min<std::int64_t>(at, static_cast<std::int64_t>(before)), items.begin(), items.end());
        } else {
            REQUIRE(result == Result::no_memory);
            ++refused;
            CHECK_EQ(list.count(), reference.size());
            set_limit(tree().arena.header().limit_units.load() + 1);
        }
    }
    CHECK(refused > 5 && list.strings() == reference, refused);
    // A full arena can be emptied.
    set_limit(tree().arena.header().used_units.load());
    while (list.append(std::string(40, 'w')) == Result::done) reference.push_back(std::string(40, 'w'));
    CHECK_EQ(list.take(0), Result::done);
    CHECK_EQ(list.remove({5, 10, 1}), Result::done);
    CHECK_EQ(list.remove({0, 20, 2}), Result::done);
    reference.erase(reference.begin());
    reference.erase(reference.begin() + 5, reference.begin() + 10);
    for (std::size_t i = 0; i < 10; ++i) reference.erase(reference.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK(list.strings() == reference);
    CHECK_EQ(list.append("there is room again"), Result::done);
    set_limit(8192);
    audited_blocks();
}

TEST(what_is_replaced_by_what_finds_no_memory_stays) {
    SharedList list;
    const std::string small(30, 's');
    const Strings before{long_text(1), small, "3", long_text(4)};
    CHECK_EQ(list.replace(kAll, before), Result::done);
    const std::uint64_t blocks = audited_blocks();
    const Strings texts{long_text(7), small};
    const Items large(texts);
    set_limit(tree().arena.header().used_units.load());
    std::vector<std::string> fillers(40000, std::string(60, 'f'));
    CHECK_EQ(list.replace(kAtTheEnd, fillers), Result::no_memory);
    std::uint64_t replaced = 0;
    std::vector<Item> items(large.data(), large.data() + 2);
    for (int i = 0; i < 40000; ++i) items.push_back(large.data()[1]);
    CHECK_EQ(SharedList::operate([&](auto& who, Wait& wait) {
        return list.list().attempt_replace(who, kAll, items.data(), items.size(), {}, replaced, wait);
    }), Result::no_memory);
    set_limit(8192);
    CHECK(list.strings() == before);
    CHECK_EQ(audited_blocks(), blocks + 1);  // the message that was not put is its maker's
}

TEST(the_holder_of_the_lock_goes_on_and_others_wait) {
    SharedList list;
    list.append("1");
    REQUIRE(list.state().words.lock.try_acquire(self().token));
    CHECK_EQ(list.append("2"), Result::done);
    std::atomic<int> passed{0};
    threads::run_threads(2, [&](unsigned i) {
        if (i == 0) return;
        auto other = self();
        Wait wait;
        wait.announce = false;
        char out[kLargestPart];
        FoundItem found;
        std::uint64_t count = 0;
        CHECK_EQ(list.list().attempt_find(other, 0, out, found, wait), Result::blocked);
        CHECK(!wait.section);
        CHECK_EQ(list.list().attempt_count(other, count, wait), Result::blocked);
        CHECK_EQ(list.list().attempt_remove(other, kAll, {}, wait), Result::blocked);
        ++passed;
    });
    CHECK_EQ(passed.load(), 1);
    std::thread waiter([&] { CHECK(list.get(-1) == "3"); });
    list.append("3");
    list.state().words.lock.release();
    waiter.join();
}

TEST(threads_that_read_and_write_see_whole_values) {
    SharedList list;
    constexpr unsigned kThreads = 4;
    const std::uint64_t rounds = check::scale<std::uint64_t>(check::sanitized ? 400 : 8000, 300000);
    const auto text = [](std::uint64_t n) { return std::string(1 + n % 300, static_cast<char>('a' + n % 26)); };
    const auto check_text = [](const std::string& found) {
        if (found != std::string(found.size(), found[0])) CHECK(false, "a torn value");
    };
    list.append("0");
    list.set_number(0, 0);
    std::atomic<bool> done{false};
    threads::run_threads(kThreads, [&](unsigned i) {
        threads::Random random(i + 1);
        if (i < 2) {
            for (std::uint64_t n = 0; n < rounds; ++n) {
                std::string popped;
                const auto at = static_cast<std::int64_t>(1 + random.below(30));
                switch (random.below(6)) {
                    case 0: list.set(at, text(random())); break;
                    case 1: list.append(text(random())); break;
                    case 2: if (list.count() > 40) list.remove({20, INT64_MAX, 1}); break;
                    case 3: list.replace({at, at, 1}, {text(random()), text(random())}); break;
                    case 4: if (at < 30) list.take(at); break;
                    default: if (list.count() > 5) list.remove({2, 5, 2}); break;
                }
                list.add(0, 1);
            }
            done = true;
            return;
        }
        while (!done) {
            if (const auto found = list.get(static_cast<std::int64_t>(1 + random.below(40)))) check_text(*found);
            if (const auto last = list.get(-1); list.count() > 1 && last && last->size() > 9) check_text(*last);
            if (random.below(50) == 0)
                for (const auto& found : list.strings({1, INT64_MAX, 1})) check_text(found);
        }
    });
    CHECK(list.get(0) == number(2 * rounds));
    audited_blocks();
}

int main(int argc, char** argv) {
    Mapping::install();
    return check::main(argc, argv);
}
