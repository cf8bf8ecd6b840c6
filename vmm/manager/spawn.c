// SPDX-License-Identifier: BSD-2-Clause
// Processes from ELF files; see spawn.h. Runs on the manager's only thread.
#include <stddef.h>
#include <string.h>
#include "libc/kcall.h"
#include "vmm/manager/spawn.h"

// Where the manager sees memory that it fills, for as long as that takes.
#define SPAWN_WINDOW_VA 0x70000000ull

// New memory of `bytes` (whole pages), with `len` bytes of `data` at `lead`. -> handle or status
static int64_t spawn_filled(uint64_t bytes, uint64_t lead, const void *data, uint64_t len)
{
    int64_t mem = kcall_mem_create(bytes, PAGE_SIZE, 0);
    if (mem < 0 || len == 0) {
        return mem;
    }
    int64_t status = kcall_mem_map(HANDLE_SELF, (handle_t)mem, 0, bytes, SPAWN_WINDOW_VA,
                                   PROT_READ | PROT_WRITE);
    if (status < 0) {
        kcall_object_destroy((handle_t)mem);
        return status;
    }
    memcpy((void *)(uintptr_t)(SPAWN_WINDOW_VA + lead), data, len);
    kcall_mem_unmap(HANDLE_SELF, SPAWN_WINDOW_VA, bytes);
    return mem;
}

const char *program_load(struct program *program, const void *file, uint64_t len)
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
        int64_t mem = spawn_filled(segment->bytes, segment->lead, program->file + segment->offset,
                                   segment->file_bytes);
        if (mem < 0) {
            return "there is no memory to load it to";
        }
        program->shared[i] = (handle_t)mem;
    }
    return NULL;
}

// Takes memory that was just made (or a negative status in its place) and maps it.
static int64_t spawn_map_own(struct spawned *spawned, int64_t mem, uint64_t bytes, uint64_t va,
                             uint32_t prot)
{
    if (mem < 0) {
        return mem;
    }
    spawned->memory[spawned->memories++] = (handle_t)mem;
    return kcall_mem_map(spawned->process, (handle_t)mem, 0, bytes, va, prot);
}

static int64_t spawn_map_segment(struct spawned *spawned, const struct program *program,
                                 uint32_t index)
{
    const struct elf_segment *segment = &program->image.segment[index];
    if (program->shared[index] != 0) {
        return kcall_mem_map(spawned->process, program->shared[index], 0, segment->bytes,
                             segment->va, segment->prot);
    }
    int64_t mem = spawn_filled(segment->bytes, segment->lead, program->file + segment->offset,
                               segment->file_bytes);
    return spawn_map_own(spawned, mem, segment->bytes, segment->va, segment->prot);
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
    for (uint32_t i = 0; i < program->image.segments && status >= 0; i++) {
        status = spawn_map_segment(spawned, program, i);
    }
    if (status >= 0) {
        // The page below the stack stays unmapped: an overflow faults.
        status = spawn_map_own(spawned, kcall_mem_create(START_STACK_SIZE, PAGE_SIZE, 0),
                               START_STACK_SIZE, START_STACK_TOP - START_STACK_SIZE,
                               PROT_READ | PROT_WRITE);
    }
    if (status < 0) {
        spawn_destroy(spawned);
        return status;
    }
    return OK;
}

int64_t spawn_start(struct spawned *spawned, const struct program *program,
                    const struct start_block *block, const struct spawn_place *place)
{
    int64_t status = spawn_map_own(spawned, spawn_filled(START_SIZE, 0, block, sizeof(*block)),
                                   START_SIZE, START_VA, PROT_READ);
    if (status < 0) {
        return status;
    }
    status = kcall_thread_create(spawned->process, place->core, program->image.entry,
                                 START_STACK_TOP, START_VA);
    if (status < 0) {
        return status;
    }
    spawned->thread = (handle_t)status;
    status = kcall_thread_sched(spawned->thread, place->priority, place->budget);
    return status < 0 ? status : kcall_thread_start(spawned->thread);
}

void spawn_destroy(struct spawned *spawned)
{
    // The process first: afterwards nothing uses its memory any more.
    if (spawned->process != 0) {
        kcall_object_destroy(spawned->process);
        kcall_handle_close(spawned->process);
    }
    if (spawned->thread != 0) {
        kcall_handle_close(spawned->thread);
    }
    for (uint32_t i = 0; i < spawned->memories; i++) {
        kcall_object_destroy(spawned->memory[i]);
        kcall_handle_close(spawned->memory[i]);
    }
    *spawned = (struct spawned){0};
}
