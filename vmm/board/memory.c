// SPDX-License-Identifier: BSD-2-Clause
//
// The layout of guest RAM, its e820 map, and the bounds check behind every access to it. Pure
// computation on struct guest_ram; runs on the VMM's only thread.
#include "vmm/board/memory.h"

#include <string.h>

void ram_init(struct guest_ram *ram, uint8_t *base, uint64_t bytes)
{
    bytes &= ~(PAGE_SIZE - 1);
    ram->base = base;
    ram->low_end = bytes < RAM_LOW_MAX ? bytes : RAM_LOW_MAX;
    ram->high_end = RAM_HIGH + (bytes - ram->low_end);
}

unsigned ram_pieces(const struct guest_ram *ram, struct ram_piece piece[RAM_PIECE_MAX])
{
    unsigned count = 0;

    // Below 4 GB the offsets are the addresses. The frames behind the holes are not RAM,
    // which costs 224 KB and saves every large page from 2 MB on.
    piece[count++] = (struct ram_piece){ 0, 0, RAM_BASE_END, false };
    piece[count++] = (struct ram_piece){ RAM_TEXT, RAM_TEXT, RAM_TEXT_END - RAM_TEXT, true };
    piece[count++] = (struct ram_piece){ RAM_TABLES, RAM_TABLES, PAGE_2M - RAM_TABLES, false };
    piece[count++] = (struct ram_piece){ PAGE_2M, PAGE_2M, ram->low_end - PAGE_2M, false };
    if (ram->high_end > RAM_HIGH)
        piece[count++] =
            (struct ram_piece){ RAM_HIGH, ram->low_end, ram->high_end - RAM_HIGH, false };
    return count;
}

unsigned ram_e820(const struct guest_ram *ram, struct e820_entry entry[E820_MAX])
{
    unsigned count = 0;

    entry[count++] = (struct e820_entry){ 0, RAM_EBDA, E820_RAM };
    entry[count++] = (struct e820_entry){ RAM_EBDA, RAM_BASE_END - RAM_EBDA, E820_RESERVED };
    entry[count++] =
        (struct e820_entry){ RAM_TABLES, RAM_TABLES_END - RAM_TABLES, E820_RESERVED };
    entry[count++] =
        (struct e820_entry){ RAM_EXTENDED, ram->low_end - RAM_EXTENDED, E820_RAM };
    // From the IOAPIC to the top: interrupt controllers and where a flash chip would be.
    entry[count++] = (struct e820_entry){ 0xFEC00000, RAM_HIGH - 0xFEC00000, E820_RESERVED };
    if (ram->high_end > RAM_HIGH)
        entry[count++] = (struct e820_entry){ RAM_HIGH, ram->high_end - RAM_HIGH, E820_RAM };
    return count;
}

void *ram_at_low(const struct guest_ram *ram, uint64_t gpa, uint64_t bytes)
{
    const struct { uint64_t start, end; } range[] = {
        { 0, RAM_BASE_END },
        { RAM_TEXT, RAM_TEXT_END },
        { RAM_TABLES, ram->low_end },
        { RAM_HIGH, ram->high_end },
    };

    for (unsigned i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
        if (gpa >= range[i].start && gpa < range[i].end)
            return bytes <= range[i].end - gpa ? ram->base + gpa : NULL;
    }
    return NULL;
}

bool ram_write(const struct guest_ram *ram, uint64_t gpa, const void *data, uint64_t bytes)
{
    void *at = ram_at(ram, gpa, bytes);

    if (at == NULL)
        return false;
    memcpy(at, data, bytes);
    return true;
}

bool ram_zero(const struct guest_ram *ram, uint64_t gpa, uint64_t bytes)
{
    void *at = ram_at(ram, gpa, bytes);

    if (at == NULL)
        return false;
    memset(at, 0, bytes);
    return true;
}
