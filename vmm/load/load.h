// SPDX-License-Identifier: BSD-2-Clause
//
// Loaders: put an image, its modules and its boot information into guest RAM, and give the state
// that the boot processor starts in. The format is told by the content, never by the name.
//
// An image is outside input of the hostile kind: each number in it is read through load_get(),
// bounded, and used once; what does not fit ends with a message that names the place in the file.
// Images are read-only here and copied, so that two VMs may use the same one.
// Runs on the VMM's only thread, before the first vCPU does.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "kernel/abi/vcpu.h"
#include "vmm/board/memory.h"

enum {
    LOAD_ERROR_SIZE = 512,
    LOAD_MODULE_MAX = 16,                  // beside the initrd
    LOAD_PLACED_MAX = LOAD_MODULE_MAX + 1, // with it
};

// What of the boot area (memory.h) holds what.
#define BOOT_GDT        0x90000ull // descriptor table, with a task state segment behind it
#define BOOT_PARAMS     0x91000ull // the zero page; multiboot 1 information; PVH start info
#define BOOT_PAGES      0x92000ull // 6 pages: identity map of 4 GB
#define BOOT_CMDLINE    0x98000ull
#define BOOT_CMDLINE_MAX 0x1000ull // with the terminating zero
#define BOOT_STRINGS    0x99000ull // load_put(): lists, maps, names; multiboot 2 information
#define BOOT_STRINGS_END 0x9E000ull
#define BOOT_STACK_END  0x9F000ull // 4 KB of stack below

struct load_file {
    const uint8_t *data; // NULL: there is none
    uint64_t bytes;
    const char *name;
};

struct load_module {
    struct load_file file;
    const char *cmdline; // "" for none
};

// Registers at the first instruction.
struct load_state {
    struct vcpu_sregs sregs;
    uint64_t gpr[16];
};

struct load {
    const struct guest_ram *ram;
    struct load_file image, initrd;
    struct load_module module[LOAD_MODULE_MAX];
    unsigned modules;
    const char *cmdline;
    uint64_t rsdp; // gpa of the ACPI root pointer
    bool flat;     // the image is a flat binary for flat_gpa, where it is entered
    uint64_t flat_gpa;
    bool entry32;  // the image is a Linux kernel, to be started by its 32-bit entry
    // Results.
    struct load_state state;
    bool pic_masked;    // the guest is to find each line of the board's PICs masked
    const char *format; // in words
    char error[LOAD_ERROR_SIZE];
    uint64_t put;       // for load_put(): the next free byte
};

// False: `error` says what is wrong with which file.
bool load_image(struct load *load);

// The formats. _detect() only looks; _load() is called if it was true. A flat binary has no sign of
// its own, so it is one because the config says so.
bool bzimage_detect(const struct load_file *file);
bool bzimage_load(struct load *load);
bool multiboot2_detect(const struct load_file *file);
bool multiboot2_load(struct load *load);
bool multiboot1_detect(const struct load_file *file);
bool multiboot1_load(struct load *load);
bool pvh_detect(const struct load_file *file);
bool pvh_load(struct load *load);
bool flat_load(struct load *load);

// For the loaders ----------------------------------------------------------------------------

// Sets `error` to the message, "NAME: " in front; returns false.
bool load_fail(struct load *load, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Little-endian number of 1, 2, 4 or 8 bytes at `offset` of the file. False: it ends before that.
bool load_get(const struct load_file *file, uint64_t offset, unsigned size, uint64_t *value);

// The same for a search through a file, where most of what is read is not what is looked for.
static inline bool load_is_word(const struct load_file *file, uint64_t offset, uint32_t word)
{
    uint32_t there;

    if (offset > file->bytes || sizeof(there) > file->bytes - offset)
        return false;
    memcpy(&there, file->data + offset, sizeof(there));
    return there == word;
}

// Whether [gpa, gpa + bytes) may hold a part of an image: RAM, but not the boot area, the EBDA or
// the firmware tables.
bool load_may_use(const struct load *load, uint64_t gpa, uint64_t bytes);

// Copies `bytes` of the image from `offset` to gpa and zeroes the rest up to `memory_bytes`.
// `what` names the part in messages.
bool load_part(struct load *load, const char *what, uint64_t offset, uint64_t bytes, uint64_t gpa,
               uint64_t memory_bytes);

// Copies the initrd as high as it may lie: page aligned, from `floor` up, below `limit` and in RAM
// below 4 GB. -> *gpa
bool load_initrd(struct load *load, uint64_t floor, uint64_t limit, uint64_t *gpa);

// A boot module in memory. `cmdline` and `name` are those of struct load.
struct load_placed {
    uint64_t gpa, bytes;
    const char *name, *cmdline;
};

// Copies all boot modules, the initrd as the first of them, behind the image, which ends at `end`
// (below 4 GB): each to the next page behind the one before, as GRUB and QEMU place them, so that
// an image finds above them what it finds there on a PC. None lies below 1 MB.
bool load_modules(struct load *load, uint64_t end, struct load_placed placed[LOAD_PLACED_MAX],
                  unsigned *count);

// Where an image below 4 GB must end that its modules fit behind it; 0: they fit nowhere.
uint64_t load_image_limit(const struct load *load);

// Puts "PREFIX CMDLINE" (or just the command line) at BOOT_CMDLINE. max: bytes without the zero.
bool load_cmdline(struct load *load, const char *prefix, uint64_t max);

// Copies boot information to where the last call ended, at a multiple of 8. -> its gpa; 0: there is
// no room, and `error` is set
uint64_t load_put(struct load *load, const void *data, uint64_t bytes);
// The same with "PREFIX TEXT", or the one of them that is not empty.
uint64_t load_put_text(struct load *load, const char *prefix, const char *text);

// The states: GDT (and page tables) in the boot area, segments and control registers. The caller
// adds RIP and the general registers of its protocol.
bool load_state_flat32(struct load *load);
bool load_state_long64(struct load *load);
