// SPDX-License-Identifier: BSD-2-Clause
//
// Takes the guest's RAM from the kernel and maps it. Offsets count the RAM without the PC's holes
// (ram_pieces()). Runs on the VMM's only thread, before the guest does.
#include "vmm/ram.h"

#include "libc/kcall.h"

#define BLOCK_FIRST PAGE_2M // the least of the first one: an address is its offset there

static uint64_t max_of(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t min_of(uint64_t a, uint64_t b) { return a < b ? a : b; }

unsigned ram_blocks_max(uint64_t bytes)
{
    return (unsigned)min_of(RAM_BLOCK_SPARE + bytes / PAGE_2M, RAM_BLOCK_MAX);
}

// The largest alignment that large pages can use of a block there, or as much of it as there is. In
// the first GB no page of that size can be, for the holes; and the block must begin on one.
static int64_t take_block(uint64_t offset, uint64_t bytes)
{
    uint64_t giants = offset == 0 ? 2 * PAGE_1G : PAGE_1G;
    int64_t memory = ERR_MEMORY;

    if (offset % PAGE_1G == 0 && bytes >= giants)
        memory = kcall_mem_create(bytes, PAGE_1G, 0);
    if (memory == ERR_MEMORY)
        memory = kcall_mem_create(bytes, bytes >= PAGE_2M ? PAGE_2M : PAGE_SIZE, 0);
    // There may be a run that just does not begin on 2 MB.
    if (memory == ERR_MEMORY && bytes == PAGE_2M)
        memory = kcall_mem_create(bytes, PAGE_SIZE, 0);
    return memory;
}

// The largest power of two that is less. All blocks of such sizes, each no larger than the one
// before it, lie at multiples of their own size: so each 2 MB of RAM is 2 MB of one block.
static uint64_t next_size(uint64_t bytes)
{
    return 1ull << (63 - __builtin_clzll(bytes - 1));
}

// Maps what of a piece of the RAM lies in the block at `offset`.
static int64_t map_part(const struct ram_source *source, const struct guest_ram *ram,
                        const struct ram_piece *piece, handle_t memory, uint64_t offset,
                        uint64_t bytes)
{
    uint64_t start = max_of(piece->offset, offset);
    uint64_t end = min_of(piece->offset + piece->bytes, offset + bytes);
    uint64_t gpa = piece->gpa + (start - piece->offset);
    int64_t status;

    if (start >= end)
        return OK;
    status = kcall_mem_map(HANDLE_SELF, memory, start - offset, end - start,
                           (uint64_t)(uintptr_t)ram->base + gpa, PROT_READ | PROT_WRITE);
    if (status < 0 || piece->on_demand)
        return status;
    return kcall_vm_map(source->vm, memory, start - offset, end - start, gpa,
                        PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int64_t map_block(const struct ram_source *source, const struct guest_ram *ram,
                         handle_t memory, uint64_t offset, uint64_t bytes)
{
    struct ram_piece piece[RAM_PIECE_MAX];
    unsigned count = ram_pieces(ram, piece);
    int64_t status = OK;

    for (unsigned i = 0; i < count && status >= 0; i++)
        status = map_part(source, ram, &piece[i], memory, offset, bytes);
    return status;
}

int64_t ram_create(struct ram_source *source, const struct guest_ram *ram)
{
    uint64_t bytes = ram->low_end + (ram->high_end - RAM_HIGH), size = bytes, offset = 0;

    source->blocks = 0;
    while (offset < bytes) {
        int64_t memory, status;

        if (source->blocks == ram_blocks_max(bytes))
            return ERR_FULL;
        size = min_of(size, bytes - offset);
        memory = take_block(offset, size);
        if (memory == ERR_MEMORY && size > (offset == 0 ? BLOCK_FIRST : PAGE_SIZE)) {
            size = next_size(size);
            continue;
        }
        if (memory < 0)
            return memory;
        if (source->blocks++ == 0)
            source->first = (handle_t)memory;
        status = map_block(source, ram, (handle_t)memory, offset, size);
        if (status < 0)
            return status;
        offset += size;
    }
    return OK;
}
