// SPDX-License-Identifier: BSD-2-Clause
// What the manager tells a process that it starts: one block, mapped read-only at START_VA, whose
// address is also in RDI at the entry point. Written once before the process runs; never changed.
#pragma once
#include <stdint.h>
#include "kernel/abi/boot.h"

#define START_VA         0x200000ull
#define START_SIZE       16384ull
#define START_STACK_TOP  0x7fff0000ull
#define START_STACK_SIZE 0x20000ull
#define START_THREADS_MAX 16u // of one process, beside its first. Thread i has a stack of its own:
#define START_THREAD_STACK 0x10000ull
#define START_THREAD_TOP(i) (START_STACK_TOP - (i) * 0x40000ull)
#define START_MAGIC      0x7472617473686bull
#define START_NAME_MAX   16
#define START_VM_MAX     60
#define START_MODULE_MAX 16   // boot modules of one VM, beside its initrd
#define START_MODULE_TEXT 4096
#define START_SAID_MAX   8192

enum start_role { START_VMM = 1, START_CONSOLE };

// A console line between one VM (or the manager) and the console process: struct ring, twice, in
// one memory object that both map; made once by the manager and kept over restarts of the VM.
struct start_line {
    char name[START_NAME_MAX];
    handle_t memory; // CONSOLE_LINE_BYTES: output ring (to the console), then input ring
    handle_t event;  // to the other side: signal after writing, or after making room for a waiter
    uint64_t bits;   // the bits to signal there
};

// Bits of the event that a VMM waits for; the manager creates it, once per VM.
#define VMM_BIT_TIMER   1ull // the VMM's own kernel timer
#define VMM_BIT_CONSOLE 2ull // input is there, or room in the output ring
#define VMM_BIT_STOP    4ull // the manager asks for an orderly power-off (ACPI power button)
#define VMM_BIT_DUMP(vcpu) (0x10000ull << (vcpu)) // and for the registers, that one's in full
#define VMM_BITS_DUMP   0xFFFF0000ull
#define VMM_BIT_PAUSE   256ull // the guest stands still from now on,
#define VMM_BIT_RESUME  512ull // and goes on. Never both: the manager takes back what is unseen
#define VMM_BIT_NMI     1024ull // an NMI for each vCPU
#define VMM_BIT_HALTED  2048ull // it is true that the guest of several vCPUs has halted for good
// Within a VMM, between its threads:
#define VMM_BIT_LOCK    8ull  // the board's lock may be free
#define VMM_BIT_ARM     16ull // the kernel's timer has another deadline
#define VMM_BIT_GO      32ull // go on
#define VMM_BIT_ASK     64ull // a vCPU's registers are asked for
#define VMM_BIT_ANSWER  128ull // all that were asked for are there

// Bits of the event that keeps what a VMM has told the manager, until that has taken them.
#define VMM_NOTE_PANIC 1ull // the guest says that it has panicked

// A further boot module of a guest. Its name and its command line are texts in module_text.
struct start_module {
    handle_t file;         // boot module, read-only
    uint16_t name, cmdline; // offsets
    uint64_t bytes;
};

struct start_vmm {
    char name[START_NAME_MAX];
    char cmdline[2048];
    uint64_t memory;       // bytes of guest RAM
    uint32_t vcpus;        // 1 to VM_VCPUS. If more than one, vCPU i is thread i + 1's
    handle_t event;        // wait here (RIGHT_USE | RIGHT_WAIT)
    handle_t manager;      // the manager's event: signal the bit when the guest has halted for
    uint64_t manager_bit;  // good, or after a bit of
    handle_t notes;        // another event of the manager's: VMM_NOTE_*
    handle_t image;        // boot module, read-only
    uint64_t image_bytes;
    char image_name[256];  // without folders
    handle_t initrd;       // 0: none
    uint32_t modules;      // entries of module[]
    uint64_t initrd_bytes;
    uint32_t flat;         // 1: the image is a flat binary for flat_gpa
    uint32_t debug;        // 1: `log = debug`
    uint32_t hpet;         // 1: `hpet = yes`
    uint32_t testdev;      // 1: `testdev = yes`
    uint32_t watchdog;     // 1: `watchdog = yes`, or a time;
    uint32_t watchdog_s;   // that time, by which the guest must have switched it on; 0: none
    uint32_t watchdog_bitten; // 1: it has ended the VM's last run
    uint32_t panic_ends;   // 1: a panic that the guest tells of is the VM's end
    uint32_t catch_up;     // 1: `ticks = catch-up`
    uint32_t entry32;      // 1: `entry = 32`
    uint64_t flat_gpa;
    struct start_module module[START_MODULE_MAX];
    char module_text[START_MODULE_TEXT];
    struct start_line console;
};

struct start_console {
    handle_t event;        // wait here; line i signals bit i; the IRQ signals CONSOLE_BIT_IRQ
    uint32_t port;         // the host's port, a 16550: its first I/O port; 0: there is none
    uint32_t divisor;      // of its clock
    handle_t irq;          // 0: it is polled
    handle_t screen;       // memory of what `mode` describes; 0: there is none
    struct boot_screen mode;
    uint32_t said_len;
    char said[START_SAID_MAX]; // what the kernel has said before, for the screen
    uint32_t again;        // 1: it takes the place of one that has ended
    uint32_t lines;        // line 0 is the manager's (the monitor)
    struct start_line line[START_VM_MAX];
};
#define CONSOLE_BIT_IRQ   (1ull << 63)
#define CONSOLE_BIT_TIMER (1ull << 62)

struct start_block {
    uint64_t magic;
    uint64_t tsc_hz, entry_tsc; // as in struct boot_info
    uint64_t wall_seconds, wall_tsc; // UTC since 1970 at that TSC
    uint32_t role;
    uint8_t fast_strings, apic_page; // as in struct boot_info
    union {
        struct start_vmm vmm;
        struct start_console console;
    };
};
_Static_assert(VM_VCPUS <= START_THREADS_MAX, "a thread for each");
_Static_assert(VMM_BITS_DUMP >> VM_VCPUS == VMM_BIT_DUMP(0) - 1, "a bit for each");
_Static_assert(sizeof(struct start_block) <= START_SIZE, "fits its mapping");

// Exit status of a VMM process, for the manager.
enum vmm_end {
    VMM_END_POWEROFF = 0, // the guest powered itself off
    VMM_END_RESET = 1,    // the guest asked for a reset, or its CPU did (triple fault)
    VMM_END_KILLED = 2,   // the guest was killed (unknown exit, ...)
    VMM_END_SETUP = 3,    // the image or the memory could not be set up
    VMM_END_WATCHDOG = 4, // the guest has not fed its watchdog, or not switched it on in time
    VMM_END_PANIC = 5,    // the guest says that it has panicked
    VMM_END_EXIT = 0x100, // plus a status of 8 bits, which the guest gave to the test board
};
