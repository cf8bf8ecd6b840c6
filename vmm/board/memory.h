// SPDX-License-Identifier: BSD-2-Clause
//
// Guest-physical memory: where RAM lies in the PC's address space, and bounded access to it.
//
// RAM is mapped into the VMM at one base, gpa g at base + g, with the PC's holes in between. Nobody
// adds a gpa to the base himself: ram_at() gives a pointer only if the whole range is RAM.
// Owned by the VMM's only thread. The guest changes RAM at any moment: what decides something is
// read once, into a variable.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kernel/abi/syscall.h"

// The board's memory map below 4 GB. Between the pieces there is nothing.
#define RAM_BASE_END    0xA0000ull    // conventional memory; its last KB is the EBDA
#define RAM_EBDA        0x9FC00ull
#define RAM_TEXT        0xB8000ull    // 32 KB of plain RAM where a VGA has its text screen
#define RAM_TEXT_END    0xC0000ull
#define RAM_TABLES      0xE0000ull    // ACPI and MP tables; reserved in the e820 map
#define RAM_TABLES_END  0x100000ull
#define RAM_EXTENDED    0x100000ull
#define RAM_LOW_MAX     0xC0000000ull // 3 GB; what is left of the RAM is above 4 GB
#define RAM_HIGH        0x100000000ull
#define RAM_MIN         (4ull << 20)
#define RAM_MAX         (512ull << 30)

// Conventional memory that the loaders fill: tables for the entry, boot information, command line.
// Images that want to lie here are refused.
#define BOOT_AREA       0x90000ull
#define BOOT_AREA_END   RAM_EBDA

struct guest_ram {
    uint8_t *base;     // of gpa 0 in this address space
    uint64_t low_end;  // end of RAM below 4 GB
    uint64_t high_end; // end of RAM above 4 GB; RAM_HIGH when there is none
};

// One piece of the map: what of the RAM, counted without the holes above 1 MB, appears where.
struct ram_piece {
    uint64_t gpa, offset, bytes;
    bool on_demand; // gets into the VM's map page by page (demand.h)
};
#define RAM_PIECE_MAX 5

struct e820_entry {
    uint64_t base, bytes;
    uint32_t type; // E820_*
};
enum { E820_RAM = 1, E820_RESERVED = 2 };
#define E820_MAX 8

// `bytes`: RAM_MIN to RAM_MAX, rounded down to pages. `base` may be NULL until it is mapped.
void ram_init(struct guest_ram *ram, uint8_t *base, uint64_t bytes);

// How RAM is laid out; pieces that can be are aligned to 2 MB at both ends. -> count
unsigned ram_pieces(const struct guest_ram *ram, struct ram_piece piece[RAM_PIECE_MAX]);

// What the firmware would tell. -> count
unsigned ram_e820(const struct guest_ram *ram, struct e820_entry entry[E820_MAX]);

// The slow half of ram_at().
void *ram_at_low(const struct guest_ram *ram, uint64_t gpa, uint64_t bytes);

// The bytes at [gpa, gpa + bytes), or NULL if one of them is not RAM. Any numbers may be passed.
static inline void *ram_at(const struct guest_ram *ram, uint64_t gpa, uint64_t bytes)
{
    if (gpa >= RAM_EXTENDED && gpa < ram->low_end && bytes <= ram->low_end - gpa)
        return ram->base + gpa;
    return ram_at_low(ram, gpa, bytes);
}

// Copies into RAM; false, and nothing copied, if the range is not all RAM.
bool ram_write(const struct guest_ram *ram, uint64_t gpa, const void *data, uint64_t bytes);
bool ram_zero(const struct guest_ram *ram, uint64_t gpa, uint64_t bytes);
