// arena/registry.hpp: who takes part in an arena: processes, their threads, and what each process refers to.
//
// Promise: a token names a thread of a process for as long as anything may hold it; alive() tells without a lock whether
// its process lives (pid and birth, a zombie is dead); the references of a dead process are dropped by whoever
// sweeps. All methods but alive(), thread_alive() and the lookups run inside the arena's critical section.
//
//   process record   free -> live (attach) | free -> pending (before a fork) -> live (the child)   -> free (sweep)
//   participant      free -> process p (a thread registers; generation + 1, or serial + 1 if p had it) -> idle in p (the
//                    thread ends; serial + 1) -> free (sweep of p; the name and pid stay until reuse)
//
// Death inside: the tables are primary data; what refers to what is counted anew from them (count_references).
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "heap.hpp"
#include "layout.hpp"

namespace treadle::arena {

template <class World, class System>
class Registry {
public:
    using HeapT = Heap<World, System>;
    using BlockT = Block<World>;
    using ProcessT = ProcessRecord<World>;
    using ParticipantT = ParticipantRecord<World>;
    using ChunkT = ReferenceChunk<World>;

    Registry(HeapT& heap, System& system) noexcept : heap_(heap), system_(system) {}

    // Null: no such record was ever made.
    ProcessT* process(std::uint32_t index) const noexcept {
        return record<ProcessT>(heap_.header().process_chunks, heap_.header().process_limit, index);
    }
    ParticipantT* participant(std::uint32_t index) const noexcept {
        return record<ParticipantT>(heap_.header().participant_chunks, heap_.header().participant_limit, index);
    }

    // Of a record that exists.
    ProcessT& process_at(std::uint32_t index) const noexcept {
        return *record_at<ProcessT>(heap_.header().process_chunks, index);
    }
    ParticipantT& participant_at(std::uint32_t index) const noexcept {
        return *record_at<ParticipantT>(heap_.header().participant_chunks, index);
    }

    // The participant that the token means, dead or alive, as long as its record has not been given to another process.
    ParticipantT* participant_of(word::Token token) const noexcept {
        ParticipantT* p = participant(token_index(token));
        return p != nullptr && p->generation.load(std::memory_order_acquire) == token_generation(token) ? p : nullptr;
    }

    // Does the token's process live? (Its thread may have ended: a lock may be released by another.)
    bool alive(word::Token token) const noexcept {
        if (token_index(token) == kNoRecord)
            return system_.boot_alive(static_cast<std::int32_t>((token >> 20) & 0x3fffff), (token >> 42) & 0x3ffff);
        ParticipantT* p = participant_of(token);
        if (p == nullptr) return false;
        const std::uint32_t index = p->process.load(std::memory_order_acquire);
        ProcessT* owner = process(index);
        if (owner == nullptr || !process_alive(index, *owner)) return false;
        // The record may have changed hands while it was read.
        return p->generation.load(std::memory_order_acquire) == token_generation(token) &&
               p->process.load(std::memory_order_acquire) == index;
    }

    // Does the very thread live? For locks that only their owner can release.
    bool thread_alive(word::Token token) const noexcept {
        ParticipantT* p = participant_of(token);
        return p != nullptr && p->serial.load(std::memory_order_acquire) == token_serial(token) && alive(token);
    }

    bool process_alive(std::uint32_t index, ProcessT& p) const noexcept {
        switch (static_cast<ProcessState>(p.state.load(std::memory_order_acquire))) {
            case ProcessState::free: return false;
            case ProcessState::pending:
                if (system_.pending(index)) return true;
                // Not dead if it came to life, and let go of its lock, between the two looks.
                return p.state.load(std::memory_order_acquire) != static_cast<std::uint32_t>(ProcessState::pending) &&
                       process_alive(index, p);
            case ProcessState::live:  // the record may change hands meanwhile: alive() looks again afterwards
                return system_.alive(p.pid.load(std::memory_order_relaxed), p.birth.load(std::memory_order_relaxed));
        }
        return false;
    }

    // A record for a process; kNoRecord: the arena's limit. `state` live or pending; of a pending one pid is the parent's.
    std::uint32_t add_process(ProcessState state, std::int32_t pid, std::uint64_t birth, std::int32_t fd) noexcept {
        Header<World>& h = heap_.header();
        std::uint32_t index = 0;
        const std::uint32_t limit = h.process_limit.load(std::memory_order_relaxed);
        while (index < limit &&
               process_at(index).state.load(std::memory_order_relaxed) != static_cast<std::uint32_t>(ProcessState::free))
            ++index;
        if (index == limit && !extend(h.process_chunks, h.process_limit)) return kNoRecord;
        ProcessT& p = process_at(index);
        BlockT* table = heap_.allocate(sizeof(ChunkT), Kind::references, nullptr, Budget::reserve);
        if (table == nullptr) return kNoRecord;
        clear_table(table);
        p.pid.store(pid, std::memory_order_relaxed);
        p.birth.store(birth, std::memory_order_relaxed);
        p.fd = fd;
        p.references.store(heap_.offset_of_block(table), std::memory_order_relaxed);
        table->refs.store(1, std::memory_order_relaxed);
        p.state.store(static_cast<std::uint32_t>(state), std::memory_order_release);  // publish
        return index;
    }

    // A token for a thread of process `owner`; kNobody: the arena's limit. `former`: a participant of the same process
    // whose thread has ended, to be used again, or kNoRecord. A serial is odd while the thread runs. `task`: it is one task
    // of a thread's.
    word::Token add_participant(std::uint32_t owner, std::uint32_t former, std::int32_t pid, std::int32_t tid,
                                const char* name, bool task = false) noexcept {
        const std::uint32_t index = former != kNoRecord ? former : free_participant();
        if (index == kNoRecord) return word::kNobody;
        ParticipantT& p = participant_at(index);
        const std::uint32_t generation = (p.generation.load(std::memory_order_relaxed) + (former == kNoRecord)) & kIndexMask;
        const std::uint32_t serial = ((p.serial.load(std::memory_order_relaxed) | 1) + (former == kNoRecord ? 0 : 2)) & kIndexMask;
        p.generation.store(generation, std::memory_order_release);
        p.serial.store(serial, std::memory_order_release);
        p.waiting_on.store(0, std::memory_order_relaxed);
        p.tid.store(tid, std::memory_order_relaxed);
        p.pid.store(pid, std::memory_order_relaxed);
        std::strncpy(p.name, name, sizeof p.name - 1);
        p.name[sizeof p.name - 1] = 0;
        p.task = task;
        p.process.store(owner, std::memory_order_release);  // publish
        return make_token(index, generation, serial);
    }
    bool idle(std::uint32_t index) const noexcept { return (participant_at(index).serial.load(std::memory_order_acquire) & 1) == 0; }

    // The thread ends; its record stays with the process, for its next thread. Needs no critical section.
    void end_thread(word::Token token) noexcept {
        ParticipantT* p = participant_of(token);
        if (p == nullptr) return;
        p->waiting_on.store(0, std::memory_order_relaxed);
        p->serial.store((token_serial(token) + 1) & kIndexMask, std::memory_order_release);
    }

    // References: an entry of the process's table, set and cleared. (handles.hpp remembers which entry is whose.)
    using Entry = typename World::template Atom<std::uint32_t>;

    void add_reference(Entry& entry, BlockT* block) noexcept {
        entry.store(static_cast<std::uint32_t>(heap_.offset_of_block(block) >> kGrainShift), std::memory_order_release);  // publish
        count(block);
    }
    void drop_reference(Entry& entry) noexcept {
        const std::uint32_t grain = entry.load(std::memory_order_relaxed);
        if (grain == 0) return;
        entry.store(0, std::memory_order_release);  // publish
        BlockT* block = heap_.block_at(Offset{grain} << kGrainShift);
        const std::uint32_t refs = block->refs.load(std::memory_order_relaxed) - 1;
        block->refs.store(refs, std::memory_order_relaxed);
        if (refs == 0 && heap_.resolve(block->owner.load(std::memory_order_relaxed)) == nullptr) heap_.free(block);
    }

    // The n-th chunk of a process's table, made if it is the next one that is missing. Null: the limit.
    ChunkT* table_chunk(std::uint32_t owner, std::uint32_t n) noexcept {
        ChunkT* c = chunk(process_at(owner).references.load(std::memory_order_relaxed));
        while (n-- != 0 && c != nullptr) c = next_chunk(c);
        return c;
    }

    // Gives process `to` a copy of all references of `from`, at the same slots.
    bool copy_references(std::uint32_t from, std::uint32_t to) noexcept {
        ChunkT* target = chunk(process_at(to).references.load(std::memory_order_relaxed));
        for (ChunkT* source = chunk(process_at(from).references.load(std::memory_order_relaxed)); source != nullptr;) {
            for (std::uint32_t i = 0; i < kReferencesPerChunk; ++i) {
                const std::uint32_t grain = source->entries[i].load(std::memory_order_relaxed);
                if (grain == 0) continue;
                BlockT* block = heap_.block_at(Offset{grain} << kGrainShift);
                target->entries[i].store(grain, std::memory_order_relaxed);
                block->refs.store(block->refs.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            }
            source = chunk(source->next.load(std::memory_order_relaxed));
            if (source != nullptr) {
                target = next_chunk(target);
                if (target == nullptr) return false;
            }
        }
        return true;
    }

    // A reactor for the process; kNoReactor: all are taken.
    static constexpr std::uint32_t kNoReactor = kReactors;
    std::uint32_t add_reactor(std::uint32_t owner) noexcept {
        Header<World>& h = heap_.header();
        std::uint32_t index = 0;
        while (index < kReactors && h.reactors[index].process.load(std::memory_order_relaxed) != 0) ++index;
        if (index == kNoReactor) return kNoReactor;
        if (index >= h.reactor_limit.load(std::memory_order_relaxed)) h.reactor_limit.store(index + 1, std::memory_order_seq_cst);
        h.reactors[index].process.store(owner + 1, std::memory_order_release);  // publish
        return index;
    }
    // The subscriptions of a process that is gone, and its reactor. Idempotent.
    void remove_reactors(std::uint32_t owner) noexcept {
        Header<World>& h = heap_.header();
        for (std::uint32_t i = 0; i < h.reactor_limit.load(std::memory_order_relaxed); ++i) {
            auto& reactor = h.reactors[i];
            if (reactor.process.load(std::memory_order_relaxed) != owner + 1) continue;
            for (auto& bucket : h.subscribed)
                if ((bucket[i / 64].load(std::memory_order_relaxed) >> (i % 64) & 1) != 0)
                    bucket[i / 64].fetch_and(~(std::uint64_t{1} << (i % 64)), std::memory_order_seq_cst);
            for (auto& kind : reactor.rung)
                for (auto& part : kind) part.store(0, std::memory_order_relaxed);
            reactor.process.store(0, std::memory_order_release);
        }
    }

    // Drops everything a process had.
    void remove_process(std::uint32_t index) noexcept {
        remove_reactors(index);
        ProcessT& p = process_at(index);
        for (ChunkT* c = chunk(p.references.load(std::memory_order_relaxed)); c != nullptr;) {
            for (auto& entry : c->entries) drop_reference(entry);
            ChunkT* next = chunk(c->next.load(std::memory_order_relaxed));
            p.references.store(next == nullptr ? 0 : heap_.offset_of_block(next), std::memory_order_relaxed);
            heap_.free(&c->block);
            c = next;
        }
        for (std::uint32_t i = 0; i < heap_.header().participant_limit.load(std::memory_order_relaxed); ++i) {
            ParticipantT& q = participant_at(i);
            if (q.process.load(std::memory_order_relaxed) == index) q.process.store(kNoRecord, std::memory_order_release);
        }
        p.state.store(static_cast<std::uint32_t>(ProcessState::free), std::memory_order_release);
    }

    std::uint32_t live_processes() const noexcept {
        std::uint32_t count = 0;
        for (std::uint32_t i = 0; i < heap_.header().process_limit.load(std::memory_order_relaxed); ++i)
            count += process_at(i).state.load(std::memory_order_relaxed) == static_cast<std::uint32_t>(ProcessState::live);
        return count;
    }

    // The processes that refer to a block, as visit(pid), once each.
    template <class Visit>
    void for_each_user(const BlockT* block, Visit&& visit) const noexcept {
        const auto grain = static_cast<std::uint32_t>(heap_.offset_of_block(block) >> kGrainShift);
        for (std::uint32_t i = 0; i < heap_.header().process_limit.load(std::memory_order_relaxed); ++i) {
            const ProcessT& p = process_at(i);
            if (p.state.load(std::memory_order_relaxed) == static_cast<std::uint32_t>(ProcessState::free)) continue;
            bool refers = false;
            for (const ChunkT* c = chunk(p.references.load(std::memory_order_relaxed)); c != nullptr && !refers;
                 c = chunk(c->next.load(std::memory_order_relaxed)))
                for (const auto& entry : c->entries) refers = refers || entry.load(std::memory_order_relaxed) == grain;
            if (refers) visit(p.pid.load(std::memory_order_relaxed));
        }
    }

    // A process from `begin` on that has died and still has its record, or kNoRecord. Asks the system for each process, so
    // it is called outside the critical section; then, inside, remove_if_dead().
    std::uint32_t find_dead(std::uint32_t self, std::uint32_t begin = 0) const noexcept {
        for (std::uint32_t i = begin; i < heap_.header().process_limit.load(std::memory_order_acquire); ++i) {
            ProcessT& p = process_at(i);
            if (i == self || p.state.load(std::memory_order_acquire) == static_cast<std::uint32_t>(ProcessState::free)) continue;
            if (!process_alive(i, p)) return i;
        }
        return kNoRecord;
    }
    void remove_if_dead(std::uint32_t index) noexcept {
        ProcessT& p = process_at(index);
        if (p.state.load(std::memory_order_relaxed) == static_cast<std::uint32_t>(ProcessState::free)) return;
        if (!process_alive(index, p)) remove_process(index);
    }

    // For rebuild(): restores all reference counts from the tables.
    void count_references() noexcept {
        Header<World>& h = heap_.header();
        count_records(h.process_chunks);
        count_records(h.participant_chunks);
        for (std::uint32_t i = 0; i < h.process_limit.load(std::memory_order_relaxed); ++i) {
            ProcessT& p = process_at(i);
            if (p.state.load(std::memory_order_relaxed) == static_cast<std::uint32_t>(ProcessState::free)) continue;
            for (ChunkT* c = chunk(p.references.load(std::memory_order_relaxed)); c != nullptr;
                 c = chunk(c->next.load(std::memory_order_relaxed))) {
                count(&c->block);
                for (auto& entry : c->entries) {
                    const std::uint32_t grain = entry.load(std::memory_order_relaxed);
                    if (grain == 0) continue;
                    BlockT* block = heap_.block_if_valid(Offset{grain} << kGrainShift);
                    if (block != nullptr && block->serial.load(std::memory_order_relaxed) != 0) count(block);
                    else entry.store(0, std::memory_order_relaxed);
                }
            }
        }
    }

private:
    using Directory = typename World::template Atom<std::uint32_t>[kDirectory];
    using Index = typename World::template Atom<std::uint32_t>;

    template <class Record>
    Record* record(Directory& directory, Index& limit, std::uint32_t index) const noexcept {
        return index < limit.load(std::memory_order_acquire) ? record_at<Record>(directory, index) : nullptr;
    }
    template <class Record>
    Record* record_at(Directory& directory, std::uint32_t index) const noexcept {
        char* chunk = reinterpret_cast<char*>(
            heap_.block_at(Offset{directory[index / kRecordsPerChunk].load(std::memory_order_acquire)} * kUnit));
        return reinterpret_cast<Record*>(chunk + 64 + (index % kRecordsPerChunk) * kRecordBytes);
    }

    // Searched from where the last one was found: a record is used again late, so that the dead keep their names.
    std::uint32_t free_participant() noexcept {
        Header<World>& h = heap_.header();
        const std::uint32_t limit = h.participant_limit.load(std::memory_order_relaxed);
        const std::uint32_t hint = h.participant_hint.load(std::memory_order_relaxed);
        std::uint32_t index = kNoRecord;
        for (std::uint32_t i = 0; i < limit && index == kNoRecord; ++i) {
            const std::uint32_t candidate = hint + i < limit ? hint + i : hint + i - limit;
            if (candidate != 0 && participant_at(candidate).process.load(std::memory_order_relaxed) == kNoRecord) index = candidate;
        }
        if (index == kNoRecord) {
            if (!extend(h.participant_chunks, h.participant_limit)) return kNoRecord;
            index = limit == 0 ? 1 : limit;  // 0 stays unused, so that no token is kNobody
        }
        h.participant_hint.store(index + 1, std::memory_order_relaxed);
        return index;
    }

    // One more chunk of records, all free. A death between its entry in the directory and the limit leaves it, made and
    // counted, to whoever needs one next.
    bool extend(Directory& directory, Index& limit) noexcept {
        const std::uint32_t begin = limit.load(std::memory_order_relaxed);
        if (begin / kRecordsPerChunk >= kDirectory) return false;
        auto& entry = directory[begin / kRecordsPerChunk];
        if (entry.load(std::memory_order_relaxed) == 0) {
            BlockT* block = heap_.allocate(kUnit, Kind::records, nullptr, Budget::reserve);
            if (block == nullptr) return false;
            block->refs.store(1, std::memory_order_relaxed);
            char* records = reinterpret_cast<char*>(block) + 64;
            std::memset(records, 0, kUnit - 64);
            if (&directory == &heap_.header().participant_chunks)
                for (std::uint32_t i = 0; i < kRecordsPerChunk; ++i)
                    reinterpret_cast<ParticipantT*>(records + i * kRecordBytes)->process.store(kNoRecord, std::memory_order_relaxed);
            entry.store(static_cast<std::uint32_t>(heap_.offset_of_block(block) / kUnit), std::memory_order_release);
        }
        limit.store(begin + kRecordsPerChunk, std::memory_order_release);  // publish
        return true;
    }

    ChunkT* chunk(Offset at) const noexcept { return at == 0 ? nullptr : reinterpret_cast<ChunkT*>(heap_.block_at(at)); }
    void clear_table(BlockT* block) noexcept {
        ChunkT* c = reinterpret_cast<ChunkT*>(block);
        c->next.store(0, std::memory_order_relaxed);
        for (auto& entry : c->entries) entry.store(0, std::memory_order_relaxed);
    }
    ChunkT* next_chunk(ChunkT* c) noexcept {
        if (ChunkT* next = chunk(c->next.load(std::memory_order_relaxed))) return next;
        BlockT* block = heap_.allocate(sizeof(ChunkT), Kind::references, nullptr, Budget::reserve);
        if (block == nullptr) return nullptr;
        clear_table(block);
        block->refs.store(1, std::memory_order_relaxed);
        c->next.store(heap_.offset_of_block(block), std::memory_order_release);
        return reinterpret_cast<ChunkT*>(block);
    }

    void count(BlockT* block) noexcept {
        block->refs.store(block->refs.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    void count_records(Directory& directory) noexcept {
        for (std::uint32_t i = 0; i < kDirectory; ++i) {
            const std::uint32_t unit = directory[i].load(std::memory_order_relaxed);
            if (unit == 0) return;
            count(heap_.block_at(Offset{unit} * kUnit));
        }
    }

    HeapT& heap_;
    System& system_;
};

}  // namespace treadle::arena
