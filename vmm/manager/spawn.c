// SPDX-License-Identifier: BSD-2-Clause
// Processes from ELF files; see spawn.h. Runs on the manager's only thread.
#include <stddef.h>
#include <string.h>
#include "kernel/abi/boot.h"
#include "libc/kcall.h"
#include "vmm/manager/spawn.h"

// Where the manager sees memory that it fills, for as long as that takes.
#define SPAWN_WINDOW_VA 0x70000000ull

// Copies `data` to `at` in memory that the manager owns.
static int64_t spawn_fill(handle_t memory, uint64_t at, const void *data, uint64_t len)
{
    uint64_t first = at & ~(PAGE_SIZE - 1), end = (at + len + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    if (len == 0) {
        return OK;
    }
    int64_t status = kcall_mem_map(HANDLE_SELF, memory, first, end - first, SPAWN_WINDOW_VA,
                                   PROT_READ | PROT_WRITE);
    if (status < 0) {
        return status;
    }
    memcpy((void *)(uintptr_t)(SPAWN_WINDOW_VA + (at - first)), data, len);
    return kcall_mem_unmap(HANDLE_SELF, SPAWN_WINDOW_VA, end - first);
}

// Has a copy of this segment make system calls as this CPU can.
static const char *program_fit(const struct program *program, uint32_t index, handle_t mem,
                               uint16_t call_insn)
{
    const struct elf_segment *segment = &program->image.segment[index];
    if ((segment->prot & PROT_EXEC) == 0 || call_insn == CALL_INSN) {
        return NULL;
    }
    if (kcall_mem_map(HANDLE_SELF, mem, 0, segment->bytes, SPAWN_WINDOW_VA,
                      PROT_READ | PROT_WRITE) < 0) {
        return "its code cannot be mapped";
    }
    const char *problem = elf_fit_calls(&program->image, program->file, index,
                                        (uint8_t *)(uintptr_t)SPAWN_WINDOW_VA, call_insn);
    kcall_mem_unmap(HANDLE_SELF, SPAWN_WINDOW_VA, segment->bytes);
    return problem;
}

const char *program_load(struct program *program, const void *file, uint64_t len,
                         uint16_t call_insn)
{
    *program = (struct program){.file = file};
    const char *problem = elf_parse(&program->image, file, len);
    if (problem != NULL) {
        return problem;
    }
    for (uint32_t i = 0; i < program->image.segments; i++) {
        const struct elf_segment *segment = &program->image.segment[i];
        if (segment->prot & PROT_WRITE) {
            continue;
        }
        int64_t mem = kcall_mem_create(segment->bytes, PAGE_SIZE, 0);
        if (mem < 0 || spawn_fill((handle_t)mem, segment->lead, program->file + segment->offset,
                                  segment->file_bytes) < 0) {
            return "there is no memory to load it to";
        }
        problem = program_fit(program, i, (handle_t)mem, call_insn);
        if (problem != NULL) {
            return problem;
        }
        program->shared[i] = (handle_t)mem;
    }
    return NULL;
}

// Maps the next bytes of the process's own memory.
static int64_t spawn_map_next(struct spawned *spawned, uint64_t bytes, uint64_t va, uint32_t prot)
{
    uint64_t at = spawned->mapped;
    spawned->mapped += bytes;
    return kcall_mem_map(spawned->process, spawned->memory, at, bytes, va, prot);
}

static int64_t spawn_map_segment(struct spawned *spawned, const struct program *program,
                                 uint32_t index)
{
    const struct elf_segment *segment = &program->image.segment[index];
    if (program->shared[index] != 0) {
        return kcall_mem_map(spawned->process, program->shared[index], 0, segment->bytes,
                             segment->va, segment->prot);
    }
    int64_t status = spawn_fill(spawned->memory, spawned->mapped + segment->lead,
                                program->file + segment->offset, segment->file_bytes);
    return status < 0 ? status
                      : spawn_map_next(spawned, segment->bytes, segment->va, segment->prot);
}

static int64_t spawn_make_memory(const struct program *program, uint32_t threads)
{
    uint64_t bytes = START_STACK_SIZE + START_SIZE + threads * START_THREAD_STACK;
    for (uint32_t i = 0; i < program->image.segments; i++) {
        bytes += program->shared[i] == 0 ? program->image.segment[i].bytes : 0;
    }
    return kcall_mem_create(bytes, PAGE_SIZE, 0);
}

int64_t spawn_create(struct spawned *spawned, const struct program *program,
                     const struct spawn_limits *limits, handle_t event, uint64_t bits)
{
    *spawned = (struct spawned){0};
    int64_t status = kcall_process_create(limits->quota, event, bits, &limits->counts);
    if (status < 0) {
        return status;
    }
    spawned->process = (handle_t)status;
    status = spawn_make_memory(program, limits->threads);
    spawned->memory = status < 0 ? 0 : (handle_t)status;
    for (uint32_t i = 0; i < program->image.segments && status >= 0; i++) {
        status = spawn_map_segment(spawned, program, i);
    }
    if (status >= 0) {
        // The page below a stack stays unmapped: an overflow faults.
        status = spawn_map_next(spawned, START_STACK_SIZE, START_STACK_TOP - START_STACK_SIZE,
                                PROT_READ | PROT_WRITE);
    }
    for (; spawned->threads < limits->threads && status >= 0; spawned->threads++) {
        uint64_t top = START_THREAD_TOP(spawned->threads + 1);
        status = spawn_map_next(spawned, START_THREAD_STACK, top - START_THREAD_STACK,
                                PROT_READ | PROT_WRITE);
    }
    if (status < 0) {
        spawn_destroy(spawned);
        return status;
    }
    return OK;
}

int64_t spawn_start(struct spawned *spawned, const struct program *program,
                    const struct start_block *block, const handle_t *sc)
{
    int64_t status = spawn_fill(spawned->memory, spawned->mapped, block, sizeof(*block));
    if (status >= 0) {
        status = spawn_map_next(spawned, START_SIZE, START_VA, PROT_READ);
    }
    for (uint32_t i = 0; i <= spawned->threads && status >= 0; i++) {
        status = kcall_thread_create(spawned->process, sc[i], program->image.entry,
                                     START_THREAD_TOP(i), i == 0 ? START_VA : i);
        spawned->thread[i] = status < 0 ? 0 : (handle_t)status;
    }
    return status < 0 ? status : OK;
}

void spawn_destroy(struct spawned *spawned)
{
    // The process first: afterwards nothing uses its memory any more.
    if (spawned->process != 0) {
        kcall_object_destroy(spawned->process);
    }
    for (uint32_t i = 0; i <= spawned->threads; i++) {
        if (spawned->thread[i] != 0) {
            kcall_handle_close(spawned->thread[i]);
        }
    }
    if (spawned->memory != 0) {
        kcall_object_destroy(spawned->memory);
    }
    *spawned = (struct spawned){0};
}
